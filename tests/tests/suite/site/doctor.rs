//! `condatainer doctor` on nodes that are well, and on nodes that really have each fault.

use anyhow::{Context, Result, ensure};
use cluster::{Output, Release};
use serde_json::Value;

use crate::support::setup::CONFIG;
use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Apptainer, Desk: [
        a_healthy_node, a_real_start, what_an_administrator_is_told, a_job_is_told, locks_of_places_and_images,
        a_tmpdir_that_cannot_be_written, a_user_without_ids_is_warned, a_missing_base,
        a_tmpdir_for_data_only, a_tmpdir_that_is_full, where_tmp_writes, a_misspelt_key_of_the_user, user_namespaces_that_are_switched_off, a_killed_doctor_leaves_nothing,
    ];
    Apptainer, OwnCluster: [faults_of_a_node, faults_of_the_plugin, a_sick_node_is_drained];
    Slurm, Desk: [usage, what_is_printed];
    Only(Release::Bookworm), OwnCluster: [no_engine_at_all];
}

fn doctor(desk: &Desk, arguments: &[&str]) -> Result<Output> {
    desk.run(&[&["condatainer", "doctor"], arguments].concat())
}

/// The report of `--json`; its exit code and its `ok` must say the same.
fn report(output: &Output) -> Result<Value> {
    let report: Value = serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    ensure!(report["ok"] == (output.code == 0) && output.code < 2, "exit code {}: {report}", output.code);
    Ok(report)
}

fn check<'a>(report: &'a Value, id: &str) -> Result<&'a Value> {
    let checks = report["checks"].as_array().context("no checks")?;
    checks.iter().find(|check| check["id"] == id).with_context(|| format!("no check {id}: {report}"))
}

/// The check came out like this, and what was found has this in it.
fn came_out(output: &Output, id: &str, status: &str, text: &str) -> Result<()> {
    let report = report(output)?;
    let check = check(&report, id)?;
    let says = |key: &str| check[key].as_str().is_some_and(|said| said.contains(text));
    ensure!(check["status"] == status && (says("found") || says("cure")), "expected {status}, {text:?}: {check}");
    let to_do = check["cure"].is_string();
    ensure!(to_do || !matches!(status, "failed" | "warning"), "nothing to do: {check}");
    Ok(())
}

fn failed(report: &Value) -> Vec<&str> {
    let checks = report["checks"].as_array().into_iter().flatten();
    checks.filter(|check| check["status"] == "failed").filter_map(|check| check["id"].as_str()).collect()
}

fn a_healthy_node(desk: &Desk) -> Result<()> {
    let output = doctor(desk, &["--json"])?.success()?;
    let value = report(&output)?;
    for id in [
        "kernel",
        "user-namespaces",
        "dev-fuse",
        "subuid",
        "newuidmap",
        "engine",
        "engine-config",
        "fuse2fs",
        "fuse-overlayfs",
        "squashfuse",
        "fusermount",
        "interposers",
        "mounts",
        "e2fsprogs",
        "squashfs-tools",
        "configuration",
        "base",
        "tmpdir",
        "scratch",
        "locks",
        "slurm",
        "plugin",
        "cgroup",
        "gpu",
    ] {
        ensure!(check(&value, id)?["status"] == "ok", "{}", check(&value, id)?);
    }
    came_out(&output, "engine", "ok", "Apptainer 1.")?;
    came_out(&output, "fuse2fs", "ok", "1.47.")?;
    came_out(&output, "engine-config", "ok", "enable overlay = yes")?;
    came_out(&output, "plugin", "ok", "/usr/local/lib/slurm/spank_condatainer.so")?;
    ensure!(output.stderr.is_empty() && desk.files()?.is_empty(), "{output:?} {:?}", desk.files()?);
    Ok(())
}

fn a_real_start(desk: &Desk) -> Result<()> {
    came_out(&doctor(desk, &["--json", "--start"])?.success()?, "start", "ok", "'true' ran in the base within ")?;
    let start =
        |base: &str| desk.command().env("CONDATAINER_BASE", base).run(&["condatainer", "doctor", "--json", "--start"]);
    came_out(&start("/etc")?.success()?, "start", "warning", "a container starts, but the base has no 'true'")?;
    desk.script("head -c 8192 /srv/base/base.sqf > torn.sqf")?.success()?;
    came_out(&start(&desk.path("torn.sqf"))?, "start", "failed", "is truncated")
}

