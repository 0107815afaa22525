//! What is written to a file of a layer below: the names of a file with several hard links, and the set-group-ID bit of directories. An
//! image that we write keeps them as a disk does, and a plain directory is the oracle; elsewhere it is the kernel's overlay.

use anyhow::{Result, ensure};

use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [
        hard_links_of_a_squashfs, hard_links_of_an_image, hard_links_of_a_directory, hard_links_of_the_base, hard_links_under_fakeroot,
        hard_links_of_the_written_image_stay_one_file, set_group_id_stays,
    ];
}

/// Files with several names, in directories of their own and in one.
const BELOW: &str = "mkdir -p d e; for f in write append chmod touch cut gone moved; do
    echo one > d/$f; ln d/$f d/$f.other; ln d/$f e/$f; done";

/// All names are listed before the first is written to, as a shell's `*` or conda does.
const CHANGE: &str = "ls -lR d e > /dev/null; stat d/* e/* > /dev/null; echo two > d/write; echo two >> e/append; chmod 600 d/chmod.other
    touch -d 2001-01-01 d/touch; truncate -s 2 d/cut.other; rm d/gone; mv e/moved e/here; echo two >> e/here; ln d/append.other d/new
    echo three >> d/new; cat d/write.other d/append > d/read";

/// All that can be told of them.
const STATE: &str = "for f in $(find d e -type f | sort); do echo $f $(stat -c '%a %s %Y' $f) $(cat $f); done";

/// The same in the kernel's overlay, which only root can have on an upper directory of tmpfs.
fn oracle(desk: &Desk) -> Result<String> {
    let text = format!(
        "set -e; mkdir oracle; mount -t tmpfs -o mode=755 none oracle; cd oracle; mkdir low up work all; (cd low; umask 022; {BELOW})
        mount -t overlay -o lowerdir=low,upperdir=up,workdir=work none all; (umask 022; cd all; {CHANGE})
        umount all; mount -t overlay -o lowerdir=low,upperdir=up,workdir=work none all; (cd all; {STATE})
        cd ..; umount oracle/all; umount oracle"
    );
    Ok(desk.as_root(&text)?.success()?.stdout)
}

/// The same in a directory, without any overlay.
fn on_a_disk(desk: &Desk) -> Result<String> {
    let text = format!(
        "set -e; umask 022; mkdir disk; cd disk; {BELOW}; TZ=UTC; export TZ; {CHANGE}; {STATE}; cd ..; rm -r disk"
    );
    Ok(desk.script(&text)?.success()?.stdout)
}

/// `%Y` of what was not touched is the time of the test.
fn without_now(state: &str) -> Vec<String> {
    let old = |time: &str| if time == "978307200" { "2001" } else { "now" }.to_string();
    let line = |line: &str| {
        let words = line.split(' ').enumerate().map(|(at, word)| if at == 3 { old(word) } else { word.into() });
        words.collect::<Vec<String>>().join(" ")
    };
    state.lines().map(line).collect()
}

fn same(desk: &Desk, expected: &str, layers: &[&str], options: &[&str], which: &str) -> Result<()> {
    let layers: Vec<_> = layers.iter().flat_map(|layer| ["-o", layer]).chain(options.iter().copied()).collect();
    let state = desk.exec(&layers, &format!("cd /; {STATE}"))?.success()?.stdout;
    let (expected, state) = (without_now(expected), without_now(&state));
    ensure!(state == expected, "{which}: the oracle has {expected:#?}, this is {state:#?}");
    Ok(())
}

/// Changes what lies in `low` by way of `top`, and compares in the same container and in the next one.
fn as_it_should_be(desk: &Desk, low: &str, top: &str, options: &[&str]) -> Result<()> {
    let kernels = oracle(desk)?;
    let expected = if desk.we_mount() && top.ends_with(".img") { on_a_disk(desk)? } else { kernels.clone() };
    let written = format!("{top}:rw");
    let layers = [&["-o", low, "-o", &written], options].concat();
    let at_once =
        desk.exec(&layers, &format!("cd /; umask 022; TZ=UTC; export TZ; {CHANGE}; {STATE}"))?.success()?.stdout;
    ensure!(without_now(&at_once) == without_now(&expected), "at once: {at_once}");
    same(desk, &expected, &[low, top], options, "the next reader")?;
    same(desk, &expected, &[low, &written], options, "the next writer")?;
    let changes = format!("cd /; umask 022; TZ=UTC; export TZ; {CHANGE}; {STATE}");
    desk.image("other.img")?;
    let forgotten = desk.exec(&[&["-o", low, "-o", "other.img:tmp"], options].concat(), &changes)?.success()?.stdout;
    ensure!(without_now(&forgotten) == without_now(&kernels), ":tmp: {forgotten}");
    Ok(())
}

pub(crate) fn hard_links_of_a_squashfs(desk: &Desk) -> Result<()> {
    desk.squashfs("low.sqf", BELOW)?;
    desk.image("top.img")?;
    as_it_should_be(desk, "low.sqf", "top.img", &[])?;
    desk.is_clean("top.img")
}

