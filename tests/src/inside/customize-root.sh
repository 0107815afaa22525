# The test users (src/users.rs describes them) and the places that Slurm and the tests expect.
set -eu
cat >> "$1/etc/passwd" <<'PASSWD'
alice:x:1001:1001:Alice:/home/alice:/bin/bash
bob:x:1002:1002:Bob:/home/bob:/bin/bash
carol:x:1003:1003:Carol:/home/carol:/bin/bash
PASSWD
# Without a line here PAM refuses the account, and slurmd's 'su' for sbatch --export=NONE fails.
printf '%s:*:20000:0:99999:7:::\n' alice bob carol >> "$1/etc/shadow"
cat >> "$1/etc/group" <<'GROUP'
alice:x:1001:
bob:x:1002:
carol:x:1003:
project:x:2000:alice,carol
GROUP
printf 'alice:100000:65536\ncarol:200000:65536\n' | tee "$1/etc/subuid" > "$1/etc/subgid"
mkdir -p "$1/etc/slurm" "$1/var/spool/slurmctld" "$1/var/spool/slurmd" "$1/var/log/slurm" "$1/srv/base"
rm -f "$1"/etc/slurm/*.conf "$1"/etc/munge/munge.key
# Not the names and servers of the machine that the root was built on.
echo '127.0.0.1 localhost' > "$1/etc/hosts"
: > "$1/etc/resolv.conf"
