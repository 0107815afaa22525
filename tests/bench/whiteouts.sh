#!/usr/bin/env bash
# Times the search for whiteouts in an environment of 30,000 files in 3,000 directories, and the remembered answer, in the process.
# whiteouts.sh BUILT [SCRATCH]
set -euo pipefail

built=$1
scratch=$(mktemp -d -p "${2:-${TMPDIR:-/var/tmp}}")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
mkdir -p tree/work
seq 3000 | awk '{ printf "tree/upper/ext3/env/lib/%d/%d\n", $1 / 100, $1 }' | xargs mkdir -p
seq 3000 | awk '{ for (i = 0; i < 10; i++) printf "tree/upper/ext3/env/lib/%d/%d/%d.py\n", $1 / 100, $1, i }' | xargs touch
truncate -s 1G env.img
mke2fs -q -F -t ext3 -b 4096 -I 256 -i 16384 -m 0 -J size=16 -d tree env.img
sync env.img
dd if=env.img iflag=nocache count=0 status=none
echo 'cold, the image dropped from the page cache (`whiteouts_time IMAGE 1`), and warm, the median of 20:'
echo '```'
"$built/examples/whiteouts_time" env.img 1
"$built/examples/whiteouts_time" env.img
echo '```'
