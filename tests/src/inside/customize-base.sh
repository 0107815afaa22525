# The mark by which tests tell the base from the host.
echo "condatainer test base" > "$1/etc/condatainer-base"