/// Root starts no containers: what is each user's own is left out, and a node that is well needs no words.
fn what_an_administrator_is_told(desk: &Desk) -> Result<()> {
    desk.as_root("cd /; condatainer doctor --node")?.says("")?;
    let output = desk.as_root("cd /; condatainer doctor --node --json")?.success()?;
    came_out(&output, "subuid", "skipped", "each user's own")?;
    came_out(&output, "user-namespaces", "ok", "work")?;
    desk.as_root("cd /; condatainer doctor --json")?.success()?;
    // Where slurmd was started from is not a place for images, and its own variables mean nothing to users.
    desk.as_root("cd /; TMPDIR=/no/such condatainer doctor --node")?.says("")?;
    Ok(())
}

fn a_job_is_told(desk: &Desk) -> Result<()> {
    came_out(&doctor(desk, &["--json"])?, "slurm", "ok", "not in a job")?;
    let output = desk.srun(&["condatainer", "doctor", "--json"])?.success()?;
    came_out(&output, "slurm", "ok", "in job ")?;
    came_out(&output, "slurm", "ok", ", step 0")
}

/// An image's lock is asked about and not taken: its user is not disturbed.
fn locks_of_places_and_images(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let of = |path: &str| doctor(desk, &["--json", path]);
    came_out(&of("env.img")?.success()?, "locks", "ok", "env.img: ext3 image on ")?;
    came_out(&of("/dev/shm")?.success()?, "locks", "ok", "/dev/shm: tmpfs: locks work")?;
    came_out(&of("/usr")?.success()?, "locks", "skipped", "locks not tried: Permission denied")?;
    came_out(&of("nope.img")?, "locks", "failed", "nope.img: no such file or directory")?;
    let both = report(&doctor(desk, &["--json", "/dev/shm", "env.img"])?.success()?)?;
    let found = both["checks"].as_array().into_iter().flatten().filter(|check| check["id"] == "locks");
    ensure!(found.count() == 2, "{both}");
    let hold = "condatainer exec -w -o env.img sh -c 'touch held; while [ -e held ]; do sleep 0.1; done' &";
    desk.script(hold)?.success()?;
    desk.wait_until("[ -e held ]")?;
    let held = of("env.img")?;
    desk.run(&["rm", "held"])?.success()?;
    came_out(&held, "locks", "ok", "locks work, in use")?;
    desk.wait_until("condatainer exec -w -o env.img true")?;
    ensure!(desk.files()? == ["env.img"], "{:?}", desk.files()?);
    desk.is_clean("env.img")
}

fn a_tmpdir_that_cannot_be_written(desk: &Desk) -> Result<()> {
    let of = |dir: &str| desk.command().env("CONDATAINER_TMPDIR", dir).run(&["condatainer", "doctor", "--json"]);
    came_out(&of("/usr")?, "tmpdir", "failed", "Permission denied")?;
    came_out(&of("/no/such")?, "tmpdir", "failed", "no such directory")?;
    came_out(&of("/etc/passwd")?, "tmpdir", "failed", "not a directory")
}

fn a_tmpdir_that_is_full(desk: &Desk) -> Result<()> {
    desk.as_root(
        "mkdir /run/full; mount -t tmpfs -o size=64k,mode=1777 tmpfs /run/full; head -c 64k /dev/zero > /run/full/file",
    )?
    .success()?;
    let output = desk.command().env("CONDATAINER_TMPDIR", "/run/full").run(&["condatainer", "doctor", "--json"]);
    desk.as_root("umount /run/full; rmdir /run/full")?.success()?;
    came_out(&output?, "tmpdir", "warning", "/run/full: is full, in memory (tmpfs)")
}

