//! Directories of ours in places that others can write to.

use anyhow::{Result, ensure};
use cluster::Output;

use crate::support::{Desk, Expect, tests};

tests! {
    Apptainer, Desk: [a_tmpdir_in_which_others_can_rename_is_refused];
    ApptainerOnce, Desk: [
        what_tmp_writes_is_its_users_alone, a_link_in_its_place_costs_nothing, another_directory_in_its_place_stops_the_start,
        what_a_killed_start_has_left_goes_with_the_next_one, a_directory_of_a_builds_name_is_nobodys_to_sweep,
    ];
}

/// A place for `:tmp` in which only the user, or everybody, can make things.
fn place(desk: &Desk, name: &str, mode: &str) -> Result<String> {
    let path = format!("/run/{}-{name}", desk.dir.rsplit('/').next().unwrap_or_default());
    desk.as_root(&format!("mkdir -p {path}; chmod {mode} {path}"))?.success()?;
    Ok(path)
}

fn start(desk: &Desk, tmpdir: &str, options: &[&str], shell: &str) -> Result<Output> {
    let words = [&["condatainer", "exec", "-o", "env.img:tmp"], options, &["--", "sh", "-c", shell]].concat();
    desk.command().env("TMPDIR", tmpdir).run(&words)
}

/// Something of the user's own that is shaped like what `:tmp` writes.
const WORK: &str = "mkdir -p work/upper work/work; echo thesis > work/upper/chapter";

fn work_is_there(desk: &Desk) -> Result<()> {
    desk.run(&["cat", "work/upper/chapter"])?.says("thesis").map(drop)
}

fn what_tmp_writes_is_its_users_alone(desk: &Desk) -> Result<()> {
    let desk = &desk.with_mounts("engine");
    desk.image("env.img")?;
    let tmpdir = place(desk, "shared", "1777")?;
    let hold = format!(
        "umask 0; TMPDIR={tmpdir} condatainer exec -o env.img:tmp sh -c 'echo secret > /secret; touch held; while [ -e held ]; do sleep 0.1; done' &"
    );
    desk.script(&hold)?.success()?;
    desk.wait_until("[ -e held ]")?;
    let modes = desk.as_root(&format!("stat -c '%a %U' {tmpdir}/condatainer-*"))?.success()?.stdout;
    let seen =
        desk.of("bob")?.script(&format!("ls {tmpdir}/condatainer-*; cat {tmpdir}/condatainer-*/upper/secret"))?;
    desk.run(&["rm", "held"])?.success()?;
    desk.wait_until(&format!("[ -z \"$(ls -A {tmpdir})\" ]"))?;
    ensure!(modes == "700 alice\n" && seen.stdout.is_empty(), "{modes} {seen:?}");
    Ok(())
}

fn a_tmpdir_in_which_others_can_rename_is_refused(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.script("mkdir rootfs; touch rootfs/file")?.success()?;
    let (open, bobs) = (place(desk, "open", "777")?, place(desk, "bobs", "1777")?);
    desk.as_root(&format!(
        "chown bob {bobs}; mkdir -m 777 {open}/mine; chown alice {open}/mine; chmod 700 {open}/mine"
    ))?
    .success()?;
    let everybody =
        "can be written to by everybody and has no sticky bit, so somebody else could replace what is in there";
    for (dir, why) in [
        (
            open.clone(),
            format!("{open}: cannot hold what :tmp layers write: it {everybody}: as root: chmod +t {open}; or "),
        ),
        (format!("{open}/mine"), format!("{open}/mine: cannot hold what :tmp layers write: {open} {everybody}")),
        (bobs.clone(), format!("{bobs}: cannot hold what :tmp layers write: it belongs to bob, ")),
    ] {
        desk.refused(start(desk, &dir, &[], "echo RAN")?, &why)?.ends_with(125)?;
        let step = desk.command().env("TMPDIR", &dir);
        desk.refused(step.run(&["srun", "--condatainer-overlay=env.img:tmp", "echo", "RAN"])?, &why)?;
        let doctor = desk.command().env("TMPDIR", &dir).run(&["condatainer", "doctor"])?.ends_with(1)?;
        let found = why.split(": as root").next().unwrap_or_default();
        ensure!(doctor.stdout.contains(found), "{doctor:?}");
        let build = ["condatainer", "create", "-s", "rootfs", "-p", "a.sqf", "--tmpdir", &dir];
        desk.run(&build)?.ends_with(1)?.complains(&format!("{dir}: cannot be used for building: "))?;
    }
    Ok(())
}

