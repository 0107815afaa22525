#!/usr/bin/env bash
# Times a step without any of our options, on a cluster with or without the plugin: in one allocation, so that only the step is
# timed and not the scheduler.
set -euo pipefail
cd "$HOME"
with=$([ -s /etc/slurm/plugstack.conf ] && echo with || echo without)
echo
salloc -Q compare "srun true ($with the plugin)" 'srun -Q true'
