#!/usr/bin/env bash
# Weighs the processes that are there for the container of a step with 64 tasks: with an image that is as good as empty, and with one of which
# one task has read everything. As root: nobody else may look at a server's memory.
set -euo pipefail
cd /home/alice
base=/srv/base/base.sqf

as_alice() { runuser -u alice -- "$@"; }

# What a user's programs are in these steps. All else of hers is there for the container.
theirs='sleep|sh|tar|srun|salloc|runuser'

weight() { # WHAT READ COMMAND…: of the tasks that sleep, once one of them has read what is in READ
    local what=$1 read=$2 step
    shift 2
    rm -f ready
    as_alice "$@" sh -c '[ "$SLURM_PROCID" != 0 ] || { tar -cf - "$1" | cat > /dev/null; touch ready; }; exec sleep 10000' sh "$read" &
    step=$!
    until [ -e ready ] && [ "$(pgrep -u alice -xc sleep)" -ge 64 ]; do sleep 0.2; done
    sleep 1
    ps -u alice -o pid=,comm= | while read -r pid name; do
        [[ $name =~ ^($theirs)$ ]] || awk -v name="$name" '/^Rss:/ { rss = $2 } /^Pss:/ { pss = $2 } END { print name, rss, pss }' "/proc/$pid/smaps_rollup"
    done > weights
    sed "s/^/$what: /" weights >&2
    awk -v what="$what" '{ count++; rss += $2; pss += $3 } END { printf "| %s | %d | %.0f | %.0f |\n", what, count, rss / 1024, pss / 1024 }' weights
    as_alice scancel -u alice
    wait "$step" || true
    while pgrep -u alice > /dev/null; do sleep 0.2; done
}

as_alice condatainer -q o -s 1G env.img
as_alice mkdir -p tree/upper/opt/much tree/work
# Pieces of this machine's own programs, which are as compressible as programs are, and many names.
as_alice sh -c 'cat /usr/lib/*/*.so* /usr/bin/* 2> /dev/null | head -c 400M | split -b 100K -a 4 -d - tree/upper/opt/much/part
    for n in $(seq 300); do mkdir tree/upper/opt/much/$n; (cd tree/upper/opt/much/$n; seq 100 | xargs touch); done'
as_alice truncate -s 2G much.img
as_alice mke2fs -q -F -t ext3 -b 4096 -I 256 -N 100000 -m 0 -J size=16 -d tree much.img
as_alice condatainer -q overlay seal much.img much.sqf

printf '\n| 64 tasks that sleep | processes for the container | RSS, MiB | PSS, MiB |\n|:---|---:|---:|---:|\n'
weight 'srun --condatainer-overlay=env.img' /etc srun -Q -O -n64 --condatainer-overlay=env.img
weight 'srun --condatainer-overlay=much.img, and one reads all of it' /opt/much srun -Q -O -n64 --condatainer-overlay=much.img
weight 'srun --condatainer-overlay=much.sqf, and one reads all of it' /opt/much srun -Q -O -n64 --condatainer-overlay=much.sqf
weight 'srun apptainer exec --overlay env.img:ro' /etc srun -Q -O -n64 apptainer -q exec --overlay env.img:ro "$base"
