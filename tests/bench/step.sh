#!/usr/bin/env bash
# Times a step of many tasks on one node, through the plugin and with the apptainer command that one would write by hand.
set -euo pipefail
cd "$HOME"
base=/srv/base/base.sqf

step() { # TASKS RUNS
    local by_hand="srun -Q -O -n$1 apptainer -q exec --overlay env.img:ro $base true" writer=()
    # More than one would be refused.
    [ "$1" != 1 ] || writer=("1 tasks by apptainer exec --overlay env.img" "srun -Q -O -n1 apptainer -q exec --overlay env.img $base true")
    echo
    RUNS=$2 turns "$1 tasks on env.img:ro" "srun -Q -O -n$1 --condatainer-overlay=env.img true" \
        "$1 tasks on env.img:rw" "srun -Q -O -n$1 --condatainer-overlay=env.img:rw true" \
        "=$1 tasks without a container" "srun -Q -O -n$1 true" "${writer[@]}" \
        "=$1 tasks by apptainer exec --overlay env.img:ro" "$by_hand"
}

measure() {
    step 1 20
    step 8 10
    step 32 5
    step 64 7
}

condatainer -q o -s 1G env.img
export -f step measure
export base
salloc -Q -N1 --exclusive bash -euo pipefail -c measure
