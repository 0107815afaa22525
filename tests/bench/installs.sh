#!/usr/bin/env bash
# Times what installs many files in a workspace image, as writing.sh does for the rest: with condatainer, with the apptainer command that one
# would write by hand, and in a directory on the same disk in the same run. As alice, where apt and pip reach an index, with 10 GB of room. The
# medians of RUNS (3) rounds, in seconds. A repository of TREES files is cloned, and PACKAGES packages of conda are installed, which are made here
# and unpacked by rattler; apt installs DEBIAN as root, from what it has downloaded before. Its directory is a root that Apptainer writes to.
set -euo pipefail
cd "$HOME"
runs=${RUNS:-3} base=/srv/base/base.sqf
what=${WHAT:-clone status conda apt}
export TREES=${TREES:-20000} PACKAGES=${PACKAGES:-200} DEBIAN=${DEBIAN:-build-essential}

cat > work.py << 'P'
import os, subprocess, sys, time
place, home, what = sys.argv[1], sys.argv[2], sys.argv[3:]
os.environ.update(HOME=home, GIT_CONFIG_GLOBAL=f'{home}/gitconfig', DEBIAN_FRONTEND='noninteractive')
CONDA = '''import asyncio, os, sys
import rattler
place, channel = sys.argv[1:]
async def main():
    records = await rattler.solve([channel], [f'p{n}' for n in range(int(os.environ['PACKAGES']))], platforms=['linux-64', 'noarch'])
    await rattler.install(records, f'{place}/env', cache_dir=f'{place}/cache', show_progress=False)
asyncio.run(main())
os._exit(0)'''
def run(*words, **more): subprocess.run(words, check=True, stdout=subprocess.DEVNULL, **more)
def clone(): run('git', 'clone', '-q', f'file://{home}/repository', f'{place}/clone')
def status(): run('git', '-C', f'{place}/clone', 'status')
def conda(): run(f'{home}/tool/bin/python', '-c', CONDA, place, f'file://{home}/channel')
def apt():
    places = [f'Dir::Cache::archives={home}/debs', f'Dir::State::lists={home}/lists', 'APT::Sandbox::User=root']
    options = [word for option in places for word in ('-o', option)]
    run('apt-get', 'install', '-y', '-q', '--no-download', '--no-install-recommends', *options, *os.environ['DEBIAN'].split(), stdin=subprocess.DEVNULL)
for name in what:
    before = time.monotonic(); globals()[name](); print(name, time.monotonic() - before, flush=True)
P

cat > prepare.py << 'P'
import hashlib, io, json, os, random, subprocess, tarfile
def repository():
    for n in range(int(os.environ['TREES'])):
        if n % 50 == 0: os.makedirs(f'repository/{n // 1000}/{n // 50}')
        with open(f'repository/{n // 1000}/{n // 50}/f{n}', 'wb') as file: file.write(b'%d\n' % n * (n % 400))
    git = ['git', '-C', 'repository', '-c', 'user.name=alice', '-c', 'user.email=alice@example.org']
    for words in (['init', '-q'], ['add', '.'], ['commit', '-q', '-m', 'all']): subprocess.run(git + words, check=True)
