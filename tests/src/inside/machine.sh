# The first process of a machine: makes its root out of an overlay, moves into it, and lives until its standard input
# ends. Runs as pid 1 of new namespaces. Given in the environment: CACHE, LOWER and RUN (the latter two below CACHE),
# BINDS (a file of lines: source TAB target TAB ro|rw), HOSTNAME, NETWORK (private|host),
# PROCTRACK (linuxproc|cgroup).
set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
echo "$HOSTNAME" > /proc/sys/kernel/hostname

# Relative paths: the cache's own path may hold a character that overlay options give a meaning to. Nothing here needs
# to survive a crash, so the overlay need not sync. Where the cache's file system cannot carry an upper layer, memory can.
cd "$CACHE"
stack() {
    mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$RUN/upper,workdir=$RUN/work,volatile" "$RUN/root"
}
stack 2> /dev/null || {
    mkdir -p "$RUN/memory"
    mount -t tmpfs -o mode=755 tmpfs "$RUN/memory"
    mkdir "$RUN/memory/upper" "$RUN/memory/work"
    mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$RUN/memory/upper,workdir=$RUN/memory/work" "$RUN/root"
}
cd "$RUN/root"

mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o nosuid,nodev,noexec sysfs sys
if [ "$PROCTRACK" = cgroup ]; then
    mount -t tmpfs -o mode=755,nosuid,nodev,noexec tmpfs sys/fs/cgroup
    for controller in freezer memory; do
        mkdir sys/fs/cgroup/$controller
        mount -t cgroup -o $controller $controller sys/fs/cgroup/$controller || rmdir sys/fs/cgroup/$controller
    done
    mountpoint -q sys/fs/cgroup/freezer
fi
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
mount -t tmpfs -o mode=1777,nosuid tmpfs tmp

# A private /dev: what users may open on a real node they may open here, and the machine's own modes stay as they are.
# Its device files are made by whoever starts this, once it is ready.
mount -t tmpfs -o mode=755,nosuid tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr

# Homes and logs lie on the disk itself: homes because images live there, logs because they outlast the machine.
mount --bind "$CACHE/$RUN/home" home
mkdir -p var/log/munge var/log/slurm
mount --bind "$CACHE/$RUN/log/slurm" var/log/slurm
mount --bind "$CACHE/$RUN/log/munge" var/log/munge

while IFS=$'\t' read -r source target mode; do
    if [ -d "$source" ]; then
        mkdir -p "./$target"
    else
        mkdir -p "./$(dirname "$target")"
        [ -e "./$target" ] || : > "./$target"
    fi
    mount --bind "$source" "./$target"
    if [ "$mode" = ro ]; then mount -o remount,bind,ro "./$target"; fi
done < "$BINDS"

ip link set lo up 2> /dev/null || [ "$NETWORK" = host ]

mkdir run/old-root
pivot_root . run/old-root
cd /
umount -l /run/old-root
rmdir /run/old-root

echo ready
exec >&2
while read -r _; do :; done