/// The user himself does here what somebody else could in a place without sticky bit.
fn a_link_in_its_place_costs_nothing(desk: &Desk) -> Result<()> {
    let desk = &desk.with_mounts("engine");
    desk.image("env.img")?;
    desk.script(WORK)?.success()?;
    desk.run(&["mkdir", "scratch"])?.success()?;
    let swap = "cd scratch; for dir in condatainer-*; do mv $dir aside; ln -s ../work $dir; done; echo done";
    for options in [&[][..], &["--fakeroot"]] {
        let write = format!("mkdir -p /d/e; echo x > /d/e/f; chown 42 /d/e/f 2> /dev/null; {swap}");
        let output = start(desk, &desk.path("scratch"), options, &write)?.says("done")?;
        output.complains(
            "what :tmp layers wrote could not be removed: something else has its name now, and was left alone",
        )?;
        work_is_there(desk)?;
        desk.script("ls -A scratch/aside; rm scratch/condatainer-*; rmdir scratch/aside")?.says("")?;
    }
    // A directory of the user's own, too.
    let swap = "cd scratch; for dir in condatainer-*; do mv $dir aside; mv ../work $dir; done; echo done";
    start(desk, &desk.path("scratch"), &[], swap)?.says("done")?;
    desk.script("mv scratch/condatainer-* work")?.success()?;
    work_is_there(desk)
}

/// Apptainer is given a path. A stand-in in front of it makes another directory there, just before it looks.
fn another_directory_in_its_place_stops_the_start(desk: &Desk) -> Result<()> {
    let desk = &desk.with_mounts("engine");
    desk.image("env.img")?;
    desk.run(&["mkdir", "bin", "scratch"])?.success()?;
    let swap = "mv $dir aside; mkdir $dir";
    // Until then the start is refused: the sleep is ended when it was.
    let swap_back = format!("{swap}; (sleep 576.402; mv $dir theirs; mv aside $dir) > /dev/null 2>&1 &");
    for swap in [swap, &swap_back] {
        let engine = format!(
            "#!/bin/bash\nif [[ \" $* \" == *' exec '* ]]; then cd {}; for dir in condatainer-*; do {swap}\ndone; cd \"$OLDPWD\"; fi\nexec /usr/bin/apptainer \"$@\"\n",
            desk.path("scratch")
        );
        desk.write("bin/apptainer", &engine)?;
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", desk.path("bin"));
        let command = desk.command().env("PATH", &path).env("TMPDIR", &desk.path("scratch"));
        let output = command.run(&["condatainer", "exec", "-o", "env.img:tmp", "echo", "RAN"])?;
        let output = desk.refused(output, "was replaced by somebody while the container was being started")?;
        output.ends_with(125)?;
        desk.run(&["pkill", "-u", "alice", "-f", "^sleep 576.402$"])?;
        desk.wait_until(&format!("! pgrep -u alice -f '^/bin/bash {}/[b]in/apptainer'", desk.dir))?;
        desk.script("ls -d scratch/*/* 2> /dev/null | grep -v /upper$ | grep -v /work$; rm -rf scratch/*")?;
    }
    Ok(())
}

fn what_a_killed_start_has_left_goes_with_the_next_one(desk: &Desk) -> Result<()> {
    let desk = &desk.with_mounts("engine");
    desk.root_image("env.img")?;
    desk.script(&format!("{WORK}; mkdir scratch; cp -r work scratch/condatainer-abcdef"))?.success()?;
    let hold = format!(
        "TMPDIR={} condatainer exec -o env.img:tmp sh -c 'mkdir /d; touch /d/f; chown -R 42 /d; chmod 700 /d; touch held; exec sleep 76401' > /dev/null 2>&1 & echo $! > pid",
        desk.path("scratch")
    );
    desk.script(&hold)?.success()?;
    desk.wait_until("[ -e held ] && pgrep -u alice -f '^sleep 76401$'")?;
    let beside = start(desk, &desk.path("scratch"), &[], "true")?.success()?;
    ensure!(!beside.stderr.contains("left it behind"), "a live one was swept: {beside:?}");
    // The engine and its daemons end by themselves when nobody reads their words.
    desk.script("kill -KILL $(cat pid); pkill -KILL -u alice -f '^sleep 76401$'; rm held")?;
    desk.wait_until("[ ! -e /proc/$(cat pid) ]")?;
    let output = start(desk, &desk.path("scratch"), &[], "true")?.success()?;
    output.complains("removed: a killed start had left it behind")?;
    desk.script("ls -A scratch; cat scratch/condatainer-abcdef/upper/chapter")?.says("condatainer-abcdef\nthesis")?;
    Ok(())
}

fn a_directory_of_a_builds_name_is_nobodys_to_sweep(desk: &Desk) -> Result<()> {
    let names = ["scratch/.build.condatainer-abcdef", "scratch/.build.condatainer-abcdef.new.d"];
    desk.script(&format!(
        "mkdir -p rootfs/bin scratch {0}; echo thesis > {0}/chapter; cp -r {0} {1}",
        names[0], names[1]
    ))?
    .success()?;
    let build = ["condatainer", "create", "-s", "rootfs", "-p", "a.sqf", "--tmpdir", "scratch"];
    desk.run(&build)?.success()?;
    for name in names {
        desk.run(&["cat", &format!("{name}/chapter")])?.says("thesis")?;
    }
    Ok(())
}
