#!/usr/bin/env bash
# Times what Slurm's commands in a container cost: a directory more in a start, and a call by the relay beside one of a script on the host.
set -euo pipefail
cd "$HOME"
condatainer -q o -s 1G env.img
printf '\n| | ms | | difference, ms | ratio |\n|:---|---:|---:|---:|---:|\n'
paired 'a start with a directory more' \
    "condatainer -q exec -o env.img --bind /usr/local/libexec/condatainer/slurm:/.condatainer.d/bin:ro /bin/true" \
    "condatainer -q exec -o env.img /bin/true"

# In turns: the mean of so many steps in a script in the container, and in one on the host.
CALLS=${CALLS:-40}
script() { # SCOPE
    printf '%s\n' '#!/bin/bash' "#SBATCH --condatainer-overlay=env.img --condatainer-scope=$1" 'srun -Q -n1 --condatainer-off true' \
        'start=$(date +%s%N)' "for _ in \$(seq $CALLS); do srun -Q -n1 --condatainer-off true; done" \
        "echo \$(( (\$(date +%s%N) - start) / $CALLS / 10000 ))" > script.sh
    sbatch -Q -W -o "$1.out" script.sh
    cat "$1.out" >> "$1.all"
}
for _ in 1 2 3 4 5; do script all; script steps; done
median() { sort -n "$1" | awk '{ all[NR] = $1 } END { printf "%.2f", all[(NR + 1) / 2] / 100 }'; }
printf '\n| `srun true` in a batch script | ms |\n|:---|---:|\n| in a container | %s |\n| on the host | %s |\n' "$(median all.all)" "$(median steps.all)"
