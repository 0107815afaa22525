//! What can go wrong is said in one line, with what to type next, and leaves nothing.

use anyhow::Result;

use super::{create, nothing_is_left};
use crate::support::{Desk, Expect};

pub(super) fn all(desk: &Desk) -> Result<()> {
    desk.write("empty.yml", "name: x\ndependencies: []\n")?;
    desk.write("none.yml", "- just\n- a list\n")?;
    desk.write("broken.yml", "dependencies: [a\nb: c\n")?;
    let before = desk.files()?;
    of_the_request(desk)?;
    of_the_channel(desk)?;
    of_the_machine(desk)?;
    nothing_is_left(desk, &before, &[])
}

fn refused(desk: &Desk, arguments: &[&str], text: &str) -> Result<()> {
    create(desk, arguments)?.ends_with(1)?.complains(text).map(drop)
}

fn of_the_request(desk: &Desk) -> Result<()> {
    let channel = ["-n", "x", "-c", "./channel"];
    let with = |more: &[&'static str]| [channel.as_slice(), more].concat();
    refused(desk, &with(&["hello", "Hello=1.1"]), "hello and Hello=1.1: the same package is named twice")?;
    refused(desk, &with(&["empty.yml"]), "empty.yml: is a file; name it with -f empty.yml")?;
    refused(desk, &with(&["./hello-1.2-0.conda"]), "./hello-1.2-0.conda: is a path, and packages are named: ")?;
    refused(desk, &["-f", "missing.yml", "-n", "x"], "missing.yml: ")?;
    refused(desk, &["-f", "empty.yml", "-n", "x"], "empty.yml: names no package; there is nothing to make")?;
    refused(desk, &["-f", "none.yml", "-n", "x"], "none.yml: has no 'dependencies:' at its first level")?;
    refused(desk, &["-f", "broken.yml", "-n", "x"], "broken.yml: ")?;
    refused(desk, &["hello"], "hello: does not tell which package: write NAME/VERSION, or -n hello PACKAGE...")?;
    refused(desk, &["-n", "x", "-c", "./nowhere", "hello"], "channel './nowhere': No such file or directory")?;
    refused(desk, &["-p", "a b.sqf", "-c", "./channel", "hello"], "a b.sqf: a module's file is NAME.sqf")?;
    create(desk, &[with(&["hello"]).as_slice(), &["--", "--x"]].concat())?
        .ends_with(2)?
        .complains("are for 'apptainer build'")?;
    create(desk, &["-n", "x", "-c", "./channel"])?
        .ends_with(2)?
        .complains("-c, --conda and -b are for conda packages")?;
    create(desk, &["hello", "libhello"])?.ends_with(2)?.complains("it needs a name: -n NAME")?;
    create(desk, &["-f", "empty.yml", "-f", "none.yml", "-n", "x"])?
        .ends_with(2)?
        .complains("cannot be used multiple times")?;
    Ok(())
}

/// The tool's own words come before ours.
fn of_the_channel(desk: &Desk) -> Result<()> {
    let output = create(desk, &["-n", "x", "-c", "./channel", "nosuch"])?.ends_with(1)?;
    output.complains("nosuch")?.complains(" failed: ")?.complains("; check names and versions, or name the channel")?;
    let output = create(desk, &["-n", "x", "-c", "./channel", "greedy"])?.ends_with(1)?;
    output.complains("nosuch")?.complains("; check names and versions")?;
    let output = create(desk, &["-n", "x", "-c", "http://127.0.0.1:9/none", "hello"])?.ends_with(1)?;
    output.complains("; this machine does not reach the channel")?;
    Ok(())
}

fn of_the_machine(desk: &Desk) -> Result<()> {
    let packages = ["-n", "x", "-c", "./channel", "hello"];
    let with = |more: &[&'static str]| [more, packages.as_slice()].concat();
    refused(
        desk,
        &with(&["--conda", "/nowhere/conda"]),
        "/nowhere/conda: no such program; name micromamba, mamba or conda",
    )?;
    refused(desk, &with(&["-b", "/nowhere.sqf"]), "/nowhere.sqf")?;
    // No tool, no base: what is missing is said, and how it is named.
    let argv = ["/usr/local/bin/condatainer", "create", "-n", "x", "hello"];
    let output = desk.command().env("PATH", "/usr/bin:/bin").run(&argv)?.ends_with(1)?;
    output
        .complains("no conda found: micromamba, mamba and conda are not in PATH")?
        .complains("--conda PATH")?
        .complains("curl -Ls https://micro.mamba.pm/")?;
    desk.as_root("mv /etc/condatainer/config.toml /etc/condatainer/away")?.success()?;
    let output = create(desk, &packages)?;
    desk.as_root("mv /etc/condatainer/away /etc/condatainer/config.toml")?.success()?;
    output.ends_with(1)?.complains("no base image: name one with -b")?;
    a_full_disk(desk)
}

/// First where the environment is made, then where the module goes.
fn a_full_disk(desk: &Desk) -> Result<()> {
    let mount = "mkdir -p /srv/small && mount -t tmpfs -o size=16m,mode=1777 small /srv/small";
    desk.as_root(mount)?.success()?;
    let output = create(desk, &["--tmpdir", "/srv/small", "-n", "x", "-c", "./channel", "noise"])?;
    output.ends_with(1)?.complains("full: make room in /srv/small")?;
    desk.script("ls -A /srv/small")?.says("")?;
    desk.script("head -c 15500k /dev/urandom > /srv/small/ballast")?.success()?;
    let output = create(desk, &["-p", "/srv/small/x.sqf", "-c", "./channel", "noise"])?.ends_with(1)?;
    output.complains("/srv/small")?.complains("make room")?;
    desk.script("ls -A /srv/small")?.says("ballast")?;
    desk.as_root("umount -l /srv/small")?.success()?;
    // Not a single file more: it is the disk of the work that is full, not that of the module.
    desk.as_root("mount -t tmpfs -o nr_inodes=4,mode=1777 small /srv/small")?.success()?;
    let output = create(desk, &["--tmpdir", "/srv/small", "-n", "x", "-c", "./channel", "hello"])?;
    output.ends_with(1)?.complains("/srv/small: cannot be used for building: No space left on device")?;
    desk.script("ls -A /srv/small")?.says("")?;
    desk.as_root("umount -l /srv/small && rmdir /srv/small")?.success().map(drop)
}
