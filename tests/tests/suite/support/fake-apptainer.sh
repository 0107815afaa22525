#!/bin/sh
# A stand-in for Apptainer on the release that has none. It mounts no image: it only shows that it was called as planned. Its
# arguments are kept in /mnt/stand-in/argv of a mount namespace of their own, by which a command can tell that it was started
# through here; then it runs the command as the same user.
set -eu
if [ "${1-}" != --inside ]; then
    exec unshare --user --map-user="$(id -u)" --map-group="$(id -g)" --keep-caps --mount "$0" --inside "$@"
fi
shift
mount -t tmpfs tmpfs /mnt
mkdir /mnt/stand-in
printf '%s\n' "$@" > /mnt/stand-in/argv
if [ "$1" = -c ]; then shift 2; fi
while :; do
    case $1 in /proc/self/fd/*) break ;; esac
    shift
done
exec setpriv --inh-caps=-all --ambient-caps=-all "$@"
