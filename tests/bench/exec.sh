#!/usr/bin/env bash
# Times 'condatainer exec' beside the very apptainer command line that it runs where the engine mounts the layers, in turns, without Slurm.
set -euo pipefail
cd "$HOME"

pair() { # WHAT, then the arguments of exec
    local what=$1
    shift
    # By its path, so that both look for it in the same place: the programs of a module come first in the PATH of exec.
    paired "$what" "condatainer -q exec --mounts=engine $* /bin/true" "$(condatainer exec --mounts=engine --dry-run "$@" /bin/true)"
}

condatainer -q o -s 1G env.img
condatainer -q o -s 1G --fakeroot root.img
mkdir -p module/cnt/tool/1/bin .local/share/condatainer/images
cp /bin/true module/cnt/tool/1/bin/tool
printf '#ENV:TOOL_HOME=$app_root\n' > module/cnt/tool/1/.cnt-build-script
mksquashfs module .local/share/condatainer/images/tool--1.sqf -quiet -no-progress
condatainer -q exec -w -o env.img sh -c 'mkdir -p /ext3/env/bin /ext3/env/lib; for i in $(seq 200); do echo $i > /ext3/env/lib/$i; done'

printf '\n| | `condatainer exec`, ms | its command line, ms | difference, ms | ratio |\n|:---|---:|---:|---:|---:|\n'
pair 'the base alone'
pair 'a module' -o tool/1
pair 'a module and an image' -o tool/1 -o env.img
pair 'a module and an image that is written to' -w -o tool/1 -o env.img
pair 'an image of root that is written to' -w -o root.img
