//! Where commands start and which directories of the host they see: working directories behind links, `$TMPDIR`, `$SCRATCH`.

use anyhow::{Result, ensure};
use cluster::Release;

use crate::support::{Desk, Expect, Setup, World, setup::CONFIG, tests};

tests! {
    Apptainer, Desk: [
        a_directory_behind_a_link, a_link_that_only_the_host_has, a_script_behind_a_link, a_directory_that_is_not_shown_is_refused,
        a_directory_that_is_gone_or_closed, a_task_elsewhere_is_refused, temporary_directories_are_shown, what_is_shown_is_not_shown_twice,
        a_temporary_directory_that_is_not_there, users_name_directories_too,
    ];
    Apptainer, OwnCluster: [a_home_behind_a_link, what_a_task_prolog_makes];
}

/// Which path the command has, where that leads, and what is there.
const HERE: &str = "pwd; pwd -P; echo $PWD; cat mark";

/// `/scratch/TEST` of alice's, on another file system as the container sees it: nothing shows it by itself. In it a mark.
fn scratch(desk: &Desk) -> Result<String> {
    let test = desk.dir.rsplit('/').next().unwrap_or_default();
    let dir = format!("/scratch/{test}");
    desk.as_root(&format!("mkdir -p {dir}/sub; echo there > {dir}/mark; chown -R alice {dir}"))?.success()?;
    Ok(dir)
}

fn a_directory_behind_a_link(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.root_image("root.img")?;
    let real = scratch(desk)?;
    let link = desk.path("proj");
    desk.run(&["ln", "-s", &real, &link])?.success()?;
    // From there `..` is the real one's.
    let images = |text: &str| text.replace("IMG", &desk.path("env.img")).replace("ROOT", &desk.path("root.img"));
    let there = |command: &str| desk.script(&images(&format!("cd proj && {command}")));
    let logical = format!("{link}\n{real}\n{link}\nthere");
    for start in [
        "condatainer exec -o IMG",
        "condatainer exec -w -o IMG",
        "condatainer -q e IMG --",
        "srun --condatainer-overlay=IMG",
        "srun --condatainer-overlay=IMG:rw",
    ] {
        there(&format!("{start} sh -c '{HERE}'"))?.says(&logical)?.without_a_word()?;
    }
    // Fakeroot shows no home, so the link is not there: the directory is.
    let physical = format!("{real}\n{real}\n{real}\nthere");
    there(&format!("condatainer -q exec -o ROOT sh -c '{HERE}'"))?.says(&physical)?;
    there(&format!("condatainer -q overlay with-root IMG -- sh -c '{HERE}'"))?.says(&physical)?;
    there(&format!("srun -n2 --condatainer-overlay=IMG sh -c '{HERE}' | sort | uniq -c | tr -s ' '"))?
        .holds(&format!("2 {real}\n"))?;
    desk.srun(&["--chdir=proj/sub", "--condatainer-overlay=env.img", "sh", "-c", "pwd -P"])?
        .says(&format!("{real}/sub"))?;
    desk.srun(&["--condatainer-workdir=/opt", "--condatainer-overlay=env.img", "sh", "-c", "pwd; echo $PWD"])?
        .says("/opt\n/opt")?;
    let script = "#!/bin/sh\n#SBATCH --condatainer-overlay=env.img\npwd -P; cat mark; srun sh -c 'pwd -P; cat mark'";
    let (_, text) = desk.batch(&["-D", &link], script)?;
    ensure!(text == format!("{real}\nthere\n{real}\nthere\n"), "{text}");
    let (_, text) = desk.batch(&["-D", &link, "--export=NONE"], script)?;
    ensure!(text == format!("{real}\nthere\n{real}\nthere\n"), "{text}");
    Ok(())
}

/// The link is in no directory that is shown.
fn a_link_that_only_the_host_has(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let real = scratch(desk)?;
    let link = format!("/data-of-{}", real.rsplit('/').next().unwrap_or_default());
    desk.as_root(&format!("ln -sfn {real} {link}"))?.success()?;
    let image = desk.path("env.img");
    let expected = format!("{real}\n{real}\n{real}\nthere");
    for start in [format!("condatainer exec -o {image}"), format!("srun --condatainer-overlay={image}")] {
        desk.script(&format!("cd {link} && {start} sh -c '{HERE}'"))?.says(&expected)?.without_a_word()?;
    }
    Ok(())
}

