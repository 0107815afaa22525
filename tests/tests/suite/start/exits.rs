//! How tasks end and what they read and write: through the container as without it.

use anyhow::{Context, Result, ensure};
use cluster::{Proctrack, Release};

use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Slurm, Desk: [
        exit_codes_come_through, a_command_that_is_not_there_is_127, a_command_that_cannot_run_is_126,
        a_container_that_cannot_start_is_125, a_task_dies_by_its_own_signal, scancel_ends_the_task,
        a_signal_reaches_the_batch_scripts_trap, a_signal_to_a_step_leaves_its_files_alone, term_ends_every_process_of_a_job, standard_input_and_output_are_binary_safe,
        standard_error_is_separate, a_terminal_is_passed_on, batch_exit_codes_come_through, tasks_keep_slurms_environment,
        arguments_arrive_unchanged,
    ];
    Apptainer, Desk: [a_step_saves_its_work_on_term];
    Slurm, OwnCluster: [a_signal_reaches_the_task_once_where_slurm_tracks_by_cgroup];
}

fn exit_codes_come_through(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    for code in [0, 7, 255] {
        desk.srun_in("env.img", &format!("exit {code}"))?.ends_with(code)?;
    }
    desk.nodes_are_well()
}

fn a_command_that_is_not_there_is_127(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    for name in ["no-such-command", "/no/such/command"] {
        let output = desk.srun(&["--condatainer-overlay=env.img", name])?.ends_with(127)?;
        output.complains(&format!("{name}: no such command in the container"))?;
    }
    Ok(())
}

fn a_command_that_cannot_run_is_126(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.script("echo text > plain; printf '#!/no/such/interpreter\\n' > bad; chmod 755 bad")?.success()?;
    let plain = desk.srun(&["--condatainer-overlay=env.img", &desk.path("plain")])?.ends_with(126)?;
    plain.complains("plain: cannot be executed in the container: Permission denied")?;
    let bad = desk.srun(&["--condatainer-overlay=env.img", &desk.path("bad")])?.ends_with(126)?;
    bad.complains("its interpreter or loader is not in the container")?;
    Ok(())
}

fn a_container_that_cannot_start_is_125(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let output = desk.srun(&[
        "--condatainer-overlay=env.img:tmp",
        "--export=ALL,CONDATAINER_TMPDIR=/no/such/dir",
        "echo",
        "RAN",
    ])?;
    desk.refused(output, "/no/such/dir: cannot hold what :tmp layers write: no such directory")?
        .ends_with(125)
        .map(drop)
}

fn a_task_dies_by_its_own_signal(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let plain = desk.srun(&["sh", "-c", "kill -TERM $$"])?;
    let ours = desk.srun_in("env.img", "kill -TERM $$")?;
    ensure!(ours.code == plain.code, "{} instead of {}", ours.code, plain.code);
    ours.complains("task 0: Terminated")?;
    desk.srun_in("env.img", "kill -KILL $$")?.complains("task 0: Killed")?;
    Ok(())
}

fn scancel_ends_the_task(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let id = desk.submit(&["--condatainer-overlay=env.img:rw"], "#!/bin/sh\ntouch started\nsleep 98765\n")?;
    desk.wait_until("[ -e started ]")?;
    desk.run(&["scancel", &id.to_string()])?.success()?;
    let job = desk.job_ends(id)?;
    ensure!(job.state == "CANCELLED", "{job:?}");
    desk.wait_until("! pgrep -f '[s]leep 98765'")?;
    desk.wait_until("! pgrep -f 'scancel_ends_the_task/[e]nv.img'")?;
    desk.srun_in("env.img:rw", "echo free")?.says("free")?;
    desk.nodes_are_well()
}

