#!/usr/bin/env bash
# Times the making, reading, renaming and removing of 5,000 files of 2 kB in one directory: in a directory of the host's, on the FUSE mount of the
# scratch tree, and on the kernel's OverlayFS over it, which is what a container with `:tmp` sees. As root, with the server's example:
#   cargo build --release -p condatainer-stack --example serve && unshare -m tests/bench/scratch.sh target/release/examples/serve
# PIN='taskset -c 0' puts the server and the work on one CPU.
set -euo pipefail
serve=$(realpath "$1")
cd "$(mktemp -d)"
mkdir lower bare tmp mount merged
echo something > lower/file
mke2fs -q -F -t ext3 -d lower lower.img 8M
${PIN:-} "$serve" --threads 4 --tmp tmp mount ext:lower.img > ready &
trap 'umount merged mount 2> /dev/null; rm -rf "$PWD"' EXIT
until grep -q ready ready; do sleep 0.1; done
mount -t overlay overlay -o userxattr,lowerdir=mount/lower,upperdir=mount/upper,workdir=mount/work merged

cat > work.py <<'P'
import os, shutil, sys, time
name, place, count = sys.argv[1], sys.argv[2] + '/work', 5000
data, row = b'x' * 2048, []
def timed(what):
    before = time.monotonic(); what(); row.append(time.monotonic() - before)
def make():
    for n in range(count):
        file = os.open(f'{place}/f{n}', os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644); os.write(file, data); os.close(file)
def read():
    for n in range(count):
        file = os.open(f'{place}/f{n}', os.O_RDONLY); assert os.read(file, 4096) == data; os.close(file)
def stat():
    for n in range(count): os.stat(f'{place}/f{n}')
def rename():
    for n in range(count): os.rename(f'{place}/f{n}', f'{place}/g{n}')
os.mkdir(place)
for what in make, read, stat, rename, lambda: shutil.rmtree(place): timed(what)
print(f'| {name} |', ' | '.join(f'{seconds:.2f}' for seconds in row), '|')
P
echo '| seconds | create | read | stat | rename | remove |'
echo '|:---|---:|---:|---:|---:|---:|'
for run in $(seq "${RUNS:-3}"); do
    ${PIN:-} python3 work.py 'a directory' bare
    ${PIN:-} python3 work.py 'the scratch tree itself' mount/upper
    ${PIN:-} python3 work.py 'the overlay on it' merged
done
