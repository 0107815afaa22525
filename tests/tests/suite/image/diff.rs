//! `overlay diff` says exactly what a session in a real container has changed.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [
        a_session_is_told_exactly, the_same_under_fakeroot, the_same_on_a_directory, with_layers_below, renamed_and_linked_files,
        a_read_session_changes_nothing, an_image_in_use_is_read_all_the_same, text_for_people,
    ];
    Slurm, Desk: [what_cannot_be_compared_is_refused];
}

/// `overlay diff --json`.
fn diff(desk: &Desk, arguments: &[&str]) -> Result<Value> {
    let output = desk.run(&[&["condatainer", "overlay", "diff", "--json"], arguments].concat())?.success()?;
    serde_json::from_str(&output.stdout).with_context(|| output.stdout.clone())
}

/// One line per entry: letter, path, and in what it differs.
fn lines(report: &Value) -> Result<BTreeSet<String>> {
    let entries = report["entries"].as_array().context("no entries")?;
    let line = |entry: &Value| {
        let letter = match entry["change"].as_str()? {
            "added" => 'A',
            "changed" => 'M',
            "deleted" => 'D',
            _ => return None,
        };
        let what = entry["what"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let what: String = what.map(|word| format!(" {word}")).collect();
        Some(format!("{letter} {}{what}", entry["path"].as_str()?))
    };
    entries.iter().map(|entry| line(entry).with_context(|| entry.to_string())).collect()
}

/// The lines of a diff, without what a session that does nothing leaves behind (Apptainer makes mount points).
struct Told {
    before: BTreeSet<String>,
}

impl Told {
    fn new(desk: &Desk, exec: &[&str], arguments: &[&str]) -> Result<Self> {
        exec_in(desk, exec, "true")?;
        Ok(Self { before: lines(&diff(desk, arguments)?)? })
    }

    /// Fails unless the diff now tells `expected` and nothing else.
    fn is(&self, report: &Value, expected: &[String]) -> Result<()> {
        let found: Vec<String> = lines(report)?.difference(&self.before).cloned().collect();
        let mut expected = expected.to_vec();
        expected.sort();
        ensure!(found == expected, "expected {expected:#?}, got {found:#?}");
        Ok(())
    }
}

fn exec_in(desk: &Desk, exec: &[&str], text: &str) -> Result<()> {
    desk.run(&[&["condatainer", "exec", "-w"], exec, &["sh", "-e", "-c", text]].concat())?.success().map(drop)
}

const SESSION: &str = "echo new > /new; mkdir -p /data/deep; echo 12345 > /data/deep/file; ln -s file /data/deep/link
    echo more >> /etc/condatainer-base; chmod 600 /etc/profile; rm /etc/debian_version; : >> /etc/issue.net
    rm -r /etc/apt; mkdir /etc/apt; echo deb > /etc/apt/sources; rm /etc/issue; mkdir /etc/issue; echo x > /etc/issue/inside
    rm -r /usr/share/debconf";

/// What that is, with the names that the base has in the replaced directory.
fn expected(desk: &Desk) -> Result<Vec<String>> {
    let told = "A /new,A /data,A /data/deep,A /data/deep/file,A /data/deep/link,M /etc/condatainer-base content,
        M /etc/profile mode,D /etc/debian_version,A /etc/apt/sources,M /etc/issue kind,A /etc/issue/inside,D /usr/share/debconf";
    let gone = desk.run(&["ls", "-A", "/srv/base/base/etc/apt"])?.success()?.stdout;
    ensure!(gone.lines().count() > 3, "the base has too little to delete: {gone}");
    let gone = gone.lines().map(|name| format!("D /etc/apt/{name}"));
    Ok(told.split(',').map(|line| line.trim().to_owned()).chain(gone).collect())
}

/// The entry at a path.
fn entry<'a>(report: &'a Value, path: &str) -> Result<&'a Value> {
    let mut entries = report["entries"].as_array().into_iter().flatten();
    entries.find(|entry| entry["path"] == path).with_context(|| format!("{path} is missing"))
}

fn a_session_is_told_exactly(desk: &Desk) -> Result<()> {
    for base in ["/srv/base/base.sqf", "/srv/base/base.sif"] {
        desk.run(&["rm", "-f", "env.img"])?.success()?;
        desk.image("env.img")?;
        let (exec, arguments) = (["-b", base, "-o", "env.img"], ["-b", base, "env.img"]);
        let told = Told::new(desk, &exec, &arguments)?;
        exec_in(desk, &exec, SESSION)?;
        let report = diff(desk, &arguments)?;
        told.is(&report, &expected(desk)?).with_context(|| base.to_owned())?;
        let files = desk.script("find /srv/base/base/usr/share/debconf ! -type d | wc -l")?.success()?.stdout;
        let gone = entry(&report, "/usr/share/debconf")?;
        ensure!(gone["below"]["files"].as_u64() == files.trim().parse().ok(), "{gone} has {files} files");
        ensure!(entry(&report, "/data/deep/file")?["size_bytes"] == 6, "{report}");
        ensure!(report["in_use"] == false, "{report}");
    }
    desk.is_clean("env.img")
}

