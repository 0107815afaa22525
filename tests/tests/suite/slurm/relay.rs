//! Slurm's commands in a container whose image has none of them: they run outside of it, as if it were not there.

use anyhow::{Result, ensure};
use cluster::Release;

use crate::slurm::ends::is_gone;
use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Apptainer, Desk: [
        a_script_in_the_container_starts_steps, a_script_that_writes_is_told_to_leave_the_image_to_its_steps,
        commands_end_with_the_job, the_step_of_a_killed_srun_ends, a_background_step_leaves_the_terminal_alone, signals_and_exit_codes_are_the_commands, an_image_without_anything_has_them,
        a_terminal_is_handed_through, a_cleared_environment_starts_no_bare_step, a_script_of_roots_calls_as_the_user, other_users_are_not_answered, what_cannot_run_is_said,
    ];
    Apptainer, OwnCluster: [mpirun_reaches_other_nodes];
}

/// A batch script in a container, two processors.
fn script_in(desk: &Desk, options: &str, text: &str) -> Result<String> {
    desk.image("env.img")?;
    let script = format!("#!/bin/bash\n#SBATCH -n2 --condatainer-overlay=env.img {options}\n{text}\n");
    Ok(desk.batch(&[], &script)?.1)
}

fn a_script_in_the_container_starts_steps(desk: &Desk) -> Result<()> {
    desk.run(&["mkdir", "sub"])?.success()?;
    let text = r#"
export MINE="a b" PATH=/extra:$PATH
unset LANG
cd sub; umask 027; ulimit -S -s 4096; ulimit -S -n 500
echo srun=$(command -v srun) level=$IN_CONDATAINER
srun -l sh -c 'echo $MINE, $PWD, $(umask) $(ulimit -S -s) $(ulimit -S -n) level=$IN_CONDATAINER, relay=$CONDATAINER_RELAY.'
echo through a pipe | srun -n1 cat | tr a-z A-Z
srun -n1 --condatainer-off sh -c 'echo outside: level=$IN_CONDATAINER, $PATH' > ../off
srun -n1 sh -c 'echo to standard error >&2' 2> ../err
squeue -h -o %A.%u
id=$(sbatch --parsable -n1 -o ../inner.out --wrap 'env; echo inner=$IN_CONDATAINER')
echo id=$id"#;
    let said = script_in(desk, "", text)?;
    let line = |text: &str| said.lines().any(|line| line == text);
    ensure!(line("srun=/.condatainer.d/bin/srun level=1") && line("THROUGH A PIPE"), "{said}");
    let of_task = |task: u32| format!("{task}: a b, {}/sub, 0027 4096 500 level=1, relay=.", desk.dir);
    ensure!((0..2).all(|task| said.lines().any(|line| line.starts_with(&of_task(task)))), "{said}");
    let off = desk.run(&["cat", "off"])?.stdout;
    ensure!(off.starts_with("outside: level=, /extra:/") && !off.contains(".condatainer.d"), "{off}");
    ensure!(desk.written("err")? == "to standard error\n", "{said}");
    let inner = said.lines().find_map(|line| line.strip_prefix("id=")).and_then(|id| id.parse().ok());
    let inner: u32 = inner.ok_or_else(|| anyhow::anyhow!("no job was submitted: {said}"))?;
    ensure!(said.lines().any(|line| line.ends_with(".alice")), "{said}");
    desk.job_ends(inner)?;
    // Jobs that are submitted in a job start afresh, and with nothing of the container.
    let env = desk.run(&["cat", "inner.out"])?.success()?.stdout;
    ensure!(env.ends_with("inner=\n") && env.contains("MINE=a b\n"), "{env}");
    let strange = ["APPTAINER_NAME=", "SINGULARITY_", "CONDATAINER_RELAY=", ".condatainer.d", "/.singularity.d/"];
    ensure!(!strange.iter().any(|text| env.contains(text)), "{env}");
    is_gone(desk)
}

