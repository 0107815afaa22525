# Packages that apt installs on top of the base, as a squashfs of what is new: the layer that an administrator would make.
# build-layer.sh BASE SCRATCH OUTPUT PACKAGE...   in a mount namespace of its own
set -eu
base=$1 scratch=$2 output=$3
shift 3
root=$scratch/root
mkdir -p "$scratch/upper" "$scratch/work" "$root"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
mkdir -p "$root/tmp/lists/partial" "$root/tmp/partial"

apt() {
    DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 chroot "$root" apt-get -q -y \
        -o Dir::State::lists=/tmp/lists -o Dir::Cache::archives=/tmp -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
}
# What nobody reads in a throw-away layer.
exclude() { for path in doc man locale; do printf -- '-o Dpkg::Options::=--path-exclude=/usr/share/%s/* ' "$path"; done; }

apt update
apt install --no-install-recommends $(exclude) "$@"
umount "$root/tmp" "$root/proc" "$root/dev" "$root/etc/resolv.conf"
umount "$root"
rm -rf "$scratch"/upper/var/log/*
mksquashfs "$scratch/upper" "$output" -quiet -no-progress -comp zstd -Xcompression-level 3
