//! What goes wrong: wrong inputs, full disks, signals and kills, two at once. The layer is the old one, the new one or none.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use cluster::Release;

use super::{create, definition, is_tidy, rootfs};
use crate::support::{Desk, Expect, Setup, World};

pub(super) fn wrong_inputs_are_refused(desk: &Desk) -> Result<()> {
    definition(desk)?;
    desk.image("env.img")?;
    desk.squashfs("low.sqf", "")?;
    for (name, text) in [
        ("empty.def", "# nothing\n"),
        ("headless.def", "%post\n    true\n"),
        ("Dockerfile", "FROM debian\n"),
        ("build.sh", "#!/bin/bash\n"),
        ("environment.yml", "name: x\n"),
    ] {
        desk.write(name, text)?;
    }
    desk.script("mkdir closed; chmod 500 closed; tar -cf root.tar -C rootfs marker")?.success()?;
    for (arguments, code, text) in [
        ("-n x", 2, "nothing to build; name a definition (-f FILE.def)"),
        ("-s rootfs", 2, "it needs a name"),
        ("-f a.def -s rootfs -n x", 2, "cannot be used with"),
        ("-f a.def -n x -p y", 2, "cannot be used with"),
        ("-f nope.def", 1, "nope.def: no such file or directory"),
        ("-f closed -p x", 1, "closed: is a directory; -f takes an Apptainer definition"),
        ("-f empty.def", 1, "empty.def: is empty; a definition begins with"),
        ("-f headless.def", 1, "headless.def: has no line 'Bootstrap:'"),
        ("-f Dockerfile -p x", 1, "Dockerfile: is a Dockerfile, which Apptainer does not build"),
        ("-f low.sqf -p x", 1, "low.sqf: is not a text, so it is no definition"),
        ("-f build.sh -p x", 1, "build.sh: is neither; -f takes an Apptainer definition"),
        ("-s https://x/y -p x", 1, "-s https://x/y: images do not come from 'https://'"),
        ("-s docker: -p x", 1, "-s docker:: write docker://"),
        ("-s debian -p x", 1, "-s debian: no such file or directory; an image in a registry is named like docker://"),
        ("-s a.def -p x", 1, "a.def: is a container definition"),
        ("-s root.tar -p x", 1, "-s root.tar: is an archive, but of no image"),
        ("-s env.img -p x", 1, "-s env.img: is a workspace image; 'condatainer overlay seal env.img'"),
        ("-f a.def -n 'a b'", 1, "-n a b: a name has no spaces"),
        ("-f a.def -p low.sqf", 1, "low.sqf: exists already; -u rebuilds it"),
        ("-f a.def -p nowhere/x", 1, "nowhere/x.sqf: the directory nowhere does not exist; make it first"),
        ("-f a.def -p closed/x", 1, "closed/x.sqf: you cannot write to the directory closed"),
        ("-f a.def --tmpdir closed", 1, "closed: cannot be used for building"),
        ("-f a.def --tmpdir nowhere", 1, "nowhere: cannot be used for building"),
    ] {
        let before = desk.files()?;
        let output = desk.script(&format!("condatainer create {arguments}"))?;
        ensure!(output.code == code && output.stderr.contains(text), "{arguments}: {} {}", output.code, output.stderr);
        ensure!(desk.files()? == before, "{arguments}: {:?}", desk.files()?);
    }
    is_tidy(desk)
}

/// Not by `-u` either, whatever its name is, and whatever of a SIF is left.
pub(super) fn a_workspace_is_never_replaced(desk: &Desk) -> Result<()> {
    rootfs(desk)?;
    desk.image("env.img")?;
    let sif = "apptainer -q build --fakeroot base.sif rootfs && cp base.sif mine.sif && apptainer -q overlay create --size 64 mine.sif
        cp env.img named.sqf; head -c 1M mine.sif > short.sif; sha256sum env.img mine.sif named.sqf short.sif > sums";
    desk.script(sif)?.success()?;
    desk.write("environment.yml", "dependencies: [x]\n")?;
    let before = desk.files()?;
    for name in ["env.img", "mine.sif", "named.sqf", "short.sif"] {
        for what in ["-s rootfs", "-f environment.yml", ""] {
            let output = desk.script(&format!("condatainer create --tmpdir work -u {what} -p {name}"))?.ends_with(1)?;
            output
                .complains(&format!("{name}: is a workspace image, not a layer: -u would lose what you have in it"))?;
        }
    }
    desk.script("sha256sum -c --quiet sums")?.success()?;
    ensure!(desk.files()? == before, "{:?}", desk.files()?);
    // Nobody's work is in this one.
    create(desk, &["-u", "-s", "rootfs", "-p", "base.sif"])?.success()?.complains("base.sif: rebuilt, ")?;
    is_tidy(desk)
}