fn a_script_that_writes_is_told_to_leave_the_image_to_its_steps(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let script = "#!/bin/sh\n#SBATCH --condatainer-overlay=env.img:rw\necho 1 > /mine\nsrun echo RAN\nsrun --condatainer-off cat /etc/hostname && echo outside\n";
    let (_, said) = desk.batch(&[], script)?;
    let refused = "this job's own batch script holds the image for writing: submit it with --condatainer-scope=steps";
    ensure!(said.contains(refused) && !said.contains("RAN") && said.ends_with("outside\n"), "{said}");
    is_gone(desk)?;
    // The directory that shows the commands is nothing that the image remembers.
    desk.srun(&["--condatainer-overlay=env.img", "--condatainer-off", "true"])?;
    let kept = desk.run(&["condatainer", "overlay", "diff", "-b", "/srv/base/base.sqf", "env.img"])?.success()?.stdout;
    ensure!(kept.contains("/mine") && !kept.contains("condatainer"), "{kept}");
    Ok(())
}

fn commands_end_with_the_job(desk: &Desk) -> Result<()> {
    for (end, signal) in [("scancel JOB", ""), ("scancel --full --signal=KILL JOB", ""), ("touch stop", "&")] {
        desk.image("env.img")?;
        let script = format!(
            "#!/bin/bash\n#SBATCH -n2 --condatainer-overlay=env.img\nsrun -n1 --comment=mark={0} sh -c 'touch started; sleep 1000' {signal}\nwhile [ ! -e stop ]; do sleep 0.1; done\n",
            desk.dir
        );
        let id = desk.submit(&[], &script)?;
        desk.wait_until("[ -e started ]")?;
        desk.script(&end.replace("JOB", &id.to_string()))?.success()?;
        desk.job_ends(id)?;
        desk.wait_until(&format!("! pgrep -f 'mark={}'", desk.dir.replacen('/', "[/]", 1)))?;
        is_gone(desk)?;
        desk.script("rm -f started stop env.img")?.success()?;
    }
    desk.nodes_are_well()
}

/// srun has a child that cancels its step then.
fn the_step_of_a_killed_srun_ends(desk: &Desk) -> Result<()> {
    let text = r#"
srun -n1 sh -c 'touch started; exec sleep 1000' & while [ ! -e started ]; do sleep 0.1; done
kill -KILL $!; wait $!; echo killed: $?
while squeue -h -s -j $SLURM_JOB_ID -o %i | grep -F .0; do sleep 0.1; done; echo gone"#;
    let said = script_in(desk, "", text)?;
    ensure!(said.contains("killed: 137\n") && said.ends_with("gone\n"), "{said}");
    is_gone(desk)
}

/// What is typed is for the foreground.
fn a_background_step_leaves_the_terminal_alone(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let start = "srun --overlap --condatainer-off -n1 sh -c 'cat > got; touch over' &\n";
    let lines = "until [ -e over ]; do sleep 0.1; done; echo hello $((6*7))\necho and $((6*8))\nexit 5\n";
    let typed = desk.command().terminal().stdin(format!("{start}{lines}"));
    let output =
        typed.run(&["srun", "--pty", "--condatainer-overlay=env.img", "bash", "--norc", "-i"])?.ends_with(5)?;
    ensure!(output.stdout.contains("hello 42") && output.stdout.contains("and 48"), "{}", output.stdout);
    desk.run(&["cat", "got"])?.says("")?;
    is_gone(desk)
}