fn a_script_behind_a_link(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let real = scratch(desk)?;
    desk.run(&["ln", "-s", &real, "proj"])?.success()?;
    let script = "#!/bin/bash\ncat $(dirname $0)/mark; echo $0\n";
    desk.cluster.write_file("alice", &format!("{real}/job.sh"), script, 0o755)?;
    let expected = format!("there\n{real}/job.sh");
    desk.run(&["condatainer", "run", "-o", "env.img", "proj/job.sh"])?.says(&expected)?;
    let image = desk.path("env.img");
    desk.script(&format!("cd proj && condatainer run -o {image} job.sh"))?.says(&expected)?;
    desk.script(&format!("mkdir -p bin && ln -s ../proj/job.sh bin/ && cd bin && condatainer run -o {image} job.sh"))?
        .says(&expected)?;
    desk.srun(&["condatainer", "run", "-o", "env.img", "proj/job.sh"])?.says(&expected)?;
    Ok(())
}

/// Apptainer would go to the home directory.
fn a_directory_that_is_not_shown_is_refused(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let (real, image) = (scratch(desk)?, desk.path("env.img"));
    let words = format!("{real}: the working directory cannot be entered in the container: it is not there: show it");
    let with = |command: &str| desk.script(&format!("cd {real} && APPTAINER_NO_MOUNT=cwd {command}"));
    let exec = format!("condatainer exec -o {image}");
    with(&format!("{exec} echo RAN"))?.ends_with(125)?.complains(&words)?.without_stdout()?;
    let srun = with(&format!("srun --condatainer-overlay={image} echo RAN"))?;
    desk.refused(srun, &words)?;
    with(&format!("{exec} --bind {real} sh -c '{HERE}'"))?.says(&format!("{real}\n{real}\n{real}\nthere"))?;
    with(&format!("{exec} --pwd /opt pwd"))?.says("/opt")?;
    // The container's own stand for the host's, as always.
    desk.script(&format!("cd /var && {exec} pwd; cd /bin && {exec} sh -c pwd; cd / && {exec} pwd"))?
        .says("/var\n/bin\n/")?;
    Ok(())
}

fn a_directory_that_is_gone_or_closed(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let exec = format!("condatainer exec -o {} echo RAN", desk.path("env.img"));
    desk.script(&format!("mkdir gone; cd gone; rmdir ../gone; {exec}"))?
        .ends_with(125)?
        .complains("the working directory cannot be used: ")?
        .without_stdout()?;
    desk.script(&format!(
        "mkdir closed; cd closed; chmod 0 ../closed; {exec}; code=$?; chmod 755 ../closed; exit $code"
    ))?
    .ends_with(125)?
    .complains("/closed: the working directory cannot be shown in a container: Permission denied")?
    .without_stdout()?;
    let home = desk.dir.rsplit('/').next().unwrap_or_default();
    desk.as_root(&format!("mkdir -p /ext3/{home}; chmod 755 /ext3 /ext3/{home}"))?.success()?;
    desk.script(&format!("cd /ext3/{home} && {exec}"))?
        .ends_with(125)?
        .complains("layers have a directory of their own there")?
        .without_stdout()?;
    Ok(())
}

/// A container that stands shows what it shows.
fn a_task_elsewhere_is_refused(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let real = scratch(desk)?;
    let id = desk.submit(
        &["--condatainer-overlay=env.img"],
        "#!/bin/sh\ntouch started\nwhile [ ! -e stop ]; do sleep 0.1; done\n",
    )?;
    desk.wait_until("[ -e started ]")?;
    let join = format!("condatainer join {id} sh -c");
    desk.script(&format!("cd {real} && {join} 'echo RAN'"))?
        .ends_with(125)?
        .complains(&format!("{real}: the working directory cannot be entered in the container: it is not there"))?
        .without_stdout()?;
    desk.script(&format!("ln -s sub link; mkdir sub; cd link && {join} 'echo $PWD; pwd -P'"))?
        .says(&format!("{0}/link\n{0}/sub", desk.dir))?;
    desk.run(&["touch", "stop"])?.success()?;
    desk.job_ends(id)?;
    // Fakeroot shows the home directory as root's.
    desk.root_image("root.img")?;
    let id = desk.submit(
        &["--condatainer-overlay=root.img"],
        "#!/bin/sh\ntouch again\nwhile [ ! -e end ]; do sleep 0.1; done\n",
    )?;
    desk.wait_until("[ -e again ]")?;
    desk.script(&format!(
        "cd ~ && mkdir -p {0}/other && condatainer join {id} pwd; cd {0}/other; condatainer join {id} pwd",
        desk.dir
    ))?
    .says(&format!("/root\n{}/other", desk.dir))?;
    desk.run(&["touch", "end"])?.success()?;
    desk.job_ends(id).map(drop)
}

