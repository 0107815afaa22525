#!/usr/bin/env bash
# Times OpenMPI's messages between two tasks of a node: on the bare host, in one container for both, and in a container for each.
# As root: the bare host gets the layer's files first, which it has not got itself.
set -euo pipefail
layer=/srv/modules/openmpi.sqf
unsquashfs -q -n -f -d / "$layer" usr etc/openmpi etc/alternatives > /dev/null
ldconfig
cd /home/alice
mpicc -O2 -o pingpong /usr/local/share/pingpong.c

step() { # NAME, then options and commands
    local name=$1
    shift
    runuser -u alice -- srun -Q -n2 --mpi=pmix "$@" ./pingpong > "$name.$turn" 2> "$name.$turn.err"
}
# In turns; each time is the best that its column has seen.
for turn in 1 2 3 4 5; do
    step bare
    step step "--condatainer-overlay=$layer"
    step hand apptainer -q exec --overlay "$layer" /srv/base/base.sqf
done
best() { cat "$1".? | sort -n -k1,1 -k2,2 | awk '!seen[$1]++ { print $2 }'; }
printf '\n| bytes | bare host, µs | `srun --condatainer-overlay`, µs | ratio | `srun apptainer exec`, µs | ratio |\n|---:|---:|---:|---:|---:|---:|\n'
paste <(awk '{ print $1 }' bare.1) <(best bare) <(best step) <(best hand) |
    awk '{ printf "| %d | %.2f | %.2f | %.2f | %.2f | %.2f |\n", $1, $2, $3, $3 / $2, $4, $4 / $2 }'