fn signals_and_exit_codes_are_the_commands(desk: &Desk) -> Result<()> {
    let text = r#"
srun -n1 sh -c 'exit 7'; echo exit: $?
srun -Q -n1 sh -c 'kill -USR1 $$'; echo killed: $?
srun -Q -n1 sh -c 'trap "echo got USR2; exit 3" USR2; touch ready; while :; do sleep 0.1; done' &
while [ ! -e ready ]; do sleep 0.1; done
kill -USR2 $!; wait $!; echo passed on: $?
(trap '' HUP; exec squeue -i 1 > listed) &
while [ ! -s listed ]; do sleep 0.1; done
kill -HUP $!; sleep 0.2; kill -TERM $!; wait $!; echo ignored, then ended: $?
srun -Q -n1 sh -c 'touch again; exec sleep 100' &
while [ ! -e again ]; do sleep 0.1; done
while kill -INT $!; do sleep 0.3; done; wait $!; echo interrupted: $?
srun -n1 sh -c 'echo no output' >&-; echo closed: $?"#;
    let said = script_in(desk, "", text)?;
    for line in [
        "exit: 7",
        "killed: 138",
        "got USR2",
        "passed on: 3",
        "ignored, then ended: 143",
        "interrupted: 130",
        "closed: 0",
    ] {
        ensure!(said.lines().any(|found| found == line), "{line}: {said}");
    }
    is_gone(desk)
}

/// No shell, no libc; and every command of the list is there.
fn an_image_without_anything_has_them(desk: &Desk) -> Result<()> {
    desk.run(&["mkdir", "-p", "bare/proc", "bare/dev", "bare/tmp", "bare/home", "bare/sys", "bare/etc"])?.success()?;
    let step = ["srun", "--pty", "--condatainer-base=bare", "--overlap"];
    let command = ["srun", "-n1", "--overlap", "--condatainer-off", "echo", "from outside"];
    let output = desk.command().terminal().run(&[&step[..], &command].concat())?.success()?;
    ensure!(output.stdout.contains("from outside"), "{}", output.stdout);
    // Other steps keep their mounts and variables as they are.
    let asked = "echo ${CONDATAINER_RELAY-none}; ls -d /.condatainer.d || command -v srun";
    let plain = desk.srun(&["--condatainer-base=/srv/base/base", "sh", "-c", asked])?;
    ensure!(plain.code != 0 && plain.stdout == "none\n", "{plain:?}");
    Ok(())
}

fn a_terminal_is_handed_through(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let typed = desk.command().terminal().stdin("tty > /dev/null && echo terminal $((6*7))\nexit 6\n");
    let pty = ["srun", "--overlap", "--pty"];
    let output = typed.run(&[&pty[..], &["--condatainer-overlay=env.img"], &pty, &["sh"]].concat())?.ends_with(6)?;
    ensure!(output.stdout.contains("terminal 42"), "{}", output.stdout);
    is_gone(desk)
}

/// A script that has told nothing has not told srun to leave the container; `--condatainer-off` does, and nothing else.
fn a_cleared_environment_starts_no_bare_step(desk: &Desk) -> Result<()> {
    let text = r#"
where='[ -e /etc/condatainer-base ] && echo inside || echo host'
keep="PATH=$PATH CONDATAINER_RELAY=$CONDATAINER_RELAY SLURM_JOB_ID=$SLURM_JOB_ID"
echo cleared: $(env -i $keep srun -n1 sh -c "$where")
echo unset: $(unset SLURM_CONDATAINER; srun -n1 sh -c "$where")
echo changed: $(SLURM_CONDATAINER= srun -n1 sh -c "$where" 2> changed || echo refused)
echo off: $(env -i $keep srun -n1 --condatainer-off sh -c "$where")
id=$(env -i $keep sbatch --parsable -n1 -o inner.out --wrap "$where")
echo id=$id"#;
    let said = script_in(desk, "", text)?;
    for line in ["cleared: inside", "unset: inside", "changed: refused", "off: host"] {
        ensure!(said.lines().any(|found| found == line), "{line}: {said}");
    }
    let inner = said.lines().find_map(|line| line.strip_prefix("id=")).and_then(|id| id.parse().ok());
    desk.job_ends(inner.ok_or_else(|| anyhow::anyhow!("no job was submitted: {said}"))?)?;
    ensure!(desk.written("inner.out")? == "host\n", "{}", desk.written("inner.out")?);
    is_gone(desk)
}