fn temporary_directories_are_shown(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let real = scratch(desk)?;
    let link = format!("/link-of-{}", real.rsplit('/').next().unwrap_or_default());
    desk.as_root(&format!(
        "mkdir {real}/tmp; chown alice {real}/tmp; ln -sfn {real} {link}; ln -sfn {real}/tmp {}/t",
        desk.dir
    ))?
    .success()?;
    let variables = [
        format!("TMPDIR={real}/tmp SCRATCH={real}"),
        format!("TMPDIR={link}/tmp SCRATCH={link}"),
        format!("TMPDIR={}/t SCRATCH={real}", desk.dir),
    ];
    for variables in variables {
        for start in
            ["condatainer exec -o env.img", "srun --condatainer-overlay=env.img", "condatainer -q exec -f -o env.img"]
        {
            let text = "f=$(mktemp) && echo ok > $f && cat $SCRATCH/mark && echo $TMPDIR $SCRATCH";
            let values = variables.replace("TMPDIR=", "").replace("SCRATCH=", "");
            desk.script(&format!("{variables} {start} sh -c '{text}'"))?
                .says(&format!("there\n{values}"))?
                .without_a_word()?;
        }
    }
    // What was written there is on the host.
    desk.script(&format!("cat {real}/tmp/tmp.* | sort -u"))?.says("ok")?;
    let script = format!(
        "#!/bin/sh\n#SBATCH --condatainer-overlay=env.img\nmktemp; export TMPDIR={real}/tmp/mine; mkdir $TMPDIR; srun mktemp"
    );
    let id = desk.command().env("TMPDIR", &format!("{real}/tmp"));
    desk.write("tmp.sh", &script)?;
    id.run(&["sbatch", "-Q", "--wait", "-o", "out", "tmp.sh"])?.success()?;
    let text = desk.written("out")?;
    let (first, second) = text.split_once('\n').unwrap_or_default();
    ensure!(
        first.starts_with(&format!("{real}/tmp/tmp.")) && second.starts_with(&format!("{real}/tmp/mine/tmp.")),
        "{text}"
    );
    Ok(())
}

fn what_is_shown_is_not_shown_twice(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let line = |variables: &str| {
        Ok::<_, anyhow::Error>(
            desk.script(&format!("{variables} condatainer exec --dry-run -o env.img true"))?.success()?.stdout,
        )
    };
    desk.run(&["mkdir", "-p", "/tmp/own", "t"])?.success()?;
    let plain = line("TMPDIR= SCRATCH=")?;
    for shown in [
        "TMPDIR=/tmp/own",
        "TMPDIR=/tmp",
        "TMPDIR=$PWD/t SCRATCH=$HOME",
        "TMPDIR=/ SCRATCH=/usr/share",
        "SCRATCH=/no/such",
    ] {
        ensure!(line(shown)? == plain, "{shown}: {}", line(shown)?);
    }
    let real = scratch(desk)?;
    let bound = line(&format!("TMPDIR={real}/sub SCRATCH={real}"))?;
    let mount = format!("--mount 'type=bind,source={real},destination={real}'");
    ensure!(
        bound.matches("--mount").count() == plain.matches("--mount").count() + 1
            && bound.replace("'", "").contains(&mount.replace('\'', "")),
        "{bound}"
    );
    Ok(())
}

