//! How steps end, in every way that can be made here, while their tasks write, and starts that are interrupted: nothing is left of
//! the container, and its image is whole and free.

use anyhow::{Context, Result, ensure};
use cluster::{Proctrack, Release};

use crate::support::{Desk, Expect, Setup, World, tests, times};

tests! {
    Apptainer, Desk: [
        what_tasks_leave_behind_is_ended, the_image_is_free_when_the_step_is_over, nothing_is_left_after_any_end,
        a_requeued_job_finds_its_image, a_time_limit_leaves_nothing, jobs_race_for_an_image,
        a_start_can_be_interrupted_at_its_last_moment, a_start_can_be_interrupted_at_any_moment,
    ];
    MemoryCgroups, OwnCluster: [a_task_that_the_oom_killer_ends];
    Apptainer, OwnCluster: [a_step_outlives_slurmd_and_ends_without_slurmstepd];
}

/// How often each end of a step is tried.
fn rounds() -> u32 {
    times(1, 100)
}

/// What a task leaves running has no file system any more when the step is over.
fn what_tasks_leave_behind_is_ended(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let task =
        "setsid sleep 76543 > /dev/null 2>&1 & setsid sh -c 'trap \"\" TERM; sleep 65432' > /dev/null 2>&1 & sleep 0.2";
    desk.srun_in("env.img:rw", task)?.success()?;
    is_gone(desk)?;
    desk.wait_until("! pgrep -f '[s]leep 76543|[s]leep 65432'")
}

fn the_image_is_free_when_the_step_is_over(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let step = "srun --condatainer-overlay=env.img:rw sh -c 'seq 100000 > /data'; condatainer overlay info env.img";
    let (_, text) = desk.batch(&[], &format!("#!/bin/sh\n{step}\n{step}\n"))?;
    let clean = text.lines().filter(|line| line.starts_with("state") && line.ends_with("clean")).count();
    ensure!(clean == 2 && text.matches("locked by   nobody").count() == 2, "{text}");
    Ok(())
}

/// Writes without an end, until it is told to stop, or to fail. It has started once something is written, and takes a breath after every ten
/// files: the ends are the test's subject, not how much is written.
const WRITER: &str = r#"
number=0
echo $number > /data.$SLURM_PROCID.1
touch started.$SLURM_PROCID
while [ ! -e stop ]; do
    number=$((number + 1))
    echo $number > /data.$SLURM_PROCID.$((number % 50))
    if [ -e fail ] && [ $SLURM_PROCID = 1 ]; then exit 3; fi
    [ $((number % 10)) != 0 ] || sleep 0.2
done
"#;

/// How a step can end: what the user types, or what happens.
const ENDS: [(&str, &str); 6] = [
    ("normal", "touch stop"),
    ("a failing task", "touch fail"),
    ("scancel", "scancel JOB"),
    ("scancel of the step", "scancel JOB.0"),
    ("scancel by SIGKILL", "scancel --full --signal=KILL JOB"),
    ("srun killed", "pkill -KILL -f 'srun.*[m]ark=HERE'"),
];

/// Starts two tasks that write, and returns the job once they do.
pub(crate) fn two_writers(desk: &Desk) -> Result<u32> {
    desk.write("writer.sh", WRITER)?;
    let mark = format!("--comment=mark={}", desk.dir);
    let script =
        format!("#!/bin/sh\nsrun -n2 {mark} --kill-on-bad-exit --condatainer-overlay=env.img:rw sh writer.sh\n");
    let id = desk.submit(&["-n2"], &script)?;
    desk.wait_until("[ -e started.0 ] && [ -e started.1 ]")?;
    Ok(id)
}

/// No process of the container is left, and no file beside the image, which is whole and free.
pub(crate) fn is_gone(desk: &Desk) -> Result<()> {
    // The keeper tidies the image once its note is gone. Where slurmstepd was killed, nobody has waited for it.
    let no_process = format!("! pgrep -f '{}/[e]nv.img'", desk.dir);
    let free = "condatainer overlay info env.img | grep -q '^locked by *nobody'";
    desk.wait_until(&format!("{no_process} && [ ! -e .env.img.holder ] && {free}"))?;
    desk.is_clean("env.img")?;
    let files = desk.files()?;
    ensure!(!files.iter().any(|name| name.starts_with('.')), "{files:?}");
    let info = desk.run(&["condatainer", "overlay", "info", "env.img"])?.success()?.stdout;
    ensure!(info.contains("locked by   nobody") && info.contains("clean"), "{info}");
    Ok(())
}

