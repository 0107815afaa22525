#!/usr/bin/env bash
# Times the start of one task, in one allocation: through the plugin, and with the apptainer command that one would write by hand.
set -euo pipefail
cd "$HOME"
base=/srv/base/base.sqf
condatainer -q o -s 1G env.img
for mode in rw ro; do
    by_hand=env.img:ro
    [ "$mode" = rw ] && by_hand=env.img
    echo
    salloc -Q compare "srun --condatainer-overlay=env.img:$mode true" "srun -Q --condatainer-overlay=env.img:$mode true" \
        "srun apptainer exec --overlay $by_hand base.sqf true" "srun -Q apptainer -q exec --overlay $by_hand $base true"
done