fn where_tmp_writes(desk: &Desk) -> Result<()> {
    let of = |mounts: &str, scratch: &str| {
        let command = desk.command().env("CONDATAINER_MOUNTS", mounts).env("CONDATAINER_SCRATCH", scratch);
        command.env("CONDATAINER_TMPDIR", "/no/such").run(&["condatainer", "doctor", "--json"])
    };
    came_out(&of("own", "disk")?, "scratch", "ok", "disk: what :tmp writes is a file without a name in tmpdir")?;
    came_out(&of("own", "disk")?, "tmpdir", "failed", "cannot hold what :tmp layers write: no such directory")?;
    came_out(&of("engine", "disk")?, "scratch", "ok", "disk: what :tmp writes is a directory in tmpdir")?;
    let memory = of("own", "memory:1000T")?;
    came_out(&memory, "scratch", "warning", "memory, at most 1048576000 MiB of the ")?;
    came_out(&memory, "tmpdir", "warning", "cannot hold what is built: no such directory")?;
    came_out(&of("auto", "memory:8M")?, "scratch", "warning", "that a start may have here, which is little")?;
    let half = of("own", "memory")?;
    // On a small machine it is little.
    ensure!(half.code == 0 && half.stdout.contains(": half of what a start may have here"), "{half:?}");
    came_out(
        &of("engine", "memory")?,
        "scratch",
        "failed",
        "only condatainer's own mounts write there: the engine mounts the layers",
    )
}

/// What `:tmp` layers write can be executed from a directory that is mounted noexec and nosuid: nothing to warn of.
fn a_tmpdir_for_data_only(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.as_root("mkdir /run/data; mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmpfs /run/data")?.success()?;
    let command = desk.command().env("CONDATAINER_TMPDIR", "/run/data");
    let said = command.run(&["condatainer", "exec", "-o", "env.img:tmp", "sh", "-c", "cp /bin/echo /x; /x works"])?;
    let output = command.run(&["condatainer", "doctor", "--json"])?;
    desk.as_root("umount /run/data; rmdir /run/data")?.success()?;
    said.says("works")?;
    came_out(&output, "tmpdir", "ok", "/run/data")
}

fn a_user_without_ids_is_warned(desk: &Desk) -> Result<()> {
    let output = doctor(&desk.of("bob")?, &["--json"])?.success()?;
    came_out(&output, "subuid", "warning", "bob has no range in /etc/subuid and /etc/subgid")
}

fn a_missing_base(desk: &Desk) -> Result<()> {
    let of = |base: &str| desk.command().env("CONDATAINER_BASE", base).run(&["condatainer", "doctor", "--json"]);
    desk.image("env.img")?;
    came_out(&of("/no/base.sif")?, "base", "failed", "/no/base.sif: no such file or directory")?;
    came_out(&of(&desk.path("env.img"))?, "base", "failed", "an ext image cannot be the base")?;
    came_out(&of("/srv/base/base.sif")?.success()?, "base", "ok", "/srv/base/base.sif, sif")
}

fn a_misspelt_key_of_the_user(desk: &Desk) -> Result<()> {
    desk.script("mkdir -p xdg/condatainer; echo 'bsae = \"/x\"' > xdg/condatainer/config.toml")?.success()?;
    let command = desk.command().env("XDG_CONFIG_HOME", &desk.path("xdg"));
    let output = command.run(&["condatainer", "doctor", "--json", "--start"])?.ends_with(1)?;
    came_out(&output, "configuration", "failed", "unknown field `bsae`")?;
    came_out(&output, "start", "skipped", "the configuration comes first")
}

fn user_namespaces_that_are_switched_off(desk: &Desk) -> Result<()> {
    // The switch belongs to a user namespace: in one of its own it can be turned without touching the machine.
    let text = "unshare --user --map-users=all --map-groups=all sh -c 'echo 0 > /proc/sys/user/max_user_namespaces &&
        exec setpriv --reuid alice --regid alice --clear-groups env HOME=/home/alice condatainer doctor --json'";
    let output = desk.as_root(text)?.ends_with(1)?;
    came_out(&output, "user-namespaces", "failed", "user.max_user_namespaces is 0")?;
    came_out(&output, "overlayfs", "skipped", "there are no user namespaces")
}

/// SIGTERM takes the file for the lock away, whenever it comes.
fn a_killed_doctor_leaves_nothing(desk: &Desk) -> Result<()> {
    let text =
        "for wait in $(seq 0.001 0.002 0.1); do timeout -s TERM $wait condatainer doctor > /dev/null; done; ls -A";
    desk.script(text)?.says("").map(drop)
}