fn a_signal_reaches_the_batch_scripts_trap(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let script = "#!/bin/bash\n#SBATCH --condatainer-overlay=env.img\ntrap 'echo trapped; exit 9' USR1\ntouch started\nwhile :; do sleep 0.1; done\n";
    let id = desk.submit(&[], script)?;
    desk.wait_until("[ -e started ]")?;
    desk.run(&["scancel", "--signal=USR1", "--batch", &id.to_string()])?.success()?;
    let job = desk.job_ends(id)?;
    ensure!(job.code == 9 && desk.output_of(id)? == "trapped\n", "{job:?} {}", desk.output_of(id)?);
    Ok(())
}

/// Runs a Python program as a step of a batch job, sends the step a signal once the program has made the file `started`, and returns
/// the job and what it wrote. Slurm sends the signal to every process of the step.
fn signalled(desk: &Desk, mode: &str, signal: &str, program: &str) -> Result<(u32, String)> {
    desk.image("env.img")?;
    desk.write("program.py", &format!("import os, signal, subprocess, sys, time\n{program}"))?;
    let options = format!("--condatainer-overlay=env.img:{mode} --condatainer-scope=steps");
    let id = desk.submit(&[], &format!("#!/bin/bash\n#SBATCH {options}\nsrun python3 program.py\n"))?;
    desk.wait_until("[ -e started ]")?;
    desk.run(&["scancel", &format!("--signal={signal}"), &format!("{id}.0")])?.success()?;
    desk.job_ends(id)?;
    Ok((id, desk.output_of(id)?))
}

const COUNTING: &str = r#"
hits = []
signal.signal(signal.SIGUSR1, lambda *_: hits.append(1))
open("started", "w")
while not hits:
    time.sleep(0.05)
time.sleep(0.5)
subprocess.run(["/bin/true"], check=True)
print("hits:", len(hits))
"#;

/// How often a task's handler saw a signal to its step, and how often Slurm has sent it: under load it sometimes sends it again.
/// Afterwards the task must still be able to use its files.
fn hits(desk: &Desk) -> Result<(u32, u32)> {
    let (id, text) = signalled(desk, "ro", "USR1", COUNTING)?;
    let count = |text: &str| text.trim_end().parse().ok();
    let hits = text.strip_prefix("hits: ").and_then(count).with_context(|| format!("the task said: {text}"))?;
    let logged =
        desk.as_root(&format!("grep -c 'Sent signal 10 to StepId={id}[.]0' /var/log/slurm/slurmd*.log"))?.stdout;
    Ok((hits, count(&logged).with_context(|| format!("the log says: {logged}"))?))
}

/// These clusters track steps by parenthood: Slurm signals every process of the step. The engine is none of them, so the command
/// sees the signal once, where with a plain `srun apptainer exec` Apptainer passes its own on as well.
fn a_signal_to_a_step_leaves_its_files_alone(desk: &Desk) -> Result<()> {
    let (hits, sent) = hits(desk)?;
    ensure!(hits == sent && sent >= 1, "the signal came {hits} times, and was sent {sent} times");
    Ok(())
}

/// By cgroup, as on most sites, Slurm signals the children of slurmstepd alone.
fn a_signal_reaches_the_task_once_where_slurm_tracks_by_cgroup(world: &World, release: Release) -> Result<()> {
    let setup = Setup { proctrack: Proctrack::CgroupV1, ..Setup::default() };
    world.with_cluster(release, &setup, |desk| {
        let (hits, sent) = hits(desk)?;
        ensure!(hits == sent && sent >= 1, "the signal came {hits} times, and was sent {sent} times");
        Ok(())
    })
}

const SAVING: &str = r#"
def save(*_):
    time.sleep(0.5)
    open("/saved", "w").write("work\n")
    subprocess.run(["/bin/cat", "/saved"], check=True)
    sys.exit()
signal.signal(signal.SIGTERM, save)
open("started", "w")
while True:
    time.sleep(0.05)
"#;

fn a_step_saves_its_work_on_term(desk: &Desk) -> Result<()> {
    let (_, text) = signalled(desk, "rw", "TERM", SAVING)?;
    ensure!(text.lines().any(|line| line == "work"), "{text}");
    desk.srun_in("env.img", "cat /saved")?.says("work")?;
    desk.is_clean("env.img")
}

