# The first process of a further node: shares the file system of the machine, but has its own hostname, processes,
# network, /run, /tmp, /dev/shm and terminals. Lives until its standard input ends. HOSTNAME is given.
set -eu
echo "$HOSTNAME" > /proc/sys/kernel/hostname
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
# munged serves all nodes through its socket.
mount --bind /run/munge /mnt
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run
mkdir /run/munge
mount --move /mnt /run/munge
mount -t tmpfs -o mode=1777,nosuid tmpfs /tmp
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm
mount -t devpts -o newinstance,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
ip link set lo up
echo ready
exec >&2
while read -r _; do :; done