pub(super) fn apptainers_own_words_are_shown(desk: &Desk) -> Result<()> {
    rootfs(desk)?;
    let post = "    for i in 1 2 3; do echo step $i; done\n    cat /no/such/file\n";
    desk.write("a.def", &format!("Bootstrap: localimage\nFrom: rootfs\n%post\n{post}"))?;
    let output = create(desk, &["-f", "a.def"])?.ends_with(1)?;
    let output = output.complains("step 3\n")?.complains("/no/such/file: No such file or directory\n")?;
    output.complains("condatainer: a.sqf: apptainer build failed: While performing build: while running engine")?;
    let loud = desk.run(&["condatainer", "-v", "create", "--tmpdir", "work", "-f", "a.def"])?.ends_with(1)?;
    ensure!(
        loud.stderr.matches("\nstep 3\n").count() == 1 && loud.stderr.contains("Starting build"),
        "{}",
        loud.stderr
    );
    is_tidy(desk)
}

/// Where the work is done and where the layer goes are two disks.
pub(super) fn a_full_disk_is_said(desk: &Desk) -> Result<()> {
    rootfs(desk)?;
    let big = "Bootstrap: localimage\nFrom: rootfs\n%post\n    head -c 30M /dev/urandom > /opt/big\n";
    desk.write("a.def", big)?;
    let mounts = "mkdir small; mount -t tmpfs -o size=SIZE,mode=1777,exec,dev tmpfs small; chown alice small";
    desk.as_root(&mounts.replace("SIZE", "12M"))?.success()?;
    let output = desk.run(&["condatainer", "create", "--tmpdir", "small", "-f", "a.def"])?.ends_with(1)?;
    let output = output.complains("No space left on device")?.complains("a.sqf: apptainer build failed: ")?;
    output.complains("a disk is full or your quota is: make room in small, or name another directory with --tmpdir")?;
    ensure!(desk.script("ls -A small")?.stdout.is_empty());
    let output = create(desk, &["-f", "a.def", "-p", "small/a"])?.ends_with(1)?;
    output.complains("small/a.sqf: ")?.complains(" are needed in small, ")?;
    ensure!(desk.script("ls -A small")?.stdout.is_empty());
    let fill = "head -c 12M /dev/zero > small/fill 2> /dev/null; true";
    desk.script(fill)?.success()?;
    create(desk, &["-f", "a.def", "-p", "small/a"])?.ends_with(1)?.complains("small/a.sqf: ")?;
    desk.as_root("umount -l small")?.success()?;
    // Not a single file more: it is the disk of the work that is full, not that of the layer.
    desk.as_root("mount -t tmpfs -o nr_inodes=4,mode=1777 tmpfs small")?.success()?;
    let output = desk.run(&["condatainer", "create", "--tmpdir", "small", "-f", "a.def"])?.ends_with(1)?;
    output.complains("small: cannot be used for building: No space left on device")?;
    ensure!(desk.script("ls -A small")?.stdout.is_empty());
    desk.as_root("umount -l small")?.success()?;
    is_tidy(desk)
}

/// A build that takes its time, and says when it has begun.
fn slow(desk: &Desk) -> Result<()> {
    rootfs(desk)?;
    desk.write(
        "slow.def",
        "Bootstrap: localimage\nFrom: rootfs\n%post\n    chown 42 /opt\n    echo begun\n    sleep 60\n",
    )
}