fn hard_links_of_an_image(desk: &Desk) -> Result<()> {
    desk.image_with("low.img", "1001:1001", BELOW)?;
    desk.image("top.img")?;
    as_it_should_be(desk, "low.img", "top.img", &[])
}

/// Both lie on one file system, whose numbers are the same.
fn hard_links_of_a_directory(desk: &Desk) -> Result<()> {
    desk.script(&format!("mkdir -p low/upper low/work top/upper top/work; cd low/upper; {BELOW}"))?.success()?;
    as_it_should_be(desk, "./low", "./top", &[])
}

fn hard_links_under_fakeroot(desk: &Desk) -> Result<()> {
    desk.squashfs("low.sqf", BELOW)?;
    desk.root_image("top.img")?;
    as_it_should_be(desk, "low.sqf", "top.img", &["--fakeroot"])
}

/// Debian's perl has two names.
fn hard_links_of_the_base(desk: &Desk) -> Result<()> {
    desk.root_image("env.img")?;
    let sizes = "cd /usr/bin; stat -c %s perl perl5*";
    let options = ["--fakeroot", "-o", "env.img"];
    let before = desk.exec(&options, sizes)?.success()?.stdout;
    let [one, other] = before.lines().collect::<Vec<_>>()[..] else { anyhow::bail!("{before}") };
    ensure!(one == other, "perl has no two names: {before}");
    desk.exec(&["--fakeroot", "-o", "env.img:rw"], "cd /usr/bin; ls -l > /dev/null; stat perl*; truncate -s 0 perl5*")?
        .success()?;
    let other = if desk.we_mount() { "0" } else { one };
    desk.exec(&options, sizes)?.says(&format!("{other}\n0")).map(drop)
}

fn hard_links_of_the_written_image_stay_one_file(desk: &Desk) -> Result<()> {
    desk.squashfs("low.sqf", "mkdir d; echo one > d/a; ln d/a d/b")?;
    desk.image_with("top.img", "1001:1001", "mkdir own; echo one > own/a; ln own/a own/b")?;
    let layers = ["-o", "low.sqf", "-o", "top.img:rw"];
    // An overlay of the kernel's makes files of their own of the names that the layers have.
    let (differs, links) = if desk.we_mount() { ("", 3) } else { ("!", 2) };
    let see = format!(
        "cat /own/a /own/b /own/c /d/a /d/c; stat -c %h /own/c /d/c; [ /own/a -ef /own/c ] && [ /d/a -ef /d/c ] && {differs} [ /d/a -ef /d/b ]"
    );
    let write = "ls -l /own /d > /dev/null; ln /own/b /own/c; ln /d/a /d/c; echo two >> /own/a; echo two >> /d/c";
    // fuse2fs before 1.47.4 tells other inode numbers than the image's, so its names are files of their own until the next start.
    if desk.exec(&["-o", "top.img"], "[ /own/a -ef /own/b ]")?.code != 0 {
        desk.exec(&layers, write)?.success()?;
        desk.exec(&layers, "cat /own/a /own/b /own/c /d/a /d/c")?
            .says("one\ntwo\none\ntwo\none\ntwo\none\ntwo\none\ntwo")?;
        return desk.is_clean("top.img");
    }
    desk.exec(&layers, &format!("{write}; {see}"))?
        .says(&format!("one\ntwo\none\ntwo\none\ntwo\none\ntwo\none\ntwo\n3\n{links}"))?;
    desk.exec(&layers, &format!("ls -l /own /d > /dev/null; echo three >> /own/b; echo three >> /d/a; {see}"))?.says(
        &format!("one\ntwo\nthree\none\ntwo\nthree\none\ntwo\nthree\none\ntwo\nthree\none\ntwo\nthree\n3\n{links}"),
    )?;
    desk.is_clean("top.img")
}

/// A new directory does not get the bit from its parent, nor the group: docs/guide/modes.md says so.
pub(crate) fn set_group_id_stays(desk: &Desk) -> Result<()> {
    desk.squashfs("low.sqf", "mkdir -p mail/below; chmod 2775 mail; chmod 2750 mail/below")?;
    desk.image("top.img")?;
    let layers = ["-o", "low.sqf", "-o", "top.img:rw"];
    // fuse-overlayfs does not hand the bit down.
    let directory = if desk.we_mount() { "2755" } else { "755" };
    let change = "touch /mail/new; touch /mail/below; mkdir /mail/dir; stat -c %a /mail /mail/below /mail/dir";
    desk.exec(&layers, &format!("umask 022; {change}"))?.says(&format!("2775\n2750\n{directory}"))?;
    desk.exec(&layers, "stat -c %a /mail /mail/below")?.says("2775\n2750")?;
    desk.root_image("root.img")?;
    let mail = "stat -c '%a %g' /var/mail";
    let before = desk.exec(&["--fakeroot", "-o", "root.img"], mail)?.success()?.stdout;
    ensure!(before.starts_with("2775 "), "the base has another /var/mail: {before}");
    desk.exec(&["--fakeroot", "-o", "root.img:rw"], &format!("touch /var/mail/x; {mail}"))?.says(before.trim_end())?;
    desk.exec(&["--fakeroot", "-o", "root.img:rw"], mail)?.says(before.trim_end()).map(drop)
}
