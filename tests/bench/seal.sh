#!/usr/bin/env bash
# Times the sealing of a software environment of 30,000 files beside mksquashfs of the same tree on disk, with the same options:
# RUNS (5) runs, everything in the page cache. Prints a Markdown table.
# seal.sh CONDATAINER [SCRATCH]
set -euo pipefail

condatainer=$1
scratch=$(mktemp -d -p "${2:-${TMPDIR:-/var/tmp}}")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# 1,000 pieces of this machine's own libraries, and texts like those of Python packages, in 600 directories.
environment() {
    local prefix=tree/upper/ext3/env
    mkdir -p "$prefix"/{bin,lib} tree/work
    cat /usr/lib/*/*.so* 2> /dev/null | head -c 150M | split -b 150K -a 4 -d - "$prefix/lib/lib" || true
    awk -v prefix="$prefix/lib/python" 'BEGIN {
        srand(1); for (i = 0; i < 3000; i++) word[i] = sprintf("%s%x", substr("def self import return for in not none class", i % 40, 5), rand() * 65536)
        for (d = 0; d < 600; d++) { dir = sprintf("%s/package%d/module%d", prefix, d % 120, d); dirs = dirs " " dir; if (d % 100 == 99) { system("mkdir -p" dirs); dirs = "" } }
        for (f = 0; f < 29000; f++) {
            d = f % 600; name = sprintf("%s/package%d/module%d/file%d.py", prefix, d % 120, d, f)
            for (line = rand() * rand() * 300; line >= 0; line--) print word[int(rand() * 3000)], word[int(rand() * rand() * 3000)] "(" word[int(rand() * 3000)] ")" > name
            close(name)
        } }'
}
environment
truncate -s 2G env.img
mke2fs -q -F -t ext3 -b 4096 -I 256 -i 16384 -m 0 -J size=16 -d tree env.img

echo "$(find tree/upper -type f | wc -l) files, $(du -sm --apparent-size tree/upper | cut -f1) MB, $(mksquashfs -version | head -n 1):"
echo
pair() { # COMPRESSION
    hyperfine -N --warmup 1 --runs "${RUNS:-5}" --style none --export-csv "$1.csv" \
        -n "condatainer overlay seal --compression $1" "$condatainer -q overlay seal --force --compression $1 env.img env.sqf" \
        -n "mksquashfs -comp $1" "mksquashfs tree/upper tree.sqf -noappend -quiet -no-progress -comp $1 -b 131072" > /dev/null 2>&1
    awk -F, 'NR > 1 { name[NR] = $1; median[NR] = $4; cpu[NR] = $5 + $6; min[NR] = $7 }
        END { for (i = 2; i <= NR; i++) printf "| `%s` | %.2f | %.2f | %.2f | %.2f |\n", name[i], median[i], min[i], cpu[i], median[i] / median[NR] }' "$1.csv"
}
echo '| command | median s | fastest s | processor s | ratio |'
echo '|:---|---:|---:|---:|---:|'
for compression in zstd lz4; do pair "$compression"; done