fn a_script_of_roots_calls_as_the_user(desk: &Desk) -> Result<()> {
    desk.image_with("env.img", "0:0", "true")?;
    let text =
        "#!/bin/sh\n#SBATCH --condatainer-overlay=env.img\nid -u; srun -n1 --condatainer-off id -un; srun -n1 id -u\n";
    let (_, said) = desk.batch(&[], text)?;
    let said: Vec<&str> = said.lines().filter(|line| !line.starts_with("condatainer: ")).collect();
    ensure!(said == ["0", "alice", "0"], "{said:?}");
    is_gone(desk)
}

fn other_users_are_not_answered(desk: &Desk) -> Result<()> {
    let text = "echo $CONDATAINER_RELAY > address.new; mv address.new address; while [ ! -e stop ]; do sleep 0.1; done; srun -n1 echo still there";
    desk.image("env.img")?;
    let id = desk.submit(&[], &format!("#!/bin/sh\n#SBATCH --condatainer-overlay=env.img\n{text}\n"))?;
    desk.wait_until("[ -e address ]")?;
    let address = desk.run(&["cat", "address"])?.stdout;
    let call = format!(
        "use Socket; socket(my $s, PF_UNIX, SOCK_STREAM, 0); connect($s, pack_sockaddr_un(\"\\0{}\")) or die $!; $SIG{{PIPE}} = 'IGNORE'; syswrite($s, \"R\"); print defined(sysread($s, my $x, 2)) && length $x ? \"answered $x\" : \"nothing\";",
        address.trim()
    );
    let bob = desk.of("bob")?;
    bob.run(&["perl", "-e", &call])?.success()?.says("nothing")?;
    // Of the user's own, but outside of the container.
    let own = desk.run(&["perl", "-e", &call])?.success()?.stdout;
    ensure!(own == "nothing", "{own}");
    desk.script("touch stop")?.success()?;
    desk.job_ends(id)?;
    ensure!(desk.output_of(id)? == "still there\n", "{}", desk.output_of(id)?);
    is_gone(desk)
}

/// It has srun start its daemons there, in a container of the step.
fn mpirun_reaches_other_nodes(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup { nodes: 2, modules: true, ..Setup::default() }, |desk| {
        let script = "#!/bin/sh\n#SBATCH -N2 -n2 --condatainer-overlay=/srv/modules/openmpi.sqf\nmpirun -n 2 --map-by node sh -c 'cat /etc/condatainer-base && hostname'\n";
        let (_, said) = desk.batch(&[], script)?;
        let mut lines: Vec<&str> = said.lines().collect();
        lines.sort_unstable();
        ensure!(lines.len() == 4 && lines.ends_with(&["n1", "n2"]) && lines[0] == lines[1], "{said}");
        desk.nodes_are_well()
    })
}

fn what_cannot_run_is_said(desk: &Desk) -> Result<()> {
    let text = r#"
cd /.condatainer.d && srun -n1 --condatainer-off sh -c 'echo in $PWD'
env -u CONDATAINER_RELAY squeue; echo without: $?
CONDATAINER_RELAY=nobody squeue; echo nobody: $?
ln -s /.condatainer.d/bin/srun /tmp/not-slurm.$SLURM_JOB_ID; /tmp/not-slurm.$SLURM_JOB_ID; echo unknown: $?; rm /tmp/not-slurm.$SLURM_JOB_ID"#;
    let said = script_in(desk, "", text)?;
    for line in [
        format!("condatainer: srun: /.condatainer.d is not outside of the container: it runs in {}", desk.dir),
        format!("in {}", desk.dir),
        "condatainer: squeue: it runs outside of this container, and CONDATAINER_RELAY, which leads there, is not set"
            .into(),
        "without: 125".into(),
        "condatainer: squeue: it runs outside of this container, which is kept by nobody any more".into(),
        "nobody: 125".into(),
        "unknown: 125".into(),
    ] {
        ensure!(said.lines().any(|found| found == line), "{line}: {said}");
    }
    ensure!(said.contains("it is not among the commands that run outside of a container"), "{said}");
    is_gone(desk)
}
