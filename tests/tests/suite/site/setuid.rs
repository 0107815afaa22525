//! An Apptainer that has a setuid starter: told to make a user namespace, it does what an unprivileged one does, but takes no
//! configuration from users, so that what was deleted in an image that is only read is refused with what helps.

use anyhow::{Result, ensure};
use cluster::Release;
use serde_json::Value;

use crate::site::every_engine::{self, LEAVE_A_WRITER};
use crate::slurm::ends::{is_gone, two_writers};
use crate::support::{Expect, Setup, WHERE, World, tests};

tests! {
    SetuidApptainer, OwnCluster: [
        every_mode_works_in_a_step_and_by_hand, tasks_share_one_container, a_command_ends_as_without_a_container,
        writers_and_readers_exclude_each_other, what_is_deleted_is_read_only_with_a_layer_that_is_written,
        images_of_root_turn_fakeroot_on, a_script_in_the_container_starts_steps, nothing_is_left_behind,
        the_starter_alone_makes_the_difference, behind_a_wrapper_nothing_is_shared, doctor_says_what_it_means,
    ];
}

fn every_mode_works_in_a_step_and_by_hand(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::setuid_apptainer(), |desk| {
        desk.image("env.img")?;
        desk.squashfs("tool.sqf", "")?;
        desk.srun_in("tool.sqf,env.img:rw", &format!("echo kept > /file; id -u; {WHERE}"))?
            .says("1001\ninside env tool")?;
        let read = desk.exec(&["-o", "tool.sqf", "-o", "env.img"], "cat /file; touch /x")?.ends_with(1)?;
        ensure!(read.stdout == "kept\n", "{}", read.stdout);
        read.complains("Read-only file system")?;
        let write = "cat /file; echo lost > /file; rm -r /etc/apt; ls -d /etc/apt || cat /file";
        desk.srun_in("env.img:tmp", write)?.says("kept\nlost")?;
        desk.exec(&["-o", "env.img:tmp"], write)?.says("kept\nlost")?;
        let (job, text) = desk.batch(&["--condatainer-overlay=env.img:rw"], "#!/bin/sh\ncat /file; rm /file\n")?;
        ensure!(job.code == 0 && text == "kept\n", "{job:?} {text}");
        desk.script("mkdir -p d/upper d/work")?.success()?;
        desk.srun_in("./d:rw", "echo kept > /file")?.success()?;
        desk.exec(&["-o", "./d:tmp"], "cat /file; rm -r /etc/apt /file; ls /etc/apt")?.ends_with(2)?;
        desk.exec(&["-o", "./d:rw"], "cat /file")?.says("kept")?;
        desk.is_clean("env.img")
    })
}

/// In a user namespace of the user's, with the same privileges that Apptainer itself gives there.
fn tasks_share_one_container(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::setuid_apptainer(), |desk| {
        desk.image("env.img")?;
        let namespaces = "readlink /proc/self/ns/mnt /proc/self/ns/user";
        let own = desk.script(namespaces)?.stdout;
        for mode in ["ro", "rw", "tmp"] {
            let options = ["-n3", &format!("--condatainer-overlay=env.img:{mode}"), "sh", "-c", namespaces];
            let output = desk.srun(&options)?.without_a_word()?.success()?;
            let mut lines: Vec<&str> = output.stdout.lines().collect();
            lines.sort_unstable();
            lines.dedup();
            let shared = matches!(lines[..], [mnt, user] if !own.contains(mnt) && !own.contains(user));
            ensure!(shared, "{mode}: {}", output.stdout);
        }
        let what = "grep -E '^(Umask|Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' /proc/self/status; cat /proc/self/uid_map";
        let ours = desk.srun_in("env.img", what)?.success()?.stdout;
        let image = format!("{}:ro", desk.path("env.img"));
        let by_hand =
            ["apptainer", "-q", "exec", "--userns", "--overlay", &image, "/srv/base/base.sqf", "sh", "-c", what];
        let theirs = desk.srun(&by_hand)?.success()?.stdout;
        ensure!(ours == theirs && ours.contains("NoNewPrivs:\t1"), "ours:\n{ours}\nApptainer's:\n{theirs}");
        Ok(())
    })
}

fn a_command_ends_as_without_a_container(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::setuid_apptainer(), |desk| {
        every_engine::a_command_ends_as_without_a_container(desk)?;
        for code in [0, 7, 255] {
            desk.exec(&["-o", "env.img"], &format!("exit {code}"))?.ends_with(code)?;
        }
        Ok(())
    })
}