def package(number):
    files = {f'lib/p{number}/{n // 20}/f{n}': random.Random(number * 1000 + n).randbytes(50) * (n % 20 * 8) for n in range(80)}
    index = dict(name=f'p{number}', version='1.0', build='0', build_number=0, depends=[], subdir='noarch', noarch='generic')
    paths = [dict(_path=path, path_type='hardlink', sha256=hashlib.sha256(data).hexdigest(), size_in_bytes=len(data)) for path, data in files.items()]
    files |= {'info/index.json': json.dumps(index).encode(), 'info/paths.json': json.dumps(dict(paths=paths, paths_version=1)).encode(),
              'info/files': ''.join(path['_path'] + '\n' for path in paths).encode()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w:bz2', compresslevel=1) as archive:
        for path, data in files.items():
            info = tarfile.TarInfo(path); info.size, info.mode = len(data), 0o644
            archive.addfile(info, io.BytesIO(data))
    data = buffer.getvalue()
    with open(f'channel/noarch/p{number}-1.0-0.tar.bz2', 'wb') as file: file.write(data)
    return index | dict(md5=hashlib.md5(data).hexdigest(), sha256=hashlib.sha256(data).hexdigest(), size=len(data))
def channel():
    for subdir in ['noarch', 'linux-64']: os.makedirs(f'channel/{subdir}')
    packages = {f'p{n}-1.0-0.tar.bz2': package(n) for n in range(int(os.environ['PACKAGES']))}
    for subdir, has in [('noarch', packages), ('linux-64', {})]:
        with open(f'channel/{subdir}/repodata.json', 'w') as file:
            json.dump({'info': {'subdir': subdir}, 'packages': has, 'packages.conda': {}, 'repodata_version': 1}, file)
repository(); channel()
P

mkdir -p debs/partial lists/partial
lists="-o Dir::State::lists=$PWD/lists -o APT::Sandbox::User=root"
condatainer -q o -s 2G git.img
# What apt installs for git must not be there yet when it is asked what is missing.
condatainer -q overlay with-root git.img -- sh -c "apt-get $lists -qq update
    apt-get $lists -o Dir::Cache::archives=$PWD/debs -qq -y --no-install-recommends --download-only install $DEBIAN > /dev/null
    apt-get $lists -qq -y --no-install-recommends install git > /dev/null 2>&1"
condatainer -q exec -o git.img -- sh -c 'python3 prepare.py && python3 -m venv tool && tool/bin/pip install -q --only-binary :all: "py-rattler>=0.28,<0.29"'
printf '[safe]\n\tdirectory = *\n' > gitconfig
case " $what " in *" apt "*) apptainer -q build --sandbox root "$base" ;; esac

# NAME COMMAND...: runs it, and keeps `what seconds`
row() { local file=$1; shift; "$@" | tee -a "$file.installs" | sed "s/^/$file /" >&2; }
for run in $(seq "$runs"); do
    user=$(printf '%s\n' $what | grep -v apt | tr '\n' ' ')
    rm -rf bare; mkdir bare; rm -f a.img b.img; condatainer -q o -s 6G a.img; apptainer overlay create --size 6144 b.img
    row bare condatainer -q exec -o git.img --bind "$PWD/bare:/bare" -- python3 work.py /bare "$PWD" $user
    row ours condatainer -q exec -o git.img -o a.img:rw -- python3 work.py /ext3 "$PWD" $user
    row hand apptainer -q exec --overlay git.img:ro --overlay b.img "$base" sh -c "mkdir -p /ext3 && exec python3 work.py /ext3 $PWD $user"
    case " $what " in *" apt "*) ;; *) continue ;; esac
    rm -rf written; cp -a root written; mkdir -p "written$PWD"; rm -f a.img b.img; condatainer -q o -s 6G a.img; apptainer overlay create --fakeroot --size 6144 b.img
    row bare apptainer -q exec --fakeroot --writable --bind "$PWD" --pwd "$PWD" written python3 work.py / "$PWD" apt
    row ours condatainer -q exec --fakeroot -o a.img:rw -- python3 work.py / "$PWD" apt
    row hand apptainer -q exec --fakeroot --overlay b.img --bind "$PWD" --pwd "$PWD" "$base" python3 work.py / "$PWD" apt
done
python3 - << 'P'
names = {'clone': 'git clone', 'status': 'git status', 'conda': 'conda packages', 'apt': 'apt-get install'}
took = {}
for place in ['bare', 'ours', 'hand']:
    for line in open(f'{place}.installs'):
        what, seconds = line.split(); took.setdefault(what, {}).setdefault(place, []).append(float(seconds))
print('\n| | a directory | condatainer | by hand | of a directory | as fast as by hand |\n|:---|---:|---:|---:|---:|---:|')
for what, of in took.items():
    bare, ours, hand = (sorted(of[place])[len(of[place]) // 2] for place in ['bare', 'ours', 'hand'])
    print(f'| {names[what]} | {bare:.2f} | {ours:.2f} | {hand:.2f} | {ours / bare:.1f} | {hand / ours:.1f} |')
P
