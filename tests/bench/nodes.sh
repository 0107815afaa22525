#!/usr/bin/env bash
# Counts what one step asks of the file system that the base and the layers lie on, on one node and where it is submitted, and says what
# 1,000 nodes with 64 tasks each ask of it; beside the apptainer command that one would write by hand. As root: it starts slurmd again, and traces it.
set -euo pipefail
shared=/home/alice/shared
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
calls=open,openat,openat2,read,readv,pread64,preadv,preadv2,write,pwrite64,mmap,fcntl,flock,stat,lstat,fstat,newfstatat,statx,access,faccessat,faccessat2,readlink,readlinkat,getxattr,lgetxattr,fgetxattr,listxattr,llistxattr,flistxattr,statfs,fstatfs,getdents64,fsync,fdatasync,chdir,fchdir,execve

# The host's own, with its libraries.
strace() { /opt/host/ld-linux-x86-64.so.2 --library-path /opt/host /usr/local/bin/strace "$@"; }
as_alice() { runuser -u alice -- "$@"; }

# Lines of all threads: opens, reads, their bytes, mapped files, locks, writes and syncs, and all else, as far as they are about the shared directory.
count() { # DIRECTORY
    cat "$1"/* | grep -F "$shared" | awk '
        { call = $0; sub(/\(.*/, "", call); result = $NF }
        match($0, /= -?[0-9]+/) { result = substr($0, RSTART + 2, RLENGTH - 2) }
        call ~ /^open/ { opens++; next }
        call ~ /read/ && call !~ /readlink/ { reads++; if (result > 0) bytes += result; next }
        call == "mmap" { maps++; next }
        call ~ /^(fcntl|flock)$/ { if (/LK|LOCK_/) locks++; next }
        call ~ /write|sync/ { writes++; next }
        { others++ }
        END { print opens + 0, reads + 0, bytes + 0, maps + 0, locks + 0, writes + 0, others + 0 }'
}

trace() { # NAME COMMAND…: of the step on its node, and of srun
    mkdir "$here/$1.node" "$here/$1.srun"
    local name=$1 tracer
    shift
    pkill -x slurmd || true
    while pgrep -x slurmd > /dev/null; do sleep 0.1; done
    strace -qq -ff -y -s 0 -e "trace=$calls" -o "$here/$name.node/t" slurmd -D > /dev/null 2>&1 &
    tracer=$!
    until sinfo -h -o %T | grep -qx idle && pgrep -x slurmd > /dev/null; do sleep 0.2; done
    strace -qq -ff -y -s 0 -e "trace=$calls" -o "$here/$name.srun/t" runuser -u alice -- "$@"
    sleep 1
    pkill -x slurmd || true
    wait "$tracer" || true
}

row() { # NAME COUNTS MULTIPLE
    awk -v name="$1" -v by="$3" '{ printf "| %s | %d | %d | %.1f | %d | %d | %d | %d |\n", name, $1 * by, $2 * by, $3 * by / 1048576, $4 * by, $5 * by, $6 * by, $7 * by }' <<< "$2"
}

head_of_table() {
    printf '\n| %s | opens | reads | MiB read | maps | locks | writes | metadata |\n|:---|---:|---:|---:|---:|---:|---:|---:|\n' "$1"
}

as_alice mkdir "$shared"
cd "$shared"
cp /srv/base/base.sqf base.sqf
as_alice condatainer -q o -s 1G env.img
as_alice condatainer -q exec -b "$shared/base.sqf" -w -o env.img -- sh -c 'mkdir -p /ext3/env/bin && cp /bin/true /ext3/env/bin/tool'
as_alice condatainer -q overlay seal env.img tools.sqf
ours="--condatainer-base=$shared/base.sqf --condatainer-overlay=$shared/tools.sqf,$shared/env.img"
theirs="apptainer -q exec --overlay $shared/tools.sqf:ro --overlay $shared/env.img:ro $shared/base.sqf"
# Else each look at a file of the machine would begin in the shared directory.
cd /tmp

for tasks in 1 64; do
    trace "ours$tasks" srun -Q -O "-n$tasks" $ours /ext3/env/bin/tool
    trace "theirs$tasks" srun -Q -O "-n$tasks" $theirs /ext3/env/bin/tool
done
head_of_table 'one node'
for tasks in 1 64; do
    row "$tasks tasks, srun --condatainer-overlay" "$(count "$here/ours$tasks.node")" 1
    row "$tasks tasks, srun apptainer exec" "$(count "$here/theirs$tasks.node")" 1
done
head_of_table 'where it is submitted'
row 'srun --condatainer-overlay' "$(count "$here/ours64.srun")" 1
row 'srun apptainer exec' "$(count "$here/theirs64.srun")" 1
head_of_table '1,000 nodes with 64 tasks each'
row 'srun --condatainer-overlay' "$(count "$here/ours64.node")" 1000
row 'srun apptainer exec' "$(count "$here/theirs64.node")" 1000