fn writers_and_readers_exclude_each_other(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::setuid_apptainer(), |desk| {
        every_engine::writers_and_readers_exclude_each_other(desk, || {
            // By FUSE, as without the setuid starter.
            for daemon in ["fuse2fs", "fuse-overlayfs", "squashfuse_ll"] {
                desk.run(&["pgrep", "-u", "alice", "-x", "-c", daemon])?.says("1")?;
            }
            // Also one that is started by hand, setuid.
            desk.run(&["apptainer", "exec", "--overlay", "env.img", "/srv/base/base.sqf", "true"])?.ends_with(255)?;
            Ok(())
        })?;
        desk.is_clean("env.img")
    })
}

const REPLACE: &str = "rm /etc/debian_version; rm -r /etc/apt; mkdir /etc/apt; touch /etc/apt/new";
const LOOK: &str = "ls /etc/debian_version; ls /etc/apt";

/// By our writer, and by an Apptainer that is started by hand, setuid.
fn what_is_deleted_is_read_only_with_a_layer_that_is_written(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::setuid_apptainer(), |desk| {
        desk.image("ours.img")?;
        desk.srun_in("ours.img:rw", REPLACE)?.success()?;
        desk.image("theirs.img")?;
        let by_hand = ["apptainer", "-q", "exec", "--overlay", "theirs.img", "/srv/base/base.sqf", "sh", "-c", REPLACE];
        desk.run(&by_hand)?.success()?;
        for name in ["ours.img", "theirs.img"] {
            let text = format!("{}: a setuid Apptainer may show again what is deleted in it", desk.path(name));
            desk.refused(desk.srun_in(name, "echo RAN")?, &text)?.ends_with(125)?.complains("use :tmp or :rw")?;
            desk.refused(desk.exec(&["-o", name], "echo RAN")?, &text)?.ends_with(125)?;
            for mode in ["tmp", "rw"] {
                let seen = desk.srun_in(&format!("{name}:{mode}"), LOOK)?.complains("No such file or directory")?;
                seen.says("new")?;
            }
            desk.is_clean(name)?;
        }
        desk.image("clean.img")?;
        desk.srun_in("ours.img,clean.img:rw", LOOK)?.says("new")?;
        desk.script("mkdir -p d/upper d/work")?.success()?;
        desk.refused(desk.exec(&["-o", "./d"], "echo RAN")?, "/d: a setuid Apptainer may show again")?;
        let on_a_directory = ["-b", "/srv/base/base", "-o", "./d:tmp"];
        desk.refused(desk.exec(&on_a_directory, "echo RAN")?, "stacks directories on a base directory by the kernel")
            .map(drop)
    })
}

/// With subordinate ids, and without.
fn images_of_root_turn_fakeroot_on(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::setuid_apptainer(), |desk| {
        desk.root_image("env.img")?;
        let text = "id -u; echo kept > /file; chown 42:42 /file; stat -c %u /file";
        desk.srun_in("env.img:rw", text)?.says("0\n42")?.complains("fakeroot turned on")?;
        desk.exec(&["-o", "env.img"], "id -u; cat /file; stat -c %u /file")?.says("0\nkept\n42")?;
        desk.exec(&["-o", "env.img:tmp"], "id -u; rm /file; cat /file || echo gone")?.says("0\ngone")?;
        desk.is_clean("env.img")?;
        let bob = desk.of("bob")?;
        bob.root_image("env.img")?;
        bob.srun_in("env.img:rw", "id -u; echo kept > /file; cat /file")?.says("0\nkept")?;
        bob.exec(&["-o", "env.img"], "id -u; cat /file")?.says("0\nkept")?;
        bob.is_clean("env.img")
    })
}

fn a_script_in_the_container_starts_steps(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::setuid_apptainer(), |desk| {
        desk.image("env.img")?;
        let script = "#!/bin/bash\n#SBATCH -n2 --condatainer-overlay=env.img\n\
            command -v srun; srun sh -c 'ls /opt/layers'; echo piped | srun -n1 cat; srun -n1 sh -c 'exit 5'; echo $?\n";
        let (_, text) = desk.batch(&[], script)?;
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("srun: error")).collect();
        ensure!(lines == ["/.condatainer.d/bin/srun", "env", "env", "piped", "5"], "{text}");
        is_gone(desk)
    })
}

