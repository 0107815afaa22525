//! The step container: one for all tasks of a step on a node. What a task is in there, and what is left of it, however a step ends.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::Release;

use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Slurm, OwnCluster: [several_nodes_that_write_are_refused];
    Apptainer, Desk: [
        tasks_share_one_container, tasks_read_each_others_memory, many_tasks_write_to_one_image, a_task_is_what_apptainer_makes_it,
        the_environment_is_what_apptainer_makes_it, one_task_tells_for_all, what_tasks_leave_behind_is_ended,
        the_image_is_free_when_the_step_is_over, a_step_is_shown_and_joined, nothing_is_left_after_any_end, a_requeued_job_finds_its_image, jobs_race_for_an_image, a_time_limit_leaves_nothing,
    ];
    Apptainer, OwnCluster: [a_step_outlives_slurmd_and_ends_without_slurmstepd, a_node_that_lacks_something_is_said];
}

/// How often each end of a step is tried.
fn rounds() -> u32 {
    if std::env::var_os("CONDATAINER_SOAK").is_some() { 100 } else { 2 }
}

const NAMESPACES: &str = "readlink /proc/self/ns/mnt /proc/self/ns/user";

fn tasks_share_one_container(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let shell = format!("{NAMESPACES}; sleep 0.5; pgrep -c fuse2fs || true");
    for mode in ["ro", "rw", "tmp"] {
        let output =
            desk.srun(&["-n6", &format!("--condatainer-overlay=env.img:{mode}"), "sh", "-c", &shell])?.success()?;
        let mut lines: Vec<&str> = output.stdout.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        let different = lines.iter().filter(|line| line.contains('[')).count();
        ensure!(different == 2 && output.stdout.lines().count() >= 12, "{mode}: {}", output.stdout);
    }
    Ok(())
}

/// What MPI libraries copy large messages with (process_vm_readv(2)): in containers of their own tasks may not.
fn tasks_read_each_others_memory(desk: &Desk) -> Result<()> {
    let program = r#"
my ($own, $number) = ("secret of task $ENV{SLURM_PROCID}", 310);
open(my $out, ">", "task$ENV{SLURM_PROCID}.new"); print $out "$$ ", unpack("J", pack("p", $own)); close $out;
rename "task$ENV{SLURM_PROCID}.new", "task$ENV{SLURM_PROCID}";
my $other = "task" . (1 - $ENV{SLURM_PROCID});
select(undef, undef, undef, 0.02) until -e $other;
open(my $in, "<", $other); my ($pid, $address) = split / /, <$in>;
my $text = "x" x length $own;
my $here = pack("PJ", $text, length $text); my $there = pack("JJ", $address, length $text);
my $count = syscall($number, $pid + 0, $here, 1, $there, 1, 0);
print $count < 0 ? "refused: $!\n" : "$text\n";
open(my $done, ">", "done$ENV{SLURM_PROCID}"); select(undef, undef, undef, 0.02) until -e "done0" && -e "done1";
"#;
    desk.image("env.img")?;
    desk.write("read.pl", program)?;
    let output = desk.srun(&["-n2", "--condatainer-overlay=env.img", "perl", "read.pl"])?.success()?;
    let mut lines: Vec<&str> = output.stdout.lines().collect();
    lines.sort_unstable();
    ensure!(lines == ["secret of task 0", "secret of task 1"], "{lines:?}");
    Ok(())
}

fn many_tasks_write_to_one_image(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.srun(&["-n8", "--condatainer-overlay=env.img:rw", "sh", "-c", "seq 500 > /data$SLURM_PROCID"])?.success()?;
    desk.srun_in("env.img", "cat /data[0-7] | sort -n | uniq -c | awk '$1 != 8' | wc -l; ls /data* | wc -l")?
        .says("0\n8")?;
    desk.is_clean("env.img")
}

