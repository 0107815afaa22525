#!/usr/bin/env bash
# Times the start of one task, outside of Slurm and in one allocation: with condatainer, and with the apptainer command that one would write by
# hand. The image is used as images are: a session has made directories and files in it. Then the same with a file of the base deleted.
set -euo pipefail
cd "$HOME"
export RUNS=${RUNS:-20} base=/srv/base/base.sqf

pair() { # WHAT OPTIONS OF-SRUN BY-HAND: the options of exec, those of srun, and those of apptainer
    printf '\n%s (`%s`):\n\n' "$1" "${2:-no options}"
    turns '`condatainer exec`' "condatainer -q exec $2 /bin/true" '`apptainer exec`' "apptainer -q exec $4 $base /bin/true"
    echo
    salloc -Q turns '`srun`' "srun -Q $3 /bin/true" '`srun apptainer exec`' "srun -Q apptainer -q exec $4 $base /bin/true"
}

condatainer -q o -s 1G env.img
mkdir -p module/cnt/tool/1/bin .local/share/condatainer/images
cp /bin/true module/cnt/tool/1/bin/tool
printf '#ENV:TOOL_HOME=$app_root\n' > module/cnt/tool/1/.cnt-build-script
tool=.local/share/condatainer/images/tool--1.sqf
mksquashfs module "$tool" -quiet -no-progress
condatainer -q exec -w -o env.img sh -c 'mkdir -p /ext3/env/bin /ext3/env/lib; for i in $(seq 200); do echo $i > /ext3/env/lib/$i; done'

pair 'The base alone' '' "--condatainer-base=$base" ''
printf '\nThe engine alone, with nothing to mount: the base as a directory.\n\n'
turns '`condatainer exec`' 'condatainer -q exec /bin/true' '`apptainer exec DIRECTORY`' 'apptainer -q exec /srv/base/base /bin/true' \
    '`apptainer exec`' "apptainer -q exec $base /bin/true"
pair 'A module and an image that is read' '-o tool/1 -o env.img' '--condatainer-overlay=tool/1,env.img' "--overlay $tool:ro --overlay env.img:ro"
pair 'An image that is written to' '-w -o env.img' '--condatainer-overlay=env.img:rw' '--overlay env.img'
condatainer -q exec -w -o env.img rm /etc/debian_version
pair 'An image in which a file of the base is deleted' '-o env.img' '--condatainer-overlay=env.img' '--overlay env.img:ro'