fn a_temporary_directory_that_is_not_there(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.run(&["touch", "file"])?.success()?;
    let text = "echo ${TMPDIR-none}; mktemp";
    for value in ["/no/such".to_string(), desk.path("file")] {
        let words = format!("TMPDIR is left out: {value} is not in the container");
        let output = desk.script(&format!("TMPDIR={value} condatainer exec -o env.img sh -c '{text}'"))?.success()?;
        let output = output.complains(&words)?;
        ensure!(output.stdout.starts_with("none\n/tmp/tmp."), "{output:?}");
        ensure!(output.stderr.matches("TMPDIR is left out").count() == 1, "{}", output.stderr);
    }
    desk.script(&format!("TMPDIR=/no/such condatainer -q exec -o env.img sh -c '{text}'"))?
        .success()?
        .without_a_word()?;
    // Slurm makes it on the node, if it can, before the task starts.
    let new = format!("{}/new", scratch(desk)?);
    desk.script(&format!("TMPDIR={new} srun --condatainer-overlay=env.img mktemp"))?.without_a_word()?.holds(&new)?;
    // What was asked for is taken literally.
    desk.script("TMPDIR=/no/such condatainer exec --env TMPDIR=/mine -o env.img sh -c 'echo $TMPDIR'")?
        .says("/mine")?
        .without_a_word()?;
    Ok(())
}

fn users_name_directories_too(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let real = scratch(desk)?;
    let home = desk.path("config");
    desk.run(&["mkdir", "-p", "config/condatainer"])?.success()?;
    desk.write("config/condatainer/config.toml", "bind_dirs = [\"/scratch/$WHICH\"]\n")?;
    let which = real.rsplit('/').next().unwrap_or_default();
    let with = |text: &str| desk.command().env("XDG_CONFIG_HOME", &home).env("WHICH", which).script(text);
    with(&format!("condatainer exec -o env.img cat {real}/mark"))?.says("there")?;
    with("condatainer config")?.holds("bind_dirs")?;
    desk.script(&format!("CONDATAINER_BIND_DIRS={real} condatainer exec -o env.img cat {real}/mark"))?.says("there")?;
    Ok(())
}

/// `/home/alice` leads to `/net/alice`.
fn a_home_behind_a_link(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        desk.image("env.img")?;
        let test = desk.dir.rsplit('/').next().unwrap_or_default();
        desk.as_root(
            "cd /; mkdir /net && cp -a /home/alice /net/alice && { umount /home/alice; mv /home/alice /home/old-alice; } \
            2> /dev/null; ln -s /net/alice /home/alice && test -d /home/alice/",
        )?
        .success()?;
        let (logical, real) = (format!("/home/alice/{test}"), format!("/net/alice/{test}"));
        for start in ["condatainer exec -o env.img", "srun --condatainer-overlay=env.img"] {
            let text = "sh -c 'echo $PWD; touch written; echo $HOME'";
            desk.script(&format!("cd {logical} && {start} {text}"))?.says(&format!("{logical}\n/home/alice"))?.without_a_word()?;
            desk.script(&format!("cd -P {real} && ls written && rm written && {start} pwd"))?
                .holds(&format!("written\n{real}\n"))?;
        }
        Ok(())
    })
}

/// A step's container starts before its tasks' prolog does.
fn what_a_task_prolog_makes(world: &World, release: Release) -> Result<()> {
    let setup = Setup { slurm_conf: "TaskProlog=/etc/slurm/taskprolog\n", ..Setup::default() };
    world.with_cluster(release, &setup, |desk| {
        desk.image("env.img")?;
        let prolog = "#!/bin/sh\nmkdir -p /local/$SLURM_JOB_ID-$SLURM_PROCID\necho export TMPDIR=/local/$SLURM_JOB_ID-$SLURM_PROCID\n";
        desk.as_root(&format!(
            "mkdir -m 1777 /local; printf '%s' '{prolog}' > /etc/slurm/taskprolog; chmod 755 /etc/slurm/taskprolog"
        ))?
        .success()?;
        let srun = ["-n2", "--condatainer-overlay=env.img", "sh", "-c", "echo ${TMPDIR-none}; mktemp"];
        let output = desk.srun(&srun)?.success()?.complains("TMPDIR is left out: /local/")?;
        ensure!(output.stdout.matches("none\n").count() == 2 && output.stdout.matches("/tmp/tmp.").count() == 2, "{output:?}");
        ensure!(output.stderr.matches("TMPDIR is left out").count() == 1, "{}", output.stderr);
        desk.as_root(&format!("echo 'bind_dirs = [\"$TMPDIR\", \"/local\"]' >> {CONFIG}"))?.success()?;
        let output = desk.srun(&srun)?.success()?.without_a_word()?;
        ensure!(output.stdout.matches("-0/tmp.").count() == 1 && output.stdout.matches("-1/tmp.").count() == 1, "{output:?}");
        Ok(())
    })
}