fn several_nodes_that_write_are_refused(world: &World, release: Release) -> Result<()> {
    let setup = Setup { nodes: 2, ..Setup::default() };
    world.with_cluster(release, &setup, |desk| {
        desk.image("env.img")?;
        let text = "env.img: 2 nodes cannot write to one image: run the step on a single one (-N1), or use :ro, or :tmp";
        desk.refused(desk.srun(&["-N2", "--condatainer-overlay=env.img:rw", "echo", "RAN"])?, text)?;
        let script = "#!/bin/sh\n#SBATCH -N2 --condatainer-overlay=env.img:rw --condatainer-scope=steps\nsrun echo RAN\nsrun -N1 -n1 echo one\n";
        let (_, output) = desk.batch(&[], script)?;
        ensure!(output.contains(text) && !output.contains("RAN") && output.ends_with("one\n"), "{output}");
        desk.nodes_are_well()
    })
}

/// Capabilities, no_new_privs, seccomp, groups, umask, signals, limits.
fn a_task_is_what_apptainer_makes_it(desk: &Desk) -> Result<()> {
    let what = "umask 027; grep -E '^(Umask|Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Sig|Speculation)' /proc/self/status; cat /proc/self/limits; pwd";
    for (owner, flag) in [("1001:1001", ""), ("0:0", "--fakeroot")] {
        desk.image_with("env.img", owner, "true")?;
        let ours = desk.srun_in("env.img", what)?.success()?.stdout;
        let image = format!("{}:ro", desk.path("env.img"));
        let mut words = vec!["apptainer", "-q", "exec", "--overlay", &image, "/srv/base/base.sqf", "sh", "-c", what];
        if !flag.is_empty() {
            words.insert(3, flag);
        }
        let theirs = desk.srun(&words)?.success()?.stdout;
        ensure!(ours == theirs && ours.contains("NoNewPrivs:\t1"), "{flag}: ours:\n{ours}\nApptainer's:\n{theirs}");
    }
    Ok(())
}

fn the_environment_is_what_apptainer_makes_it(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let ours = desk.srun(&["-n2", "--condatainer-overlay=env.img", "env"])?.success()?.stdout;
    let image = format!("{}:ro", desk.path("env.img"));
    let theirs = desk
        .srun(&["-n2", "apptainer", "-q", "exec", "--overlay", &image, "/srv/base/base.sqf", "env"])?
        .success()?
        .stdout;
    let names = |text: &str| {
        let mut names: Vec<String> = text.lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect();
        names.retain(|name| {
            !["IN_CONDATAINER", "NCPUS", "NNODES", "NTASKS", "OMP_NUM_THREADS", "SLURM_CONDATAINER"]
                .contains(&name.as_str())
        });
        names.sort_unstable();
        names
    };
    ensure!(names(&ours) == names(&theirs), "ours:\n{ours}\nApptainer's:\n{theirs}");
    let of_tasks = |text: &str| ["SLURM_PROCID=0\n", "SLURM_PROCID=1\n"].iter().all(|line| text.contains(line));
    ensure!(of_tasks(&ours), "{ours}");
    Ok(())
}

fn one_task_tells_for_all(desk: &Desk) -> Result<()> {
    desk.image_with("env.img", "0:0", "true")?;
    let output = desk.srun(&["-n3", "--condatainer-overlay=env.img:rw", "true"])?.success()?;
    ensure!(output.stderr.matches("fakeroot turned on").count() == 1, "{}", output.stderr);
    desk.write("none.sqf", "no image")?;
    let output = desk.srun(&[
        "-n3",
        "--condatainer-overlay=env.img:tmp",
        "--export=ALL,CONDATAINER_TMPDIR=/no/such/dir",
        "true",
    ])?;
    ensure!(output.code == 125 && output.stderr.matches("no such directory").count() == 1, "{output:?}");
    Ok(())
}

/// What a task leaves running has no file system any more when the step is over.
fn what_tasks_leave_behind_is_ended(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let task =
        "setsid sleep 76543 > /dev/null 2>&1 & setsid sh -c 'trap \"\" TERM; sleep 65432' > /dev/null 2>&1 & sleep 0.2";
    desk.srun_in("env.img:rw", task)?.success()?;
    is_gone(desk)?;
    ensure!(desk.script("pgrep -f '[s]leep 76543|[s]leep 65432'")?.code == 1, "a process is left");
    Ok(())
}

