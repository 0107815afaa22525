"""A conda channel of a few small packages, written by hand: channel.py DIRECTORY.

hello, in two versions, needs libhello; pyhello is a Python package with an entry point; greedy needs what nobody has; noise is large and cannot be
compressed.
"""
import hashlib
import io
import json
import pathlib
import random
import sys
import tarfile

# As long as the tools expect it: they write the path of an environment over it.
PLACEHOLDER = "/opt/" + "_placehold" * 25
HELLO = f"#!/bin/sh\nread -r word < {PLACEHOLDER}/share/hello/word\necho $word from {PLACEHOLDER}, %s\n"
PYTHON = (
    f"#!/bin/sh\nPYTHONPATH={PLACEHOLDER}/lib/python3.13/site-packages exec /usr/bin/python3 \"$@\"\n"
)
PACKAGES = [
    dict(
        name="libhello",
        version="1.0",
        files={"share/hello/word": (0o600, "hello\n"), "lib/libhello.so.1": (0o644, "library\n")},
        links={"lib/libhello.so": "libhello.so.1"},
    ),
    *(
        dict(
            name="hello",
            version=version,
            depends=["libhello >=1"],
            files={"bin/hello": (0o755, HELLO % version), "etc/conda/activate.d/hello.sh": (0o644, "export HELLO=1\n")},
            links={"bin/hi": "hello"},
        )
        for version in ["1.1", "1.2"]
    ),
    dict(
        name="python",
        version="3.13.0",
        subdir="linux-64",
        files={"bin/python3.13": (0o755, PYTHON)},
        links={"bin/python": "python3.13", "bin/python3": "python3.13"},
    ),
    dict(
        name="pyhello",
        version="1.0",
        depends=["python >=3.13", "hello"],
        noarch="python",
        entry_points=["pyhello = pyhello:main"],
        files={"site-packages/pyhello.py": (0o644, "def main():\n    print('hello from Python')\n")},
    ),
    # conda and micromamba want it beside every Python.
    dict(name="pip", version="1.0", files={"share/pip": (0o644, "none\n")}),
    dict(name="greedy", version="1.0", depends=["nosuch >=7"], files={"share/greedy": (0o644, "x\n")}),
    dict(name="noise", version="1.0", files={"share/noise": (0o644, None)}),
]


def add(archive, name, data, mode=0o644):
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    archive.addfile(info, io.BytesIO(data))


def package(directory, name, version, files, depends=(), links=None, subdir="noarch", noarch="generic", entry_points=None):
    index = dict(name=name, version=version, build="0", build_number=0, depends=list(depends), subdir=subdir)
    if subdir == "noarch":
        index["noarch"] = noarch
    paths, prefixes, buffer = [], [], io.BytesIO()
    # Small blocks are unpacked in half the time.
    with tarfile.open(fileobj=buffer, mode="w:bz2", compresslevel=1) as archive:
        for path, (mode, text) in files.items():
            data = text.encode() if text is not None else random.Random(1).randbytes(20 << 20)
            entry = dict(_path=path, path_type="hardlink", sha256=hashlib.sha256(data).hexdigest(), size_in_bytes=len(data))
            if text is not None and PLACEHOLDER in text:
                entry.update(prefix_placeholder=PLACEHOLDER, file_mode="text")
                prefixes.append(f'"{PLACEHOLDER}" "text" "{path}"\n')
            paths.append(entry)
            add(archive, path, data, mode)
        for path, target in (links or {}).items():
            info = tarfile.TarInfo(path)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
            paths.append(dict(_path=path, path_type="softlink", sha256=hashlib.sha256(b"").hexdigest(), size_in_bytes=0))
        info = {
            "index.json": json.dumps(index),
            "paths.json": json.dumps(dict(paths=paths, paths_version=1)),
            "files": "".join(f"{entry['_path']}\n" for entry in paths),
        }
        if prefixes:
            info["has_prefix"] = "".join(prefixes)
        if noarch == "python":
            link = dict(noarch=dict(type="python", entry_points=entry_points or []), package_metadata_version=1)
            info["link.json"] = json.dumps(link)
        for name_, text in info.items():
            add(archive, f"info/{name_}", text.encode())
    data = buffer.getvalue()
    file = f"{name}-{version}-0.tar.bz2"
    (directory / subdir).mkdir(parents=True, exist_ok=True)
    (directory / subdir / file).write_bytes(data)
    sums = dict(md5=hashlib.md5(data).hexdigest(), sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    return subdir, file, index | sums


def main(directory):
    repodata = {subdir: {} for subdir in ["noarch", "linux-64"]}
    for recipe in PACKAGES:
        subdir, file, record = package(directory, **recipe)
        repodata[subdir][file] = record
    for subdir, packages in repodata.items():
        (directory / subdir).mkdir(parents=True, exist_ok=True)
        text = json.dumps({"info": {"subdir": subdir}, "packages": packages, "packages.conda": {}, "repodata_version": 1})
        (directory / subdir / "repodata.json").write_text(text)


main(pathlib.Path(sys.argv[1]))
