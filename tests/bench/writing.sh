#!/usr/bin/env bash
# Times what a program writes in a workspace image: with condatainer, with the apptainer command that one would write by hand, and in a directory
# of the host's that the container shows, on the same disk in the same run. As alice, where pip reaches an index, with 16 GB of room. The
# medians of RUNS (3) rounds, in seconds. TREES files are unpacked, PACKAGES installed, 4,000 files of a lower layer changed; 200,000 names in one
# directory are made in tenths, not by hand, which would take minutes. WHAT chooses among all these.
set -euo pipefail
cd "$HOME"
runs=${RUNS:-3} base=/srv/base/base.sqf
trees=${TREES:-20000}
packages=${PACKAGES-numpy pandas scipy scikit-learn matplotlib}

cat > work.py << 'P'
import os, shutil, sqlite3, subprocess, sys, time
place, what = sys.argv[1], sys.argv[2:]
count, data = 5000, b'x' * 2048
many = f'{place}/many'
def create():
    os.mkdir(many)
    for n in range(count):
        with open(f'{many}/f{n}', 'wb') as file: file.write(data)
def rename():
    for n in range(count): os.rename(f'{many}/f{n}', f'{many}/g{n}')
def remove(): shutil.rmtree(many)
def untar(): os.mkdir(f'{place}/tree'); subprocess.run(['tar', 'xf', 'tree.tar', '-C', f'{place}/tree'], check=True)
def large(piece, name):
    buffer = os.urandom(1 << 20)[:piece]
    with open(f'{place}/{name}', 'wb', buffering=0) as file:
        for _ in range((1 << 30) // piece): file.write(buffer)
        os.fsync(file.fileno())
def write_1m(): large(1 << 20, 'large')
def read_1m():
    with open(f'{place}/large', 'rb', buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(1 << 20): pass
def write_64k(): large(1 << 16, 'large64'); os.unlink(f'{place}/large64')
def sqlite():
    with sqlite3.connect(f'{place}/db') as db:
        db.execute('create table t (n integer, text text)')
        for n in range(1000):
            db.execute('insert into t values (?, ?)', (n, 'x' * 100)); db.commit()
def pip():
    subprocess.run(['tool/bin/pip', 'install', '-q', '--no-index', '--no-compile', '--find-links', 'wheels', '--target', f'{place}/site', *os.environ['PACKAGES'].split()], check=True)
def names():
    os.mkdir(f'{place}/names'); took = []
    for tenth in range(10):
        before = time.monotonic()
        for n in range(20000 * tenth, 20000 * (tenth + 1)): os.close(os.open(f'{place}/names/a-name-of-some-length-{n:06}', os.O_CREAT | os.O_WRONLY))
        took.append(time.monotonic() - before)
    print('names_first_tenth', took[0]); print('names_last_tenth', took[9], flush=True)
# What a lower layer has, which is copied when it changes.
lower = '/lower' if place == '/ext3' else f'{place}/lower'
def append():
    for n in range(2000):
        with open(f'{lower}/a/{n}', 'ab') as file: file.write(b'x')
def chmod():
    for n in range(2000): os.chmod(f'{lower}/b/{n}', 0o600)
def find(): subprocess.run(['find', lower, '-ls'], stdout=subprocess.DEVNULL, check=True)
def clear(): shutil.rmtree(lower)
for name in what:
    before = time.monotonic(); globals()[name](); print(name, time.monotonic() - before, flush=True)
P

python3 - "$trees" << 'P'
import os, sys
for n in range(int(sys.argv[1])):
    if n % 100 == 0: os.makedirs(f'tree/{n // 2000}/{n // 100}')
    with open(f'tree/{n // 2000}/{n // 100}/f{n}', 'wb') as file: file.write(b'%d\n' % n * (n % 400))
P
tar cf tree.tar -C tree . && rm -r tree
mkdir -p layer/lower/{a,b}
python3 -c 'for n in range(4000): open("layer/lower/%s/%d" % ("ab"[n // 2000], n % 2000), "wb").write(b"%d\n" % n * 200)'
mksquashfs layer lower.sqf -quiet -no-progress > /dev/null
what=${WHAT-create rename remove untar write_1m read_1m write_64k sqlite append chmod find clear pip names}
if [[ " $what " = *' pip '* && -n "$packages" ]]; then
    condatainer -q exec python3 -m venv tool
    condatainer -q exec tool/bin/pip download -q -d wheels $packages
else
    what=${what/ pip/}
fi
export PACKAGES=$packages

# NAME FILE COMMAND...: runs it, and keeps `what seconds` in FILE
row() { local file=$1; shift; "$@" | tee -a "$file" | sed "s/^/${file%.*} /" >&2; }
one() { # FILE-SUFFIX PIN: all three once, one after the other
    rm -rf bare; mkdir bare; cp -r layer/lower bare; row "bare.$1" $2 condatainer -q exec --bind "$PWD/bare:/bare" -- python3 work.py /bare $what
    rm -f a.img b.img; condatainer -q o -s 4G a.img; apptainer overlay create --size 4096 b.img
    row "ours.$1" $2 condatainer -q exec -o lower.sqf -o a.img:rw -- python3 work.py /ext3 $what
    row "hand.$1" $2 apptainer -q exec --overlay lower.sqf --overlay b.img "$base" sh -c "mkdir -p /ext3 && exec python3 work.py /ext3 ${what/ names/}"
}
table() { # SUFFIX
    awk -v suffix="$1" '
        { place = FILENAME; sub(/\..*/, "", place); if (!($1 in seen)) { seen[$1] = 1; names[++rows] = $1 } n = ++count[place, $1]; value[place, $1, n] = $2 }
        function median(place, name,   n, i, j, t, v) {
            n = count[place, name]; for (i = 1; i <= n; i++) v[i] = value[place, name, i]
            for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) if (v[j] < v[i]) { t = v[i]; v[i] = v[j]; v[j] = t }
            return v[int((n + 1) / 2)] }
        END { print "| | a directory | condatainer | by hand | of a directory | as fast as by hand |"; print "|:---|---:|---:|---:|---:|---:|"
            for (i = 1; i <= rows; i++) { name = names[i]; b = median("bare", name); o = median("ours", name); h = median("hand", name)
                if (h) printf "| %s | %.2f | %.2f | %.2f | %.1f | %.1f |\n", name, b, o, h, o / b, h / o
                else if (name != "names") printf "| %s | %.2f | %.2f | – | %.1f | – |\n", name, b, o, o / b } }' "bare.$1" "ours.$1" "hand.$1"
}
for how in free one; do
    pin=; [ "$how" = free ] || pin='taskset -c 0'
    for run in $(seq "$runs"); do one "$how" "$pin"; done
    printf '\n%s:\n\n' "$([ "$how" = free ] && echo "On all processors" || echo "On one processor")"
    table "$how"
done

printf '\nA writable start, and its end:\n\n'
turns '`condatainer exec -w`' "condatainer -q exec -w -o a.img /bin/true" '`apptainer exec --overlay`' "apptainer -q exec --overlay b.img $base /bin/true"
# From the last thing that the command does to the prompt.
end() { python3 -c '
import subprocess, sys, time
took = []
for _ in range(15):
    last = subprocess.run([*sys.argv[1:], "date", "+%s.%N"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    took.append(time.time() - float(last))
print("| `%s` | %.0f |" % (" ".join(sys.argv[1:3]), sorted(took)[7] * 1000))' "$@"; }
printf '\n| the end, after that of the command | median ms |\n|:---|---:|\n'
end condatainer exec -w -o a.img --
end apptainer exec --overlay b.img "$base"
