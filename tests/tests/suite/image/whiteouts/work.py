"""Random work on a directory: `work.py SEED DIR` does it and says how each step ended, `work.py list DIR` tells what is there.

What a step does is decided by the seed and by what is there, so two directories that are the same stay the same.
"""

import errno
import os
import random
import stat
import sys

NAMES = ["a", "b", "dir", "sub", "old", "new", "file", "deep", "od d", "it's", "n\nl", "-dash", ".hid", ".wh", "wh.x", "é", "L" * 60]
STEPS = 60


def kind(path):
    return stat.S_IFMT(os.lstat(path).st_mode)


def walk(root, at=""):
    for name in sorted(os.listdir(os.path.join(root, at))):
        path = os.path.join(at, name)
        yield path
        if kind(os.path.join(root, path)) == stat.S_IFDIR:
            yield from walk(root, path)


def tell(root):
    for path in walk(root):
        full = os.path.join(root, path)
        status, more = os.lstat(full), ""
        if stat.S_ISLNK(status.st_mode):
            more = os.readlink(full)
        elif stat.S_ISREG(status.st_mode):
            more = (open(full, "rb").read(), int(status.st_mtime))
        print(ascii((path, oct(status.st_mode), status.st_uid, status.st_gid, more)))


def write(path, data, how="wb"):
    with open(path, how) as file:
        file.write(data)
    os.utime(path, (10**9, 10**9))


def remove(path):
    if kind(path) != stat.S_IFDIR:
        return os.unlink(path)
    for name in os.listdir(path):
        remove(os.path.join(path, name))
    os.rmdir(path)


def copy(path, to):
    if kind(path) == stat.S_IFDIR:
        os.mkdir(to)
        for name in sorted(os.listdir(path)):
            copy(os.path.join(path, name), os.path.join(to, name))
    elif kind(path) == stat.S_IFLNK:
        os.symlink(os.readlink(path), to)
    else:
        write(to, open(path, "rb").read())


def move(path, to):
    """As mv does it: an overlay cannot rename a directory that lies below."""
    try:
        os.rename(path, to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if os.path.lexists(to):
            os.rmdir(to)
        copy(path, to)
        remove(path)


def replace(path, data):
    """As editors save a file."""
    write(path + "~", data)
    os.rename(path + "~", path)


def again(path):
    remove(path)
    os.mkdir(path)


def into_file(path, data):
    remove(path)
    write(path, data)


def empty(path):
    for name in os.listdir(path):
        remove(os.path.join(path, name))


def filled(path, data):
    os.mkdir(path)
    for name in ["old", "sub"]:
        write(os.path.join(path, name), data)


def step(rng, root, gone):
    every = [os.path.join(root, path) for path in walk(root)]
    folders = [path for path in every if kind(path) == stat.S_IFDIR]
    files = [path for path in every if kind(path) == stat.S_IFREG]
    fresh = os.path.join(rng.choice([root, *folders]), rng.choice(NAMES))
    # A name that was there before is the one that an overlay has to remember.
    name = rng.choice(gone) if gone and rng.random() < 0.5 else fresh
    data = b"%x" % rng.getrandbits(64) * rng.randrange(6)
    some = lambda paths: rng.choice(paths or [fresh])
    file, folder, any_one = some(files), some(folders), some(every)
    gone += [file, folder]
    steps = [
        lambda: write(name, data, "xb"),
        lambda: write(file, data, "ab"),
        lambda: replace(file, data),
        lambda: os.unlink(file),
        lambda: os.unlink(some(files)),
        lambda: remove(folder),
        lambda: empty(folder),
        lambda: again(folder),
        lambda: into_file(folder, data),
        lambda: os.mkdir(name),
        lambda: filled(name, data),
        lambda: filled(name, data),
        lambda: move(file, name),
        lambda: move(folder, name),
        lambda: move(folder, name),
        lambda: move(any_one, name),
        lambda: os.link(file, name),
        lambda: os.symlink("to/" + NAMES[0], name),
        lambda: os.chmod(folder, rng.choice([0o700, 0o750, 0o755])),
        lambda: os.chmod(file, rng.choice([0o600, 0o640, 0o755])),
    ]
    number = rng.randrange(len(steps))
    try:
        steps[number]()
        return number, "done"
    except OSError as error:
        return number, errno.errorcode[error.errno]


def main(what, root):
    os.umask(0o022)
    if what != "list":
        rng, gone = random.Random(int(what)), []
        for _ in range(STEPS):
            print(*step(rng, root, gone))
    tell(root)


main(*sys.argv[1:])