fn the_same_under_fakeroot(desk: &Desk) -> Result<()> {
    desk.root_image("env.img")?;
    let exec = ["-o", "env.img"];
    let told = Told::new(desk, &exec, &["env.img"])?;
    exec_in(desk, &exec, SESSION)?;
    exec_in(desk, &exec, "chown 42:42 /etc/hosts.allow /etc/fstab 2> /dev/null || chown 42:42 /etc/fstab")?;
    let expected = [expected(desk)?, vec!["M /etc/fstab owner".into()]].concat();
    told.is(&diff(desk, &["env.img"])?, &expected)
}

/// In a directory of the user's own, the owners are the machine's, under fakeroot too.
fn the_same_on_a_directory(desk: &Desk) -> Result<()> {
    desk.script(
        "cp -r --preserve=mode,links,timestamps /srv/base/base base 2> /dev/null; test -x base/usr/bin/python3",
    )?
    .success()?;
    for owner in ["1001:1001", "0:0"] {
        desk.run(&["rm", "-f", "env.img"])?.success()?;
        desk.image_with("env.img", owner, "")?;
        let (exec, arguments) = (["-b", "base", "-o", "env.img"], ["-b", "base", "env.img"]);
        let told = Told::new(desk, &exec, &arguments)?;
        exec_in(desk, &exec, SESSION)?;
        told.is(&diff(desk, &arguments)?, &expected(desk)?).with_context(|| owner.to_owned())?;
    }
    Ok(())
}

/// A squashfs and an image between base and image, both with something to hide.
fn with_layers_below(desk: &Desk) -> Result<()> {
    desk.squashfs("low.sqf", "mkdir -p srv/dir/sub srv/kept; echo 1 > srv/dir/old; echo 1 > srv/dir/sub/x; echo 1 > srv/file; echo 1 > srv/kept/a")?;
    desk.image_with(
        "mid.img",
        "1001:1001",
        "mkdir -p srv/dir; echo 22 > srv/dir/middle; touch srv/.wh.file; echo 22 > srv/other",
    )?;
    desk.image("env.img")?;
    // A start puts images on top of squashfs files, however they are given.
    let exec = ["-o", "mid.img:ro", "-o", "low.sqf", "-o", "env.img"];
    let arguments = ["-o", "mid.img:ro,low.sqf", "env.img"];
    let told = Told::new(desk, &exec, &arguments)?;
    let session = "test ! -e /srv/file; test -e /srv/dir/middle; echo back > /srv/file; rm -r /srv/dir; mkdir /srv/dir
        echo new > /srv/dir/new; rm /srv/kept/a; echo 333 >> /srv/other";
    exec_in(desk, &exec, session)?;
    let expected = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let whole = diff(desk, &arguments)?;
    told.is(
        &whole,
        &expected(&[
            "A /srv/file",
            "D /srv/dir/middle",
            "D /srv/dir/old",
            "D /srv/dir/sub",
            "A /srv/dir/new",
            "D /srv/kept/a",
            "M /srv/other content",
        ]),
    )?;
    // Against the base and one of them, the rest is new.
    let report = diff(desk, &["-o", "low.sqf", "-o", "env.img", "env.img"])?;
    told.is(
        &report,
        &expected(&[
            "M /srv/file content",
            "D /srv/dir/old",
            "D /srv/dir/sub",
            "A /srv/dir/new",
            "D /srv/kept/a",
            "A /srv/other",
        ]),
    )
}

fn renamed_and_linked_files(desk: &Desk) -> Result<()> {
    desk.image_with("env.img", "1001:1001", "mkdir -p own; echo 1 > own/file")?;
    let exec = ["-o", "env.img"];
    let told = Told::new(desk, &exec, &["env.img"])?;
    let name = "printf '/od\\377d\\033[31m'";
    exec_in(
        desk,
        &exec,
        &format!("mv /etc/debian_version /etc/moved; ln /own/file /own/again; mv /own /ours; echo x > \"$({name})\""),
    )?;
    let report = diff(desk, &["env.img"])?;
    let added = ["A /etc/moved", "A /ours", "A /ours/again", "A /ours/file", "A /od\u{fffd}d\u{1b}[31m"];
    let expected: Vec<String> = added.iter().chain(&["D /etc/debian_version"]).map(|line| (*line).to_owned()).collect();
    told.is(&report, &expected)?;
    ensure!(entry(&report, "/ours/file")?["hard_link_to"] == "/ours/again", "{report}");
    ensure!(entry(&report, "/od\u{fffd}d\u{1b}[31m")?["path_hex"] == "2f6f64ff641b5b33316d", "{report}");
    let text = desk.run(&["condatainer", "overlay", "diff", "env.img"])?.success()?;
    ensure!(text.stdout.contains("/od\\xffd\\x1b[31m\n") && !text.stdout.contains('\u{1b}'), "{text:?}");
    Ok(())
}