/// Each fault is made, is found by the user and by the node's check, and is taken back.
fn faults_of_a_node(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        for fault in &FAULTS {
            desk.as_root(fault.make)?.success().with_context(|| fault.make)?;
            let user = doctor(desk, &["--json"])?;
            let node = desk.as_root("cd /; condatainer doctor --node")?;
            desk.as_root(fault.undo)?.success().with_context(|| fault.undo)?;
            came_out(&user, fault.id, "failed", fault.says).with_context(|| fault.make)?;
            ensure!(failed(&report(&user)?).contains(&fault.id), "{user:?}");
            ensure!(node.code == 1 && node.stdout.starts_with(&format!("{}: ", fault.id)), "{}: {node:?}", fault.make);
            doctor(desk, &[])?.success()?;
        }
        desk.as_root("chmod 600 /dev/fuse")?.success()?;
        came_out(&doctor(desk, &["--json", "--start"])?, "start", "failed", "could not start the container")
    })
}

struct Fault {
    make: &'static str,
    undo: &'static str,
    id: &'static str,
    says: &'static str,
}

const fn fault(id: &'static str, make: &'static str, undo: &'static str, says: &'static str) -> Fault {
    Fault { make, undo, id, says }
}

const FAULTS: [Fault; 13] = [
    fault("dev-fuse", "chmod 600 /dev/fuse", "chmod 666 /dev/fuse", "chmod 666 /dev/fuse"),
    fault("dev-fuse", "mv /dev/fuse /dev/fuse.away", "mv /dev/fuse.away /dev/fuse", "there is no /dev/fuse"),
    fault(
        "fuse2fs",
        "mv $(command -v fuse2fs) /away",
        "mv /away /usr/bin/fuse2fs",
        "ext3 images (env.img) do not mount",
    ),
    fault(
        "fuse-overlayfs",
        "mv /usr/bin/fuse-overlayfs /away",
        "mv /away /usr/bin/fuse-overlayfs",
        "nothing can be written",
    ),
    fault(
        "squashfuse",
        "mkdir /away; mv /usr/bin/squashfuse* /away",
        "mv /away/* /usr/bin; rmdir /away",
        ".sif and .sqf do not mount",
    ),
    fault("newuidmap", "chmod u-s /usr/bin/newuidmap", "chmod u+s /usr/bin/newuidmap", "chmod u+s /usr/bin/newuidmap"),
    fault("newuidmap", "mv /usr/bin/newgidmap /away", "mv /away /usr/bin/newgidmap", "newgidmap is not installed"),
    fault(
        "engine",
        "mv /usr/bin/apptainer /away",
        "mv /away /usr/bin/apptainer",
        "no 'apptainer' or 'singularity' in PATH",
    ),
    fault(
        "engine-config",
        "sed -i.bak 's/^enable overlay = yes/enable overlay = no/' /etc/apptainer/apptainer.conf",
        "mv /etc/apptainer/apptainer.conf.bak /etc/apptainer/apptainer.conf",
        "'enable overlay = no': no image can be stacked",
    ),
    fault("e2fsprogs", "mv $(command -v e2fsck) /away", "mv /away /usr/sbin/e2fsck", "missing: e2fsck"),
    fault("tmpdir", "chmod 755 /tmp", "chmod 1777 /tmp", "/tmp: "),
    fault(
        "configuration",
        "cp -a /etc/condatainer/config.toml /away; echo 'bsae = \"/x\"' >> /etc/condatainer/config.toml",
        "mv /away /etc/condatainer/config.toml",
        "unknown field `bsae`",
    ),
    fault(
        "configuration",
        "chmod g+w /etc/condatainer/config.toml",
        "chmod g-w /etc/condatainer/config.toml",
        "must belong to root",
    ),
];

