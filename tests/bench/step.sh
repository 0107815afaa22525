#!/usr/bin/env bash
# Times a step of many tasks on one node, through the plugin and with the apptainer command that one would write by hand, and weighs
# the processes that are there for the container.
set -euo pipefail
cd "$HOME"
base=/srv/base/base.sqf
machinery=condatainer,starter,squashfuse_ll,fuse2fs,fuse2fs-guard,fuse-overlayfs

step() { # TASKS RUNS
    local by_hand="srun -Q -O -n$1 apptainer -q exec --overlay env.img:ro $base true" writer=()
    # More than one would be refused.
    [ "$1" != 1 ] || writer=("1 tasks by apptainer exec --overlay env.img" "srun -Q -O -n1 apptainer -q exec --overlay env.img $base true")
    echo
    RUNS=$2 compare "$1 tasks on env.img:ro" "srun -Q -O -n$1 --condatainer-overlay=env.img true" \
        "$1 tasks on env.img:rw" "srun -Q -O -n$1 --condatainer-overlay=env.img:rw true" \
        "$1 tasks without a container" "srun -Q -O -n$1 true" "${writer[@]}" \
        "$1 tasks by apptainer exec --overlay env.img:ro" "$by_hand"
}

weight() { # WHAT COMMAND...
    local what=$1
    shift
    "$@" sleep 4 &
    until [ "$(pgrep -xc sleep)" -ge 64 ]; do sleep 0.2; done
    ps -o rss= -C "$machinery" | awk -v what="$what" '{ sum += $1 } END { printf "| `%s` | %d | %.0f |\n", what, NR, sum / 1024 }'
    wait
}

measure() {
    step 1 20
    step 8 10
    step 32 5
    step 64 5
    printf '\n| 64 tasks that sleep | processes for the container | resident MiB |\n|:---|---:|---:|\n'
    weight 'srun --condatainer-overlay=env.img' srun -Q -O -n64 --condatainer-overlay=env.img
    weight 'srun apptainer exec --overlay env.img:ro' srun -Q -O -n64 apptainer -q exec --overlay env.img:ro "$base"
}

condatainer -q o -s 1G env.img
export -f step measure weight
export base machinery
salloc -Q -N1 --exclusive bash -euo pipefail -c measure