fn the_image_is_free_when_the_step_is_over(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let step = "srun --condatainer-overlay=env.img:rw sh -c 'seq 100000 > /data'; condatainer overlay info env.img";
    let (_, text) = desk.batch(&[], &format!("#!/bin/sh\n{step}\n{step}\n"))?;
    let clean = text.lines().filter(|line| line.starts_with("state") && line.ends_with("clean")).count();
    ensure!(clean == 2 && text.matches("locked by   nobody").count() == 2, "{text}");
    Ok(())
}

fn a_step_is_shown_and_joined(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let id = two_writers(desk)?;
    let step = format!("{id}.0");
    let shown = desk.run(&["condatainer", "ps"])?.success()?.stdout;
    let line = shown.lines().find(|line| line.starts_with(&step)).with_context(|| shown.clone())?;
    ensure!(line.contains("alice") && line.contains("/env.img:rw"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&desk.run(&["condatainer", "ps", "--json"])?.success()?.stdout)?;
    let ours =
        json.as_array().into_iter().flatten().find(|kept| kept["job"] == id.to_string().as_str()).context("none")?;
    let first = ours["first"].as_i64().context("no first process")?;
    ensure!(ours["step"] == "0" && ours["processes"].as_array().is_some_and(|tasks| tasks.len() >= 2), "{ours}");

    let what = "cat /data.0.1 > /dev/null && echo x > /joined && grep CapEff /proc/self/status; pwd";
    let joined = desk.run(&["condatainer", "join", &step, "sh", "-c", what])?.success()?.stdout;
    ensure!(joined == format!("CapEff:\t0000000000000000\n{}\n", desk.dir), "{joined}");
    desk.run(&["condatainer", "join", &id.to_string(), "sh", "-c", "exit 7"])?.ends_with(7)?;
    desk.run(&["condatainer", "join", &step, "no-such"])?
        .ends_with(127)?
        .complains("no such command in the container")?;
    desk.run(&["condatainer", "join", "4711"])?
        .ends_with(125)?
        .complains("4711: no such job or step has a container")?;

    let bob = desk.of("bob")?;
    bob.run(&["condatainer", "join", &step, "id"])?
        .ends_with(125)?
        .complains("no such job or step has a container of yours")?;
    let entered = bob.run(&["nsenter", &format!("--target={first}"), "--user", "--mount", "id"])?;
    ensure!(entered.code != 0 && entered.stdout.is_empty(), "{entered:?}");

    desk.script("touch stop")?.success()?;
    desk.cluster.wait_for_job(id, Duration::from_secs(60))?;
    is_gone(desk)?;
    desk.srun_in("env.img", "cat /joined")?.says("x").map(drop)
}

/// Writes without an end, until it is told to stop, or to fail.
const WRITER: &str = r#"
number=0
touch started.$SLURM_PROCID
while [ ! -e stop ]; do
    number=$((number + 1))
    echo $number > /data.$SLURM_PROCID.$((number % 50))
    if [ -e fail ] && [ $SLURM_PROCID = 1 ]; then exit 3; fi
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
fn two_writers(desk: &Desk) -> Result<u32> {
    desk.write("writer.sh", WRITER)?;
    let mark = format!("--comment=mark={}", desk.dir);
    let script =
        format!("#!/bin/sh\nsrun -n2 {mark} --kill-on-bad-exit --condatainer-overlay=env.img:rw sh writer.sh\n");
    let id = desk.submit(&["-n2"], &script)?;
    desk.wait_until("[ -e started.0 ] && [ -e started.1 ]")?;
    Ok(id)
}

/// No process of the container is left, and no file beside the image, which is whole and free.
fn is_gone(desk: &Desk) -> Result<()> {
    desk.wait_until(&format!("! pgrep -f '{}/[e]nv.img'", desk.dir))?;
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
            desk.cluster.wait_for_job(id, Duration::from_secs(60)).with_context(what)?;
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
    // It would wait for two minutes before it runs once more.
    desk.wait_until(&format!("scontrol show job {id} | grep -q 'JobState=PENDING Reason=BeginTime'"))?;
    desk.as_root(&format!("scontrol update JobId={id} StartTime=now"))?.success()?;
    desk.cluster.wait_for_job(id, Duration::from_secs(60))?;
    is_gone(desk)?;
    let job = desk.cluster.wait_for_job(id, Duration::from_secs(60))?;
    ensure!(desk.output_of(id)?.contains("/run.1"), "{job:?} {}", desk.output_of(id)?);
    Ok(())
}

/// slurmd can be restarted meanwhile; where slurmstepd itself is killed, nobody ends its tasks but the keeper.
fn a_step_outlives_slurmd_and_ends_without_slurmstepd(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        for round in 0..rounds() {
            desk.image("env.img")?;
            let id = two_writers(desk)?;
            desk.as_root("pkill -KILL -x slurmd; sleep 0.2; slurmd")?.success()?;
            desk.script("sleep 0.5; touch stop")?.success()?;
            desk.cluster.wait_for_job(id, Duration::from_secs(60))?;
            is_gone(desk).with_context(|| format!("round {round}, slurmd restarted"))?;
            desk.script("rm -f started.* stop env.img")?.success()?;

            desk.image("env.img")?;
            let id = two_writers(desk)?;
            desk.as_root(&format!("pkill -KILL -f '[s]lurmstepd: .{id}.0'"))?.success()?;
            is_gone(desk).with_context(|| format!("round {round}, slurmstepd killed"))?;
            let left = desk.script("ls -A /tmp /dev/shm | grep -v :")?.stdout;
            ensure!(left.trim().is_empty(), "{left}");
            desk.script(&format!("scancel {id}; pkill -f '[w]riter.sh'; rm -f started.* stop env.img"))?;
            desk.cluster.wait_for_job(id, Duration::from_secs(60))?;
        }
        Ok(())
    })
}