fn nothing_is_left_behind(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::setuid_apptainer(), |desk| {
        for typed in ["touch stop", "scancel JOB", "scancel --full --signal=KILL JOB"] {
            desk.image("env.img")?;
            let id = two_writers(desk)?;
            desk.script(&typed.replace("JOB", &id.to_string()))?.success()?;
            desk.job_ends(id)?;
            is_gone(desk)?;
            desk.script("rm -f started.* stop env.img")?.success()?;
        }
        desk.image("env.img")?;
        desk.exec(&["-o", "env.img:rw"], LEAVE_A_WRITER)?.says("started")?;
        is_gone(desk)
    })
}

const STARTER: &str = "/usr/lib/*/apptainer/bin/starter-suid";

/// Apptainer goes by the file alone; `-c` is forbidden as long as it is there, and allowed when it is gone.
fn the_starter_alone_makes_the_difference(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::setuid_apptainer(), |desk| {
        desk.image("env.img")?;
        desk.srun_in("env.img:rw", REPLACE)?.success()?;
        let conf = "/etc/apptainer/apptainer.conf";
        let no_setuid = format!("sed -i 's/^allow setuid = yes/allow setuid = no/' {conf}");
        for change in [&format!("chmod u-s {STARTER}"), &no_setuid] {
            desk.as_root(change)?.success()?;
            desk.refused(desk.srun_in("env.img", "echo RAN")?, "a setuid Apptainer may show again")?;
            desk.srun(&["-n2", "--condatainer-overlay=env.img:tmp", "sh", "-c", LOOK])?.says("new\nnew")?;
        }
        desk.as_root(&format!("rm {STARTER}"))?.success()?;
        desk.srun_in("env.img", LOOK)?.says("new").map(drop)
    })
}

/// Where Apptainer's place cannot be told from the program's, it is not told to make a user namespace.
fn behind_a_wrapper_nothing_is_shared(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::setuid_apptainer(), |desk| {
        desk.as_root(
            "printf '#!/bin/sh\\nexec /usr/bin/apptainer \"$@\"\\n' > /usr/local/bin/apptainer; chmod 755 /usr/local/bin/apptainer",
        )?;
        desk.image("env.img")?;
        let named = "sed -i '1i apptainer = \"/usr/local/bin/apptainer\"' /etc/condatainer/config.toml";
        desk.as_root(named)?.success()?;
        let output = desk.srun(&["-n2", "--condatainer-overlay=env.img", "sh", "-c", WHERE])?;
        let output = output.says("inside env\ninside env")?;
        output.complains("each task starts a container of its own: the container has no user namespace of its own")?;
        desk.exec(&["-o", "env.img:rw"], "echo kept > /file; cat /file")?.says("kept")?;
        desk.is_clean("env.img")
    })
}

fn doctor_says_what_it_means(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::setuid_apptainer(), |desk| {
        let check = |id: &str| -> Result<(String, String)> {
            let output = desk.run(&["condatainer", "doctor", "--start", "--json"])?;
            let report: Value = serde_json::from_str(&output.stdout)?;
            let found = report["checks"].as_array().into_iter().flatten().find(|check| check["id"] == id).cloned();
            let text = |key: &str| found.as_ref().and_then(|check| check[key].as_str()).unwrap_or_default().to_owned();
            Ok((text("status"), text("found")))
        };
        let (status, found) = check("engine")?;
        ensure!(status == "warning" && found.contains("setuid") && found.contains(":tmp and :rw work"), "{found}");
        ensure!(check("start")?.0 == "ok" && check("engine-config")?.0 == "ok", "{:?}", check("start")?);
        let conf = "/etc/apptainer/apptainer.conf";
        desk.as_root(&format!("sed -i 's/^max loop devices = .*/max loop devices = 0/' {conf}"))?.success()?;
        ensure!(check("engine-config")?.0 == "ok" && check("start")?.0 == "ok", "{:?}", check("engine-config")?);
        desk.as_root(&format!("sed -i 's/^allow user ns = yes/allow user ns = no/' {conf}"))?.success()?;
        ensure!(check("engine-config")?.0 == "failed" && check("start")?.0 == "failed", "{:?}", check("start")?);
        desk.image("env.img")?;
        let failed = desk.exec(&["-o", "env.img"], "echo RAN")?.ends_with(125)?;
        failed.complains("User namespace required but not allowed by configuration")?;
        desk.as_root(&format!("sed -i 's/^allow user ns = no/allow user ns = yes/' {conf}; rm {STARTER}"))?
            .success()?;
        ensure!(check("engine")?.0 == "ok", "{:?}", check("engine")?);
        Ok(())
    })
}