fn nothing_is_left_after_any_end(desk: &Desk) -> Result<()> {
    for round in 0..rounds() {
        for (end, typed) in ENDS {
            let what = || format!("round {round}, {end}");
            desk.image("env.img")?;
            let id = two_writers(desk)?;
            let typed = typed.replace("JOB", &id.to_string()).replace("HERE", &desk.dir);
            desk.script(&format!("sleep 0.{}; {typed}", round % 10))?.success().with_context(what)?;
            desk.job_ends(id).with_context(what)?;
            is_gone(desk).with_context(what)?;
            desk.script("rm -f started.* stop fail env.img")?.success()?;
        }
    }
    desk.nodes_are_well()
}

fn a_requeued_job_finds_its_image(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let task = "echo $SLURM_RESTART_COUNT; touch /run.$SLURM_RESTART_COUNT; if [ -z \"$SLURM_RESTART_COUNT\" ]; then touch started; sleep 1000; fi; ls /run.*";
    let id = desk.submit(&["--requeue", "--condatainer-overlay=env.img:rw"], &format!("#!/bin/sh\n{task}\n"))?;
    desk.wait_until("[ -e started ]")?;
    desk.run(&["scontrol", "requeue", &id.to_string()])?.success()?;
    // It would wait for two minutes before it runs once more. In the same second the node would still refuse it.
    desk.wait_until(&format!("scontrol show job {id} | grep -q 'JobState=PENDING Reason=BeginTime'"))?;
    desk.as_root(&format!("sleep 2; scontrol update JobId={id} StartTime=now"))?.success()?;
    desk.job_ends(id)?;
    is_gone(desk)?;
    let job = desk.job_ends(id)?;
    ensure!(desk.output_of(id)?.contains("/run.1"), "{job:?} {}", desk.output_of(id)?);
    Ok(())
}

fn a_time_limit_leaves_nothing(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let id = two_writers(desk)?;
    // Slurm refuses a time that has passed when the request arrives.
    desk.as_root(&format!("scontrol update JobId={id} EndTime=now+10"))?.success()?;
    // slurmctld looks at limits every half minute.
    let job = desk.job_ends(id)?;
    ensure!(job.state == "TIMEOUT", "{job:?}");
    is_gone(desk)
}

/// It takes nothing of the container along: its machinery is in none of the step's cgroups.
fn a_task_that_the_oom_killer_ends(world: &World, release: Release) -> Result<()> {
    let slurm_conf = "TaskPlugin=task/cgroup\nSelectTypeParameters=CR_Core_Memory\n";
    let setup = Setup { proctrack: Proctrack::CgroupV1, slurm_conf, ..Setup::default() };
    world.with_cluster(release, &setup, |desk| {
        for round in 0..rounds() {
            desk.image("env.img")?;
            let task = "if [ $SLURM_PROCID = 1 ]; then while [ ! -e started ]; do sleep 0.1; done; exec python3 -c 'bytearray(400 << 20)'; fi;
                for number in $(seq 1000); do echo $number > /data.$((number % 50)); : > started; done; sync; echo done > /last; sleep 0.5";
            let step = ["-n2", "--mem=200M", "--kill-on-bad-exit=0", "--condatainer-overlay=env.img:rw", "sh", "-c", task];
            let output = desk.srun(&step)?;
            // Where the task's end overtakes the kernel's event, slurmstepd knows the signal only, and srun says "Killed".
            let is_killed = ["Out Of Memory", "Killed"].iter().any(|end| output.stderr.contains(&format!("task 1: {end}")));
            ensure!(is_killed && output.code != 0, "round {round}: {output:?}");
            is_gone(desk).with_context(|| format!("round {round}"))?;
            desk.srun(&["--mem=200M", "--condatainer-overlay=env.img", "cat", "/last"])?.says("done")?;
            desk.script("rm -f started env.img")?.success()?;
        }
        desk.nodes_are_well()
    })
}