fn a_time_limit_leaves_nothing(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let id = two_writers(desk)?;
    desk.as_root(&format!("scontrol update JobId={id} EndTime=now"))?.success()?;
    // slurmctld looks at limits every half minute.
    let job = desk.cluster.wait_for_job(id, Duration::from_secs(90))?;
    ensure!(job.state == "TIMEOUT", "{job:?}");
    is_gone(desk)
}

/// One at a time: nobody's line is lost, and whoever is refused is told by whom.
fn jobs_race_for_an_image(desk: &Desk) -> Result<()> {
    const JOBS: usize = 20;
    desk.image("env.img")?;
    let job = "srun -Q -O --condatainer-overlay=env.img:rw sh -c \"echo $number >> /log; sleep 0.2\" 2> err.$number; echo $? > code.$number";
    desk.script(&format!("for number in $(seq {JOBS}); do ({job}) & done; wait"))?.success()?;
    let codes = desk.script("cat code.*")?.stdout;
    let (won, refused) =
        (codes.lines().filter(|code| *code == "0").count(), codes.lines().filter(|code| *code == "125").count());
    let told =
        desk.script("grep -l 'in use for writing by user alice, job [0-9]*[.]0, process [0-9]* on n1' err.* | wc -l")?;
    let logged = desk.srun_in("env.img", "sort -u /log | wc -l")?.success()?.stdout;
    let report = || format!("{won} won, {refused} refused, {} told, {} logged", told.stdout.trim(), logged.trim());
    ensure!(won >= 1 && won + refused == JOBS, "{}", report());
    ensure!(told.stdout.trim() == refused.to_string() && logged.trim() == won.to_string(), "{}", report());
    is_gone(desk)
}

fn a_node_that_lacks_something_is_said(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        desk.image("env.img")?;
        for (fault, text, cure) in [
            ("mv /usr/bin/fuse2fs /usr/bin/hidden", "fuse2fs", "mv /usr/bin/hidden /usr/bin/fuse2fs"),
            ("chmod 600 /dev/fuse", "/dev/fuse", "chmod 666 /dev/fuse"),
        ] {
            desk.as_root(fault)?.success()?;
            let output = desk.refused(desk.srun(&["-n2", "--condatainer-overlay=env.img", "echo", "RAN"])?, text)?;
            desk.as_root(cure)?.success()?;
            let output = output.ends_with(125)?;
            ensure!(output.stderr.matches("could not start the container").count() == 1, "{fault}: {}", output.stderr);
        }
        desk.srun_in("env.img", "echo fine")?.says("fine").map(drop)
    })
}
