#!/usr/bin/env bash
# Times a chown of images with 100,000 and 1,000,000 inodes beside what else could do it, and prints Markdown tables.
# chown.sh BUILT [SID_ROOT]      as root; BUILT has condatainer and examples/, SID_ROOT a Debian root with fuse2fs
set -euo pipefail

built=$1 sid=${2:-} runs=${RUNS:-5}
scratch=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
finish() { # Also when a measurement was cut short.
    mountpoint -q "$scratch/at" && umount "$scratch/at"
    rm -rf "$scratch"
}
trap finish EXIT
mkdir "$scratch/at"
image=$scratch/env.img owner=0

# Twenty files to a directory, as in software environments. The kernel makes them: mke2fs -d takes a minute for a million.
fill() { # INODES
    "$built/condatainer" -q o -s 10G -p small --fakeroot "$image"
    mount -o loop,noatime "$image" "$scratch/at"
    (
        cd "$scratch/at/upper"
        seq $(($1 / 21)) | awk '{ printf "%d/%d\n", $1 / 500, $1 }' | xargs mkdir -p
        seq $(($1 / 21)) | awk '{ for (i = 0; i < 20; i++) printf "%d/%d/file-%d\n", $1 / 500, $1, i }' | xargs touch
    )
    umount "$scratch/at"
    sync "$image"
}

forget() { # The image is dropped from the page cache, and nothing else is.
    sync "$image"
    dd of="$image" oflag=nocache conv=notrunc,fdatasync count=0 status=none
}

other() { # Every run has all ids to change.
    owner=$((owner == 1000 ? 2000 : 1000))
}

seconds() { # COMMAND...: wall time of one run
    local start
    start=$(date +%s.%N)
    "$@" > /dev/null
    echo "$(date +%s.%N) $start" | awk '{ printf "%.3f\n", $1 - $2 }'
}

median() { # COLD|WARM COMMAND...
    local temperature=$1 each=()
    shift
    for _ in $(seq "$runs"); do
        other
        [ "$temperature" = warm ] || forget
        each+=("$(seconds "$@")")
    done
    printf '%s\n' "${each[@]}" | sort -n | sed -n "$(((runs + 1) / 2))p"
}

raw() { "$built/examples/table_time" "$image" < "$scratch/tables"; }
native() { "$built/examples/chown_time" "$image" "$owner" "$owner"; }
command() { "$built/condatainer" -q overlay chown -u "$owner" -g "$owner" "$image"; }

mounted() {
    mount -o loop "$image" "$scratch/at"
    chown -hR "$owner:$owner" "$scratch/at/upper" "$scratch/at/work"
    umount "$scratch/at"
    sync "$image"
}

# The steps of the original: one debugfs for each directory, then one for all inodes, two lines for each, in no order.
by_debugfs() {
    local queue=("$(debugfs -R 'stat /upper' "$image" 2> /dev/null | sed -n 's/^Inode: *\([0-9]*\).*/\1/p')") listing
    : > "$scratch/inodes"
    while [ ${#queue[@]} -gt 0 ]; do
        listing=$(debugfs -R "ls -l <${queue[0]}>" "$image" 2> /dev/null | awk '$NF != "." && $NF != ".." && NF > 5 { print $1, $2 }')
        queue=("${queue[@]:1}" $(awk '$2 ~ /^0?4/ { print $1 }' <<< "$listing"))
        awk 'NF { print $1 }' <<< "$listing" >> "$scratch/inodes"
    done
    sort -u "$scratch/inodes" | shuf |
        awk -v id="$owner" '{ printf "sif <%s> uid %s\nsif <%s> gid %s\n", $1, id, $1, id }' > "$scratch/lines"
    debugfs -w -f "$scratch/lines" "$image" > /dev/null 2>&1
    sync "$image"
}

by_fuse2fs() {
    unshare --mount --propagation private bash -euc '
        mount --bind /dev "$1/dev" && mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/mnt"
        mkdir "$1/mnt/at" "$1/mnt/img" && mount --bind "$2" "$1/mnt/img"
        chroot "$1" bash -euc "fuse2fs -o fakeroot /mnt/img/env.img /mnt/at && chown -hR $3:$3 /mnt/at/upper /mnt/at/work
            umount /mnt/at; while pgrep -x fuse2fs > /dev/null; do sleep 0.05; done"' - "$sid" "$scratch" "$owner"
    sync "$image"
}

line() { # NAME COLD WARM: times and their ratios to the raw ones
    awk -v name="$1" -v cold="$2" -v warm="$3" -v raw_cold="$raw_cold" -v raw_warm="$raw_warm" 'BEGIN {
        ratio = (warm == "–") ? "–" : sprintf("%.1f", warm / raw_warm)
        printf "| %s | %s | %s | %.1f | %s |\n", name, cold, warm, cold / raw_cold, ratio }'
}

table() { # INODES
    rm -f "$image"
    fill "$1"
    dumpe2fs "$image" > "$scratch/tables" 2> /dev/null
    other && native > "$scratch/report"
    echo; echo "$1 inodes, $(du -BM "$image" | cut -f1) of 10 GiB in use ($(raw | sed 's/.*: //'); chown: $(sed 's/.*: //' "$scratch/report")):"
    echo; echo '| | cold s | warm s | ratio to raw, cold | warm |'; echo '|:---|---:|---:|---:|---:|'
    raw_cold=$(median cold raw) raw_warm=$(median warm raw)
    line 'inode tables read and written (`dumpe2fs IMG \| table_time IMG`)' "$raw_cold" "$raw_warm"
    line 'chown, in the process (`chown_time IMG UID GID`)' "$(median cold native)" "$(median warm native)"
    line '`condatainer overlay chown -u UID -g GID IMG`' "$(median cold command)" "$(median warm command)"
    runs=1
    line 'kernel mount, `chown -hR`, unmount' "$(median cold mounted)" "$(median warm mounted)"
    if [ "$1" -le 100000 ]; then
        line 'a debugfs per directory, then `sif` lines: the original' "$(median cold by_debugfs)" –
        [ -z "$sid" ] || line '`fuse2fs -o fakeroot`, `chown -hR`, unmount' "$(median cold by_fuse2fs)" –
    fi
    runs=${RUNS:-5}
    e2fsck -fn "$image" > /dev/null 2>&1 || { echo "e2fsck is not content with $image" >&2; exit 1; }
    echo; echo "Peak memory of \`condatainer overlay chown\`: $(memory) MB."
}

memory() { # In MB, by GNU time.
    other
    /usr/bin/time -f %M "$built/condatainer" -q overlay chown -u "$owner" -g "$owner" "$image" 2>&1 | awk '{ printf "%.1f", $1 / 1024 }'
}

table 100000
table 1000000
