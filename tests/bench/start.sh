#!/usr/bin/env bash
# Times the start of one task, in one allocation: through the plugin, and with the apptainer command that one would write by hand. The
# image is used as images are: a session has made directories and files in it. Then the same with a file of the base deleted.
set -euo pipefail
cd "$HOME"
base=/srv/base/base.sqf

pair() { # MODE WHAT
    local by_hand=env.img:ro
    [ "$1" = rw ] && by_hand=env.img
    echo
    salloc -Q compare "srun --condatainer-overlay=env.img:$1 true$2" "srun -Q --condatainer-overlay=env.img:$1 true" \
        "srun apptainer exec --overlay $by_hand base.sqf true$2" "srun -Q apptainer -q exec --overlay $by_hand $base true"
}

condatainer -q o -s 1G env.img
srun -Q --condatainer-overlay=env.img:rw sh -c 'mkdir -p /ext3/env/bin /ext3/env/lib; for i in $(seq 200); do echo $i > /ext3/env/lib/$i; done'
pair rw ''
pair ro ''
srun -Q --condatainer-overlay=env.img:rw rm /etc/debian_version
pair ro ' (something is deleted)'
