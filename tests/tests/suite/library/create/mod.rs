//! `create`: layers from definitions and from images, built by the real Apptainer, then used as base and as layer.

mod broken;
mod source;

use anyhow::{Result, ensure};
use cluster::Output;

use crate::support::{Desk, Expect, tests};
use broken::*;
use source::*;

tests! {
    Apptainer, Desk: [
        a_definition_is_built_and_recorded, a_name_is_found, without_a_subuid_range, a_full_disk_is_said, a_signal_leaves_no_build,
        a_killed_update_leaves_the_old_layer,
    ];
    ApptainerOnce, Desk: [
        stages_and_odd_texts_are_recorded, arguments_are_passed_on, every_kind_of_image_is_a_source, what_is_recorded_is_rebuilt,
        without_fakeroot, a_registry_out_of_reach, wrong_inputs_are_refused, apptainers_own_words_are_shown,
        a_workspace_is_never_replaced, nobody_waits_for_a_terminal, two_at_once,
    ];
    Only(cluster::Release::Bookworm), OwnCluster: [nothing_is_built_without_apptainer];
}

/// A root file system of a few programs of the node's own, so that a build takes a second.
const ROOTFS: &str = r#"set -e; umask 022; mkdir -p work rootfs; cd rootfs
    mkdir -p bin etc tmp var/tmp root home opt proc sys dev srv
    for program in sh ls cat id chown touch mkdir stat sleep head getopt sed cut rm; do cp "$(readlink -f "$(command -v $program)")" bin/$program; done
    ldd bin/* 2> /dev/null | grep -o '/[^ )]*' | grep -v ':$' | sort -u | while read -r library; do
        mkdir -p ".${library%/*}"; cp "$library" ".$library"
    done
    touch etc/passwd etc/group etc/hosts etc/resolv.conf etc/localtime; echo made > marker"#;

/// What a user does: other owners, and files that only their owner may enter.
const POST: &str = "%post\n    id -u > /opt/id\n    chown 42:43 /opt/given\n    mkdir -m 0700 /opt/closed\n    touch /opt/closed/x\n    chown 7:7 /opt/closed\n";

fn create(desk: &Desk, arguments: &[&str]) -> Result<Output> {
    desk.run(&[&["condatainer", "create", "--tmpdir", "work"], arguments].concat())
}

fn rootfs(desk: &Desk) -> Result<()> {
    desk.script(ROOTFS)?.success().map(drop)
}

/// `a.def`, which copies a file from beside it.
fn definition(desk: &Desk) -> Result<String> {
    rootfs(desk)?;
    let text = format!("Bootstrap: localimage\nFrom: rootfs\n\n%files\n    given /opt/given\n{POST}");
    desk.write("given", "by the user\n")?;
    desk.write("a.def", &text)?;
    Ok(text)
}

fn recorded(desk: &Desk, layer: &str) -> Result<String> {
    Ok(desk.run(&["unsquashfs", "-cat", layer, ".cnt-build-script.def"])?.success()?.stdout)
}

/// The owner of a file in a layer, as the layer has it.
fn owner(desk: &Desk, layer: &str, path: &str) -> Result<String> {
    let text =
        format!("unsquashfs -lln {layer} {path} | grep ' squashfs-root/{path}$' | head -1 | tr -s ' ' | cut -d' ' -f2");
    Ok(desk.script(&text)?.success()?.stdout.trim().into())
}

/// Nothing lies around here or where the work was done, and nobody is at work any more.
fn is_tidy(desk: &Desk) -> Result<()> {
    let left = desk.script("ls -A . work | grep condatainer-")?.stdout;
    ensure!(left.is_empty(), "left behind: {left}");
    desk.wait_until(&format!("! pgrep -f '[a]pptainer build .*{}/work'", desk.dir))
}

fn a_definition_is_built_and_recorded(desk: &Desk) -> Result<()> {
    let text = definition(desk)?;
    let output = create(desk, &["-f", "a.def", "--json"])?.success()?;
    let report: serde_json::Value = serde_json::from_str(&output.stdout)?;
    for (key, value) in [
        ("path", "a.sqf"),
        ("source", "a.def"),
        ("definition", "/.cnt-build-script.def"),
        ("compression", "zstd"),
        ("fakeroot", "subuid"),
    ] {
        ensure!(report[key] == value, "{key}: {report}");
    }
    ensure!(report["size_bytes"] == desk.bytes("a.sqf")?.len() && report["replaced"] == false, "{report}");
    ensure!(output.stderr.is_empty(), "silent when piped: {}", output.stderr);
    ensure!(recorded(desk, "a.sqf")? == text);
    ensure!(owner(desk, "a.sqf", "opt/given")? == "42/43" && owner(desk, "a.sqf", "opt/closed")? == "7/7");
    let inside = "cat /marker /opt/id /opt/given";
    desk.run(&["condatainer", "exec", "-b", "a.sqf", "sh", "-c", inside])?.says("made\n0\nby the user")?;
    desk.run(&["condatainer", "exec", "-o", "a.sqf", "sh", "-c", inside])?.says("made\n0\nby the user")?;
    is_tidy(desk)
}

fn a_name_is_found(desk: &Desk) -> Result<()> {
    rootfs(desk)?;
    let output = create(desk, &["-s", "rootfs", "-n", "tiny=1.0"])?.success()?;
    output.complains("/home/alice/.local/share/condatainer/images/tiny--1.0.sqf: made, ")?;
    desk.run(&["condatainer", "exec", "-o", "tiny/1.0", "cat", "/marker"])?.says("made")?;
    create(desk, &["-s", "rootfs", "-n", "tiny/1.0"])?.ends_with(1)?.complains("exists already; -u rebuilds it")?;
    create(desk, &["-u", "-n", "tiny/1.0"])?.success()?.complains("tiny--1.0.sqf: rebuilt, ")?;
    Ok(())
}

/// Where a section at the end of the text could go wrong.
fn stages_and_odd_texts_are_recorded(desk: &Desk) -> Result<()> {
    rootfs(desk)?;
    let header = "Bootstrap: localimage\nFrom: rootfs\n";
    let texts = [
        format!(
            "{header}Stage: one\n%post\n    touch /opt/first\n\n{header}Stage: two\n%files from one\n    /opt/first /opt/second"
        ),
        format!("# mine\n\n{header}%post\n    touch /opt/second").replace('\n', "\r\n"),
        format!("{header}%files\n    rootfs/marker /opt/second\n%labels\n    a b"),
        format!(
            "{header}%setup\n    touch \"$APPTAINER_ROOTFS/opt/second\"\n%environment\n    export A=1\n# the end \\"
        ),
    ];
    for text in &texts {
        desk.write("a.def", text)?;
        let output = create(desk, &["-u", "-f", "a.def", "-p", "a"])?;
        ensure!(output.code == 0, "{text:?}: {}", output.stderr);
        ensure!(&recorded(desk, "a.sqf")? == text, "{text:?}: {:?}", recorded(desk, "a.sqf")?);
        desk.run(&["condatainer", "exec", "-b", "a.sqf", "ls", "/opt/second"])?.says("/opt/second")?;
    }
    desk.run(&["mkdir", "a place"])?.success()?;
    let spaces = ["condatainer", "create", "--tmpdir", "a place", "-f", "a.def", "-p", "a place/b"];
    desk.run(&spaces)?.success()?;
    ensure!(&recorded(desk, "a place/b.sqf")? == texts.last().map_or("", String::as_str));
    is_tidy(desk)
}

fn arguments_are_passed_on(desk: &Desk) -> Result<()> {
    rootfs(desk)?;
    let text = "Bootstrap: localimage\nFrom: rootfs\n%post\n    echo {{ WHAT }} > /opt/what\n";
    desk.write("a.def", text)?;
    create(desk, &["-f", "a.def", "--compression", "gzip", "--", "--build-arg", "WHAT=that"])?
        .success()?
        .complains("gzip")?;
    desk.run(&["condatainer", "exec", "-b", "a.sqf", "cat", "/opt/what"])?.says("that")?;
    desk.run(&["condatainer", "overlay", "info", "a.sqf"])?.success()?;
    // A definition may come from a pipe.
    let piped = "condatainer create --tmpdir work -f /dev/stdin -p piped -- --build-arg WHAT=piped";
    desk.script(&format!("cat a.def | {piped}"))?.success()?;
    desk.run(&["condatainer", "exec", "-b", "piped.sqf", "cat", "/opt/what"])?.says("piped")?;
    // What would make something else than a SIF is not heard.
    let mut command = desk.command();
    for name in ["APPTAINER_SANDBOX", "APPTAINER_NO_CLEANUP", "SINGULARITY_JSON"] {
        command = command.env(name, "1");
    }
    command.run(&["condatainer", "create", "--tmpdir", "work", "-s", "rootfs", "-p", "b"])?.success()?;
    is_tidy(desk)
}

fn what_is_recorded_is_rebuilt(desk: &Desk) -> Result<()> {
    let text = definition(desk)?;
    create(desk, &["-f", "a.def", "-p", "a.sqf"])?.success()?;
    desk.run(&["chmod", "640", "a.sqf"])?.success()?;
    desk.run(&["ln", "-s", "a.sqf", "link.sqf"])?.success()?;
    desk.script("rm a.def; echo later > rootfs/marker")?.success()?;
    create(desk, &["-f", "a.def", "-p", "a.sqf"])?.ends_with(1)?.complains("a.def: no such file or directory")?;
    create(desk, &["-u", "-p", "link.sqf"])?.success()?.complains("/a.sqf: rebuilt, ")?;
    ensure!(recorded(desk, "a.sqf")? == text);
    desk.run(&["condatainer", "exec", "-b", "link.sqf", "cat", "/marker"])?.says("later")?;
    desk.script("stat -c %a a.sqf; test -L link.sqf")?.says("640")?;
    create(desk, &["-u", "-p", "b.sqf"])?
        .ends_with(1)?
        .complains("b.sqf: is not there yet, so it has no definition")?;
    desk.squashfs("other.sqf", "")?;
    create(desk, &["-u", "-p", "other.sqf"])?.ends_with(1)?.complains("other.sqf: has no definition recorded")?;
    is_tidy(desk)
}

/// Bob's builds are root-mapped: only root exists in them.
fn without_a_subuid_range(desk: &Desk) -> Result<()> {
    let bob = &desk.of("bob")?;
    definition(bob)?;
    let output = create(bob, &["-f", "a.def"])?.success()?.complains(", all of it belongs to root, ")?;
    ensure!(output.stderr.lines().count() == 1, "{}", output.stderr);
    ensure!(owner(bob, "a.sqf", "opt/given")? == "0/0");
    bob.run(&["condatainer", "exec", "-b", "a.sqf", "cat", "/opt/id", "/opt/given"])?.says("0\nby the user")?;
    // An image with other owners can be taken over, but a definition cannot begin with it.
    bob.script("mkdir -p t; mksquashfs rootfs owned.sqf -quiet -no-progress -force-uid 42 -force-gid 43")?.success()?;
    bob.write("b.def", "Bootstrap: localimage\nFrom: owned.sqf\n%post\n    true\n")?;
    let refused = create(bob, &["-f", "b.def"])?.ends_with(1)?;
    refused.complains("without a subuid range you cannot have files of other users than root")?;
    create(bob, &["-s", "owned.sqf", "-p", "flat.sqf"])?.success()?.complains("all of it belongs to root")?;
    ensure!(owner(bob, "flat.sqf", "marker")? == "0/0");
    bob.write("b.def", "Bootstrap: localimage\nFrom: flat.sqf\n%post\n    true\n")?;
    create(bob, &["-f", "b.def"])?.success()?;
    create(bob, &["-u", "-p", "flat.sqf"])?.success()?.complains("flat.sqf: rebuilt")?;
    is_tidy(bob)
}

fn without_fakeroot(desk: &Desk) -> Result<()> {
    definition(desk)?;
    let refused = create(desk, &["--no-fakeroot", "-f", "a.def"])?.ends_with(1)?;
    refused.complains("a.def: only root builds from a definition without fakeroot; leave --no-fakeroot out")?;
    let output = create(desk, &["--no-fakeroot", "-s", "rootfs", "-p", "a", "--json"])?.success()?;
    let report: serde_json::Value = serde_json::from_str(&output.stdout)?;
    ensure!(report["fakeroot"].is_null() && report["root_owned"] == true, "{report}");
    ensure!(owner(desk, "a.sqf", "marker")? == "0/0");
    desk.run(&["condatainer", "exec", "-b", "a.sqf", "cat", "/marker"])?.says("made")?;
    create(desk, &["--no-fakeroot", "-u", "-p", "a.sqf"])?.success()?.complains("a.sqf: rebuilt")?;
    is_tidy(desk)
}
