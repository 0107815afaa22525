# A key of this cluster's own, and munged as its own user, as everywhere.
set -eu
umask 077
head -c 1024 /dev/urandom > /etc/munge/munge.key
umask 022
mkdir -p /run/munge /var/lib/munge
chown -R munge:munge /etc/munge /run/munge /var/lib/munge /var/log/munge
chmod 700 /etc/munge /var/lib/munge /var/log/munge
setpriv --reuid munge --regid munge --clear-groups munged