fn a_read_session_changes_nothing(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let before = lines(&diff(desk, &["env.img"])?)?;
    ensure!(before.iter().map(String::as_str).eq(["A /opt/layers", "A /opt/layers/env"]), "{before:?}");
    desk.srun_in("env.img", "cat /etc/profile > /dev/null")?.success()?;
    ensure!(lines(&diff(desk, &["env.img"])?)? == before, "a reader changed something");
    Ok(())
}

fn an_image_in_use_is_read_all_the_same(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let hold = "condatainer exec -w -o env.img sh -c 'touch held; while [ -e held ]; do sleep 0.1; done' &";
    desk.script(hold)?.success()?;
    desk.wait_until("[ -e held ]")?;
    let output = desk.run(&["condatainer", "overlay", "diff", "--json", "env.img"])?;
    desk.run(&["rm", "held"])?.success()?;
    let output = output.success()?.complains("env.img: is in use; it may be changing while it is read")?;
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure!(report["in_use"] == true, "{report}");
    desk.wait_until("[ \"$(condatainer overlay info --json env.img | grep -c in-use)\" = 0 ]")?;
    desk.is_clean("env.img")
}

fn text_for_people(desk: &Desk) -> Result<()> {
    desk.squashfs(
        "low.sqf",
        "mkdir -p srv/gone; head -c 3000 /dev/zero > srv/gone/a; echo 1 > srv/file; echo 1 > srv/mode",
    )?;
    desk.image_with(
        "env.img",
        "1001:1001",
        "mkdir -p ext3/env; head -c 2048 /dev/zero > ext3/env/f; mkdir srv; touch srv/.wh.gone; echo 22 > srv/file; rm -r opt",
    )?;
    let output = desk.run(&["condatainer", "overlay", "diff", "-o", "low.sqf", "env.img"])?;
    let output = output.says(
        "A           - /ext3/\nA           - /ext3/env/\nA    2.00 KiB /ext3/env/f\nM         3 B /srv/file\nD    2.93 KiB /srv/gone/ (1 file)",
    )?;
    output.complains("env.img: 3 added (2.00 KiB), 1 changed (3 B), 2 deleted (2.93 KiB)")?;
    let output = desk.run(&["condatainer", "-q", "overlay", "diff", "--summary", "-o", "low.sqf", "env.img"])?;
    let output = output.success()?.without_a_word()?;
    let places: Vec<_> = output.stdout.lines().filter_map(|line| line.split_whitespace().last()).collect();
    ensure!(places == ["/", "/ext3/", "/ext3/env/", "/srv/"] || places == ["/", "/ext3/", "/srv/"], "{output:?}");
    desk.run(&["sh", "-c", "condatainer overlay diff env.img | head -n1"])?.success()?;
    Ok(())
}

fn what_cannot_be_compared_is_refused(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.squashfs("a.sqf", "")?;
    let refused = |arguments: &[&str], text: &str| {
        let output = desk.run(&[&["condatainer", "overlay", "diff"], arguments].concat())?;
        output.ends_with(1)?.complains(text).map(drop)
    };
    refused(&["a.sqf"], "a.sqf: is a squashfs without a writable overlay; only ext3 images have changes to show")?;
    refused(&["nope.img"], "nope.img: no such file or directory")?;
    refused(&["-b", "env.img", "env.img"], "env.img: an ext image cannot be the base")?;
    refused(&["-b", "nope.sif", "env.img"], "nope.sif: no such file or directory")?;
    refused(&["-o", "a.sqf:rw", "env.img"], "a.sqf: a layer below the image is only read: leave out its mode")?;
    refused(
        &["-o", "/srv/base/base.sif", "env.img"],
        "base.sif: this SIF has no overlay partition, so it cannot be a layer",
    )?;
    desk.script("head -c 100000 /srv/base/base.sqf > short.sqf")?.success()?;
    refused(&["-b", "short.sqf", "env.img"], "short.sqf: is truncated: ")
}