/// slurmd can be restarted meanwhile; where slurmstepd itself is killed, nobody ends its tasks but the keeper.
fn a_step_outlives_slurmd_and_ends_without_slurmstepd(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        for round in 0..rounds() {
            desk.image("env.img")?;
            let id = two_writers(desk)?;
            desk.as_root("pkill -KILL -x slurmd; sleep 0.2; slurmd")?.success()?;
            desk.script("sleep 0.5; touch stop")?.success()?;
            desk.job_ends(id)?;
            is_gone(desk).with_context(|| format!("round {round}, slurmd restarted"))?;
            desk.script("rm -f started.* stop env.img")?.success()?;

            desk.image("env.img")?;
            let id = two_writers(desk)?;
            desk.as_root(&format!("pkill -KILL -f '[s]lurmstepd: .{id}.0'"))?.success()?;
            is_gone(desk).with_context(|| format!("round {round}, slurmstepd killed"))?;
            let left = desk.script("ls -A /tmp /dev/shm | grep -v :")?.stdout;
            ensure!(left.trim().is_empty(), "{left}");
            desk.script(&format!("scancel {id}; pkill -f '[w]riter.sh'; rm -f started.* stop env.img"))?;
            desk.job_ends(id)?;
        }
        Ok(())
    })
}

/// One at a time: nobody's line is lost, and whoever is refused is told by whom.
fn jobs_race_for_an_image(desk: &Desk) -> Result<()> {
    let jobs = times(12, 40) as usize;
    desk.image("env.img")?;
    let job = "srun -Q -O --condatainer-overlay=env.img:rw sh -c \"echo $number >> /log; sleep 0.2\" 2> err.$number; echo $? > code.$number";
    desk.script(&format!("for number in $(seq {jobs}); do ({job}) & done; wait"))?.success()?;
    let codes = desk.script("cat code.*")?.stdout;
    let (won, refused) =
        (codes.lines().filter(|code| *code == "0").count(), codes.lines().filter(|code| *code == "125").count());
    let files_with = |pattern: &str| desk.script(&format!("grep -lE '{pattern}' err.* | wc -l"));
    // A winner whose note is late has no other name than its process.
    let job = "in use for writing by user alice, job [0-9]*[.]0, process [0-9]* on n1";
    let told = files_with(&format!("{job}|in use for writing by your process [0-9]+ "))?.stdout;
    let named = files_with(job)?.stdout;
    let logged = desk.srun_in("env.img", "sort -u /log | wc -l")?.success()?.stdout;
    let (told, named, logged) = (told.trim(), named.trim(), logged.trim());
    let report = || format!("{won} won, {refused} refused, {told} told, {named} by name, {logged} logged");
    ensure!(won >= 1 && won + refused == jobs, "{}", report());
    ensure!(told == refused.to_string() && logged == won.to_string(), "{}", report());
    ensure!(refused == 0 || named != "0", "{}", report());
    is_gone(desk)
}

/// The first process of the container waits for its word, and Ctrl-C ends it, while `condatainer` looks at the layers once more.
fn a_start_can_be_interrupted_at_its_last_moment(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let text = r"setsid env --default-signal=INT condatainer exec -w -o env.img touch ran & p=$!
        until pgrep -P $p -x 'apptainer|starter' > /dev/null; do :; done; kill -STOP $p
        until first=$(pgrep -g $p -f '^/proc/self/fd/') && grep -qE '^(0|45|47) ' /proc/$first/syscall; do sleep 0.1; done
        kill -INT $first; until ! kill -0 $first; do sleep 0.1; done 2> /dev/null
        kill -CONT $p; wait $p; echo $?; condatainer overlay info env.img | grep '^locked by'; [ ! -e ran ]";
    let output = desk.script(text)?.success()?;
    ensure!(output.stdout == "130\nlocked by   nobody\n" && !output.stderr.contains("ended before"), "{output:?}");
    is_gone(desk)
}

/// Ctrl-C reaches all processes of a terminal's foreground.
fn a_start_can_be_interrupted_at_any_moment(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let moments = times(12, 200);
    for moment in (0..moments).map(|number| 0.72 * f64::from(number) / f64::from(moments)) {
        let text = format!(
            "setsid env --default-signal=INT condatainer exec -w -o env.img sh -c 'sleep 0.1; exit 7' & p=$!
            sleep {moment}; kill -INT -- -$p; wait $p; echo $?; condatainer overlay info env.img | grep '^locked by'"
        );
        let output = desk.script(&text)?;
        let (code, lock) = output.stdout.split_once('\n').with_context(|| format!("{output:?}"))?;
        ensure!(["130", "7"].contains(&code) && lock == "locked by   nobody\n", "after {moment} s: {output:?}");
        is_gone(desk).with_context(|| format!("after {moment} s: {output:?}"))?;
    }
    Ok(())
}