fn faults_of_the_plugin(world: &World, release: Release) -> Result<()> {
    let plugstack = "/etc/slurm/plugstack.conf";
    let fails = |desk: &Desk, text: &str| {
        let node = desk.as_root("cd /; condatainer doctor --node")?;
        ensure!(node.code == 1 && node.stdout.starts_with("plugin: "), "{node:?}");
        came_out(&doctor(desk, &["--json"])?, "plugin", "failed", text)
    };
    world.with_cluster(release, &Setup::default(), |desk| {
        desk.as_root(&format!("cp {plugstack} /plugstack; sed -i 's/^required/optional/' {plugstack}"))?.success()?;
        came_out(&doctor(desk, &["--json"])?.success()?, "plugin", "warning", "write 'required'")?;
        desk.as_root(&format!("sed 's|.*|include /etc/slurm/p.d/*|' /plugstack > {plugstack}"))?.success()?;
        fails(desk, "not in /etc/slurm/plugstack.conf")?;
        doctor(desk, &["--skip", "plugin"])?.success()?;
        desk.as_root("mkdir /etc/slurm/p.d; cp /plugstack /etc/slurm/p.d/condatainer")?.success()?;
        came_out(&doctor(desk, &["--json"])?.success()?, "plugin", "ok", "loaded from")?;
        desk.as_root(&format!("cp /plugstack {plugstack}; mv /usr/local/lib/slurm/spank_condatainer.so /away"))?
            .success()?;
        fails(desk, "cannot be read: No such file or directory")?;
        desk.as_root("cp /usr/bin/true /usr/local/lib/slurm/spank_condatainer.so")?.success()?;
        fails(desk, "srun does not load it")?;
        desk.as_root("mv /away /usr/local/lib/slurm/spank_condatainer.so")?.success()?;
        desk.as_root(&format!("sed -i 's|config=[^ ]*|config=/etc/other.toml|' {plugstack}; {{ head -n1 {CONFIG}; echo x; }} > /etc/other.toml"))?.success()?;
        fails(desk, "all of Slurm's containers are refused: /etc/other.toml: line 2")?;
        desk.as_root(&format!("sed -i 's|condatainer=[^ ]*|condatainer=/no/such|' {plugstack}"))?.success()?;
        fails(desk, "/no/such: cannot be run")?;
        desk.as_root(&format!("rm {plugstack}"))?.success()?;
        fails(desk, "there is no plugstack.conf")
    })
}

/// The program that we ship for Slurm's own health check.
const HEALTH_CHECK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/health-check.in"));

fn a_sick_node_is_drained(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        let program = "/usr/local/share/condatainer/health-check";
        // It leaves a mark when it finds the node well.
        let counted = HEALTH_CHECK.replace("@PREFIX@", "/usr/local").replace("exit 0", "{ echo >> /run/ran; exit 0; }");
        desk.cluster.write_file("root", program, counted, 0o755)?;
        let lines = format!("HealthCheckProgram={program}\nHealthCheckInterval=2\n");
        desk.as_root(&format!("printf '{lines}' >> /etc/slurm/slurm.conf"))?.success()?;
        desk.cluster.reconfigure()?;
        desk.wait_until("[ $(wc -l < /run/ran) -ge 2 ]")?;
        desk.nodes_are_well()?;
        desk.as_root("chmod 600 /dev/fuse")?.success()?;
        desk.wait_until(
            "sinfo -h -N -n n1 -o '%T %E' | grep -q '^drain.* condatainer: dev-fuse: /dev/fuse has mode 0600'",
        )
    })
}

/// The release that has no Apptainer.
fn no_engine_at_all(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup { stand_in: false, ..Setup::default() }, |desk| {
        let output = doctor(desk, &["--json"])?.ends_with(1)?;
        ensure!(failed(&report(&output)?) == ["engine"], "{output:?}");
        came_out(&output, "squashfuse", "warning", "0.1.104")?;
        came_out(&output, "slurm", "ok", "22.05.8")?;
        came_out(&output, "plugin", "ok", "loaded")
    })
}

fn usage(desk: &Desk) -> Result<()> {
    for arguments in [&["--no-such"][..], &["--skip", "no-such"], &["--node", "--start"]] {
        doctor(desk, arguments)?.ends_with(2)?;
    }
    Ok(())
}

/// One line a check, the same number as in JSON; colours on a terminal only; the last line is the sum.
fn what_is_printed(desk: &Desk) -> Result<()> {
    let value = report(&doctor(desk, &["--json"])?)?;
    let ids = value["checks"].as_array().context("no checks")?.iter().filter(|check| check["id"] != "start").count();
    let plain = doctor(desk, &[])?.stdout;
    ensure!(plain.lines().filter(|line| line.starts_with("  ")).count() == ids, "{plain}");
    ensure!(!plain.contains('\u{1b}'), "{plain:?}");
    let last = plain.lines().last().unwrap_or_default();
    ensure!(last.contains(" ok, ") && last.contains(" warning"), "{last}");
    let typed = |command: cluster::Command| command.terminal().env("TERM", "xterm").run(&["condatainer", "doctor"]);
    ensure!(typed(desk.command())?.stdout.contains("\u{1b}["), "no colours on a terminal");
    ensure!(!typed(desk.command().env("NO_COLOR", "1"))?.stdout.contains("\u{1b}["), "NO_COLOR");
    Ok(())
}