fn term_ends_every_process_of_a_job(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let id = desk.submit(&["--condatainer-overlay=env.img:rw"], "#!/bin/sh\ntouch started\nsleep 98766\n")?;
    desk.wait_until("[ -e started ]")?;
    // What slurmctld sends when the time is up; the shortest time limit is a minute.
    desk.run(&["scancel", "--signal=TERM", "--full", &id.to_string()])?.success()?;
    desk.job_ends(id)?;
    desk.wait_until("! pgrep -f '[s]leep 98766'")?;
    desk.srun_in("env.img:rw", "echo free")?.says("free")?;
    Ok(())
}

fn standard_input_and_output_are_binary_safe(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.script("head -c 8M /dev/urandom > data")?.success()?;
    let text = "cmp data <(srun --condatainer-overlay=env.img cat < data) && srun --condatainer-overlay=env.img sha256sum < data | cut -c1-64; sha256sum data | cut -c1-64";
    let output = desk.script(text)?.success()?;
    let sums: Vec<_> = output.stdout.lines().collect();
    ensure!(sums.len() == 2 && sums[0] == sums[1], "{output:?}");
    Ok(())
}

fn standard_error_is_separate(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let output = desk.srun_in("env.img", "echo out; echo err >&2")?.says("out")?;
    // srun may have to wait for processors, and says so.
    let said = output.stderr.lines().filter(|line| !line.starts_with("srun: job "));
    ensure!(said.eq(["err"]), "{:?}", output.stderr);
    Ok(())
}

fn a_terminal_is_passed_on(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let terminal = desk.command().terminal();
    let output = terminal.run(&[
        "srun",
        "--pty",
        "--condatainer-overlay=env.img",
        "sh",
        "-c",
        "tty; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo yes; exit 5",
    ])?;
    ensure!(output.stdout.contains("/dev/pts/") && output.stdout.contains("yes"), "{output:?}");
    let typed = desk.command().terminal().stdin("echo typed $((6*7))\nexit 6\n");
    let output = typed.run(&["srun", "--pty", "--condatainer-overlay=env.img", "sh"])?.ends_with(6)?;
    ensure!(output.stdout.contains("typed 42"), "{output:?}");
    Ok(())
}

fn batch_exit_codes_come_through(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let (job, text) = desk.batch(&["--condatainer-overlay=env.img"], "#!/bin/sh\necho out; echo $1\nexit 9\n")?;
    ensure!(job.code == 9 && job.state == "FAILED" && text == "out\n\n", "{job:?} {text:?}");
    let (job, _) = desk.batch(&["--condatainer-overlay=env.img"], "#!/bin/sh\nkill -TERM $$\n")?;
    ensure!(job.signal == 15, "{job:?}");
    Ok(())
}

fn tasks_keep_slurms_environment(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let text = "echo $SLURM_PROCID/$SLURM_NTASKS $MINE $(ulimit -n)";
    let command = desk.command().env("MINE", "my own");
    let run = |options: &[&str]| command.run(&[&["srun", "-n2"], options, &["sh", "-c", text]].concat());
    let sorted = |text: String| {
        let mut lines: Vec<_> = text.lines().map(String::from).collect();
        lines.sort();
        lines
    };
    let (plain, ours) = (run(&[])?.success()?, run(&["--condatainer-overlay=env.img"])?.success()?);
    ensure!(sorted(plain.stdout.clone()) == sorted(ours.stdout.clone()), "{} instead of {}", ours.stdout, plain.stdout);
    Ok(())
}

fn arguments_arrive_unchanged(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let awkward = ["", "a b", "--condatainer-off", "$HOME", "'\"\\", "new\nline", "--", "-c", "ü"];
    let command = ["--condatainer-overlay=env.img", "printf", "<%s>"];
    let output = desk.srun(&[&command[..], &awkward[..]].concat())?.success()?;
    let expected: String = awkward.iter().map(|word| format!("<{word}>")).collect();
    ensure!(output.stdout == expected, "{:?}", output.stdout);
    Ok(())
}