pub(super) fn a_signal_leaves_no_build(desk: &Desk) -> Result<()> {
    slow(desk)?;
    let bob = &desk.of("bob")?;
    slow(bob)?;
    for (desk, signal) in [(desk, "INT"), (desk, "TERM"), (bob, "INT")] {
        let text = format!(
            "env --default-signal condatainer -v create --tmpdir work -f slow.def 2> said & until grep -qx begun said; do sleep 0.1; done
            kill -{signal} $!; wait $!; echo $?; tail -1 said; rm said"
        );
        desk.script(&text)?.says("1\ncondatainer: slow.sqf: interrupted; nothing is left of it")?;
        is_tidy(desk)?;
        ensure!(desk.files()? == ["rootfs", "slow.def", "work"], "{signal}: {:?}", desk.files()?);
    }
    Ok(())
}

/// A process in the background of a terminal would stop there for ever.
pub(super) fn nobody_waits_for_a_terminal(desk: &Desk) -> Result<()> {
    rootfs(desk)?;
    let ask = "%post\n    if read -r answer < /dev/tty; then exit 7; fi\n    echo done > /opt/done\n";
    desk.write("a.def", &format!("Bootstrap: localimage\nFrom: rootfs\n{ask}"))?;
    let typed = desk.command().terminal().stdin("");
    typed.run(&["condatainer", "create", "--tmpdir", "work", "-f", "a.def"])?.success()?;
    desk.run(&["condatainer", "exec", "-b", "a.sqf", "cat", "/opt/done"])?.says("done")?;
    is_tidy(desk)
}

pub(super) fn two_at_once(desk: &Desk) -> Result<()> {
    slow(desk)?;
    let first = "condatainer -v create --tmpdir work -f slow.def > /dev/null 2> said < /dev/null & echo $! > first";
    desk.script(first)?.success()?;
    desk.wait_until("grep -qx begun said")?;
    let second = create(desk, &["-s", "rootfs", "-p", "slow.sqf"])?.ends_with(1)?;
    second.complains("slow.sqf: another condatainer is building it at this moment (its draft is ")?;
    // Another one is not in the way, and sweeps away nothing that is in use.
    create(desk, &["-s", "rootfs", "-p", "other.sqf"])?.success()?;
    desk.script("kill -0 $(cat first); kill $(cat first)")?.success()?;
    desk.wait_until("! kill -0 $(cat first)")?;
    is_tidy(desk)
}

/// Killed like that nobody can tidy up: the guard ends Apptainer, and the next run sweeps.
pub(super) fn a_killed_update_leaves_the_old_layer(desk: &Desk) -> Result<()> {
    definition(desk)?;
    create(desk, &["-f", "a.def"])?.success()?;
    let reader = "while [ ! -e enough ]; do cat /marker; sleep 0.1; done";
    let start =
        format!("condatainer exec -b a.sqf --bind . sh -c 'cd {}; {reader}' > read 2>&1 < /dev/null &", desk.dir);
    desk.script(&start)?.success()?;
    desk.wait_until("grep -q made read")?;
    let instants = if std::env::var_os("CONDATAINER_SOAK").is_some() { 50 } else { 5 };
    for instant in 0..instants {
        let after = f64::from(instant) * 3.0 / f64::from(instants) + 0.05;
        let kill = format!("timeout -s KILL {after:.2} condatainer create --tmpdir work -u -p a.sqf < /dev/null; true");
        desk.script(&kill)?.success()?;
        desk.run(&["condatainer", "exec", "-b", "a.sqf", "cat", "/marker"])?.says("made")?;
        // Its engine outlives it; or what was to become that, which has the killed one's words for a moment.
        let killed = format!("[a]pptainer build .*{}/work|[c]ondatainer create --tmpdir work -u", desk.dir);
        desk.wait_until(&format!("! pgrep -f '{killed}'"))?;
    }
    sleep(Duration::from_millis(100));
    create(desk, &["-u", "-p", "a.sqf"])?.success()?;
    desk.run(&["touch", "enough"])?.success()?;
    let read = desk.script("sleep 0.3; sort -u read")?.stdout;
    ensure!(read == "made\n", "the reader has seen {read}");
    is_tidy(desk)
}

pub(super) fn nothing_is_built_without_apptainer(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup { stand_in: false, ..Setup::default() }, |desk| {
        desk.run(&["mkdir", "rootfs"])?.success()?;
        let output = desk.run(&["condatainer", "create", "-s", "rootfs", "-p", "a"])?.ends_with(1)?;
        output.complains("condatainer: Apptainer is not installed here, nor is SingularityCE: ")?;
        Ok(())
    })
}
