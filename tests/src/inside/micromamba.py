#!/usr/bin/python3
"""rattler behind the command line of 'micromamba create', for tests where micromamba itself cannot be had.

Solving and installing are rattler's; this only reads arguments, environment.yml (its plainest form) and ~/.condarc.
"""
import argparse
import asyncio
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import rattler  # noqa: E402


def lists(text):
    """The lists of words at the first level of a YAML text."""
    found, key = {}, None
    for line in text.splitlines():
        bare = line.split(" #")[0].rstrip()
        item = bare.strip()
        if not item or item.startswith("#"):
            continue
        if item.startswith("- ") and key is not None:
            found[key].append(item[2:].strip().strip("\"'"))
        elif not line.startswith(" ") and bare.endswith(":"):
            key = bare[:-1]
            found[key] = []
        else:
            key = None
    return found


def arguments():
    parser = argparse.ArgumentParser(prog="micromamba")
    parser.add_argument("verb", choices=["create"])
    parser.add_argument("-y", "--yes", action="store_true")
    parser.add_argument("-q", "--quiet", action="store_true")
    parser.add_argument("-p", "--prefix", required=True)
    parser.add_argument("-c", "--channel", action="append", default=[])
    parser.add_argument("-f", "--file", action="append", default=[])
    parser.add_argument("specs", nargs="*")
    return parser.parse_intermixed_args()


def asked(args):
    channels, specs, urls = list(args.channel), list(args.specs), []
    for file in args.file:
        text = pathlib.Path(file).read_text()
        if file.endswith((".yml", ".yaml")):
            read = lists(text)
            channels += read.get("channels", [])
            specs += read.get("dependencies", [])
        else:
            lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
            explicit = "@EXPLICIT" in lines
            (urls if explicit else specs).extend(line for line in lines if line != "@EXPLICIT")
    condarc = pathlib.Path(os.environ.get("CONDARC", pathlib.Path.home() / ".condarc"))
    if condarc.exists():
        channels += lists(condarc.read_text()).get("channels", [])
    return channels, specs, urls


def of_urls(urls):
    """Specifications that only these packages fit, and their channels."""
    specs, channels = [], []
    for url in urls:
        path, _, md5 = url.partition("#")
        channel, subdir, file = path.rsplit("/", 2)
        name, version, build = file.removesuffix(".conda").removesuffix(".tar.bz2").rsplit("-", 2)
        specs.append(f"{name} =={version} {build}")
        channels.append(channel)
    return list(dict.fromkeys(channels)), specs


async def create(args):
    channels, specs, urls = asked(args)
    more, exact = of_urls(urls)
    channels, specs = more + channels, specs + exact
    if not specs:
        sys.exit("error: no packages were named")
    try:
        records = await rattler.solve(
            channels, specs, platforms=["linux-64", "noarch"], virtual_packages=rattler.VirtualPackage.detect()
        )
    except Exception as error:
        sys.exit(f"error: {error}")
    await rattler.install(records, args.prefix, show_progress=False)
    print(f"Linked {len(records)} packages to {args.prefix}")


def main():
    try:
        asyncio.run(create(arguments()))
        code = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Not in an orderly way: rattler's threads may still hold Python's lock, and then Python aborts.
    os._exit(code)


main()
