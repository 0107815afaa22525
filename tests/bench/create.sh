#!/usr/bin/env bash
# Times the making of a 10 GiB image beside 'apptainer overlay create', which writes 10 GiB of zeroes before it formats them: 20 runs
# of ours, RUNS (2) of Apptainer's. What Apptainer thinks of the image is asked by starting a container with it.
set -euo pipefail
cd "$HOME"

timed() { # NAME RUNS COMMAND
    hyperfine -N --runs "$2" --prepare 'rm -f bench.img' --style none --export-csv row.csv -n "$1" "$3" > /dev/null 2>&1
    tail -n 1 row.csv >> rows.csv
    du -k bench.img | cut -f 1 >> kib
}
rm -f rows.csv kib
timed 'condatainer o -s 10G' 20 'condatainer -q o -s 10G bench.img'
apptainer -q exec --overlay bench.img /srv/base/base.sqf true
timed 'condatainer o -s 10G --allocate' 20 'condatainer -q o -s 10G --allocate bench.img'
timed 'apptainer overlay create --sparse --size 10240' "${RUNS:-2}" 'apptainer -q overlay create --sparse --size 10240 bench.img'
timed 'apptainer overlay create --size 10240' "${RUNS:-2}" 'apptainer -q overlay create --size 10240 bench.img'
rm -f bench.img
paste -d, rows.csv kib | awk -F, '{ name[NR] = $1; median[NR] = $4; min[NR] = $7; mib[NR] = $NF / 1024 }
    END { print "| command | median ms | fastest ms | MiB on disk | times as fast |"; print "|:---|---:|---:|---:|---:|"
          for (i = 1; i <= NR; i++) printf "| `%s` | %.1f | %.1f | %.0f | %.1f |\n", name[i], median[i] * 1000, min[i] * 1000, mib[i], median[NR] / median[i] }'
