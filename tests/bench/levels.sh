#!/usr/bin/env bash
# What zstd's levels cost and gain for a layer: size, time to make it (real and processor), and time to read all of it through
# squashfuse and through the kernel, from a cold cache of the mount (the file itself is in the page cache). Each RUNS (3) times,
# median and spread. Prints a Markdown table. As root.
# levels.sh TREE [SCRATCH]      TREE: a software environment, for instance a venv with numpy, scipy, pandas, scikit-learn
set -euo pipefail

tree=$1 runs=${RUNS:-3}
scratch=$(mktemp -d -p "${2:-${TMPDIR:-/var/tmp}}")
mkdir "$scratch/at"
leave() {
    umount "$scratch/at" 2> /dev/null || true
    rm -rf "$scratch"
}
trap leave EXIT
TIMEFORMAT='%R %U %S'

measure() { # FILE COMMAND...: adds real and processor seconds to FILE
    local file=$1
    shift
    { time "$@" > /dev/null 2> "$scratch/said"; } 2>> "$file"
}
read_all() { tar -C "$scratch/at" -cf - . | cat > /dev/null; }
by_squashfuse() {
    squashfuse -f "$scratch/it.sqf" "$scratch/at" &
    until mountpoint -q "$scratch/at"; do sleep 0.01; done
    read_all
    umount "$scratch/at"
    wait $!
}
by_kernel() {
    mount -o loop,ro "$scratch/it.sqf" "$scratch/at"
    read_all
    umount "$scratch/at"
}
figures() { # FILE: median of the real time, its spread, median of the processor's
    sort -n "$1" | awk '{ real[NR] = $1; cpu[NR] = $2 + $3 } END { m = int((NR + 1) / 2); printf "%.1f (%.1f–%.1f) | %.1f", real[m], real[1], real[NR], cpu[m] }'
}

echo "$(find "$tree" -type f | wc -l) files, $(du -sm --apparent-size "$tree" | cut -f1) MB, $(mksquashfs -version | head -n 1), $(nproc) processors:"
echo
echo '| level | MB | seal: s | processor s | squashfuse: s | processor s | kernel: s | processor s |'
echo '|---:|---:|---:|---:|---:|---:|---:|---:|'
for level in ${LEVELS:-1 3 6 9 12 15 19}; do
    rm -f "$scratch"/{seal,fuse,kernel}
    for _ in $(seq "$runs"); do
        rm -f "$scratch/it.sqf"
        measure "$scratch/seal" mksquashfs "$tree" "$scratch/it.sqf" -noappend -quiet -no-progress -comp zstd -Xcompression-level "$level"
        measure "$scratch/fuse" by_squashfuse
        measure "$scratch/kernel" by_kernel
    done
    printf '| %s | %.1f | %s | %s | %s |\n' "$level" "$(stat -c %s "$scratch/it.sqf" | awk '{ print $1 / 1e6 }')" \
        "$(figures "$scratch/seal")" "$(figures "$scratch/fuse")" "$(figures "$scratch/kernel")"
done
