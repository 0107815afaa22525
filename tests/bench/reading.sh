#!/usr/bin/env bash
# Times reading in a container: a Python program's imports, 100,000 files that are only looked at, and a whole squashfs. From `.img` and `.sqf`,
# with condatainer and with the apptainer command that one would write by hand, beside the same files in a directory of the host without a
# container. Each run is a new container, in which the same is done twice. The host has the files and images in its page cache.
# As alice, where pip reaches an index, with 8 GB of room. RUNS (7) rounds in turns.
set -euo pipefail
cd "$HOME"
export RUNS=${RUNS:-7}
packages=(numpy pandas scipy scikit-learn matplotlib)

cat > bare <<'S'
#!/bin/sh
# bare TREE COMMAND: on the base's directory, with what TREE has in /opt; no container, and nothing but the host's own file system.
exec unshare -Urm --propagation private sh -c '
    tree=$1; shift
    mount --bind "$tree/upper/opt" /srv/base/base/opt
    for dir in proc sys dev tmp; do mount --rbind "/$dir" "/srv/base/base/$dir"; done
    exec chroot /srv/base/base "$@"' sh "$@"
S
cat > hand <<'S'
#!/bin/sh
image=$1; shift
exec apptainer -q exec --overlay "$image:ro" /srv/base/base.sqf "$@"
S
cat > ours <<'S'
#!/bin/sh
image=$1; shift
exec condatainer -q exec -o "$image:ro" "$@"
S
cat > cold <<'S'
#!/bin/sh
# cold IMAGE COMMAND: the image is no longer in the page cache.
dd if="$1" iflag=nocache count=0 status=none
shift
exec "$@"
S
chmod +x bare hand ours cold

pack() { # TREE INODES: its images, as condatainer makes them
    truncate -s 4G "$1.img"
    mke2fs -q -F -t ext3 -b 4096 -I 256 -N "$2" -m 0 -J size=16 -d "$1" "$1.img"
    condatainer -q overlay seal "$1.img" "$1.sqf"
}
everyone() { # WHAT UNIT TREE COMMAND
    local what=$1 unit=$2 tree=$3 command=$4
    echo
    turns --says "$what" --unit "$unit" '=a directory' "./bare $tree $command" \
        'condatainer, `.img`' "./ours $tree.img $command" '=by hand, `.img`' "./hand $tree.img $command" \
        'condatainer, `.sqf`' "./ours $tree.sqf $command" '=by hand, `.sqf`' "./hand $tree.sqf $command"
}

mkdir -p env/upper/opt env/work many/upper/opt many/work
condatainer -q exec --bind "$HOME/env/upper/opt:/opt" sh -c 'python3 -m venv /opt/env && exec /opt/env/bin/pip install -q "$@"' sh "${packages[@]}"
cat > env/upper/opt/imports <<'S'
#!/bin/bash
set -e
export PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp TIMEFORMAT=%R
imports() { /opt/env/bin/python -c 'import numpy, pandas, scipy, sklearn, matplotlib' > /dev/null; }
for _ in 1 2; do { time imports; } 2>&1; done
S
cat > env/upper/opt/all <<'S'
#!/bin/bash
TIMEFORMAT=%R
archive() { tar -cf - -C /opt/env . | cat > /dev/null; }
{ time archive; } 2>&1
S
cat > many/upper/opt/looks <<'S'
#!/usr/bin/python3
import os, time
names = [f"/opt/files/{directory}/{name}" for directory in range(1000) for name in range(100)]
for _ in range(2):
    start = time.perf_counter()
    for name in names:
        os.stat(name)
    print(f"{(time.perf_counter() - start) * 1000:.1f}")
S
chmod +x env/upper/opt/imports env/upper/opt/all many/upper/opt/looks
(cd many/upper/opt && seq -f files/%g 0 999 | xargs mkdir -p && for dir in files/*; do (cd "$dir" && seq 0 99 | xargs touch); done)
pack env 100000
pack many 150000
# Four times the environment, of which no file is like another.
cat > copies <<'S'
import os
source, to = "env/upper/opt/env", "big/opt/env"
for copy in range(4):
    mark = os.urandom(64)
    for directory, _, names in os.walk(source):
        place = os.path.join(to, str(copy), os.path.relpath(directory, source))
        os.makedirs(place)
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                with open(path, "rb") as file, open(os.path.join(place, name), "wb") as copied:
                    copied.write(mark + file.read())
S
python3 copies
cp env/upper/opt/all big/opt/
mksquashfs big big.sqf -comp zstd -Xcompression-level 6 -quiet -no-progress
rm -r big

printf '\nImports of %s in a virtual environment of %s files, %s MB (`.sqf`: %s MB):\n' "${packages[*]}" "$(find env/upper -type f | wc -l)" \
    "$(du -sm --apparent-size env/upper | cut -f1)" "$(du -m env.sqf | cut -f1)"
everyone 'first time in a new container,second time' s env /opt/imports
printf '\nstat(2) of 100,000 files:\n'
everyone 'first time,second time' ms many /opt/looks
for image in env.sqf big.sqf; do
    printf '\n`tar` of %s (%s MB), which is not in the page cache:\n\n' "$image" "$(du -m "$image" | cut -f1)"
    turns --says 'tar' --unit s 'condatainer' "./cold $image ./ours $image /opt/all" \
        'by hand (squashfuse_ll)' "./cold $image ./hand $image /opt/all"
done
