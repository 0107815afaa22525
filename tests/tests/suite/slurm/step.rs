//! The step container: one for all tasks of a step on a node, and what a task is in there.

use anyhow::{Context, Result, ensure};
use cluster::Release;

use crate::slurm::ends::{is_gone, two_writers};
use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Slurm, OwnCluster: [several_nodes_that_write_are_refused];
    Apptainer, Desk: [
        tasks_share_one_container, tasks_read_each_others_memory, many_tasks_write_to_one_image, a_task_is_what_apptainer_makes_it,
        the_environment_is_what_apptainer_makes_it, one_task_tells_for_all, a_step_is_shown_and_joined, root_joins_nobody_elses_container, steps_at_the_same_time,
        programs_of_a_multi_prog_step,
    ];
    Apptainer, OwnCluster: [an_mpi_program_is_one_program, a_node_that_lacks_something_is_said, components_of_a_heterogeneous_job_have_a_container_each];
}

const SLURMD_WITHOUT_USER_NAMESPACES: &str = "pkill -x slurmd; \
    while pgrep -x slurmd > /dev/null; do sleep 0.1; done; unshare --user --map-users=all --map-groups=all sh -c \
    'echo 0 > /proc/sys/user/max_user_namespaces && exec slurmd'";
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

/// OpenMPI's tasks find each other, and copy what they send from each other's memory as on the bare host. By hand they do not.
fn an_mpi_program_is_one_program(world: &World, release: Release) -> Result<()> {
    const PROGRAM: &str = include_str!("../../../bench/pingpong.c");
    const LAYER: &str = "/srv/modules/openmpi.sqf";
    // How long they take is nobody's question here, and a task that waits is to leave the processor to the other.
    const YIELD: (&str, &str) = ("OMPI_MCA_mpi_yield_when_idle", "1");
    world.with_cluster(release, &Setup { modules: true, ..Setup::default() }, |desk| {
        let overlay = format!("--condatainer-overlay={LAYER}");
        desk.write("pingpong.c", PROGRAM)?;
        desk.srun(&[&overlay, "mpicc", "-o", "pingpong", "pingpong.c"])?.success()?;
        let script =
            format!("#!/bin/sh\n#SBATCH -n2 {overlay}\nexport {}={}\nmpirun -n 2 ./pingpong 1\n", YIELD.0, YIELD.1);
        let (_, said) = desk.batch(&[], &script)?;
        ensure!(said.lines().count() == 5 && said.lines().last().is_some_and(|l| l.starts_with("4194304 ")), "{said}");
        if !desk.run(&["srun", "--mpi=list"])?.success()?.stdout.contains("pmix") {
            return desk.nodes_are_well();
        }
        let asked = ["srun", "-n2", "--mpi=pmix"];
        let run = |front: &[&str]| {
            let command = desk.command().env("OMPI_MCA_smsc_base_verbose", "10").env(YIELD.0, YIELD.1);
            command.run(&[&asked[..], front, &["./pingpong", "1"]].concat())?.success()
        };
        let differs = |output: &cluster::Output| output.stderr.contains("processes are in difference namespaces");
        let ours = run(&[&overlay])?;
        ensure!(ours.stdout.lines().count() == 5 && !differs(&ours), "{ours:?}");
        let by_hand = run(&["apptainer", "-q", "exec", "--overlay", LAYER, "/srv/base/base.sqf"])?;
        ensure!(differs(&by_hand), "OpenMPI does not tell any more when it cannot copy: {by_hand:?}");
        desk.nodes_are_well()
    })
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
    let what = "umask 027; grep -E '^(Umask|Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Sig(Pnd|Blk|Ign|Cgt)|Speculation)' /proc/self/status; cat /proc/self/limits; pwd";
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
            let own =
                name.starts_with("CONDATAINER_") || name == "IN_CONDATAINER" || name.starts_with("SLURM_CONDATAINER");
            !own && !["NCPUS", "NNODES", "NTASKS", "OMP_NUM_THREADS"].contains(&name.as_str())
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
    let shown: serde_json::Value = serde_json::from_str(&bob.run(&["condatainer", "ps", "--json"])?.success()?.stdout)?;
    let his = shown.as_array().into_iter().flatten().find(|kept| kept["first"] == first).context("not shown to bob")?;
    ensure!(his["processes"].as_array().is_some_and(Vec::is_empty), "{his}");
    bob.run(&["condatainer", "join", &step, "id"])?
        .ends_with(125)?
        .complains("no such job or step has a container of yours")?;
    let entered = bob.run(&["nsenter", &format!("--target={first}"), "--user", "--mount", "id"])?;
    ensure!(entered.code != 0 && entered.stdout.is_empty(), "{entered:?}");

    desk.script("touch stop")?.success()?;
    desk.job_ends(id)?;
    is_gone(desk)?;
    desk.srun_in("env.img", "cat /joined")?.says("x").map(drop)
}

/// To root a setuid program that another user has started looks like one of root's own. If it passed for the keeper of a container,
/// root would run that user's programs there.
fn root_joins_nobody_elses_container(desk: &Desk) -> Result<()> {
    // 272 is unshare(2), here with CLONE_NEWUSER and CLONE_NEWNS. The program waits until somebody reads what it complains of.
    let keep = "use Fcntl; $^F = 99; if (!fork) { syscall(272, 0x10020000) == 0 or die $!; exec {'/bin/sleep'} '/proc/self/fd/3', 600 }
        pipe(my $r, my $w); fcntl($w, F_SETFL, O_WRONLY | O_NONBLOCK); 1 while syswrite($w, 'x' x 4096); 1 while syswrite($w, 'x');
        fcntl($w, F_SETFL, O_WRONLY); open STDERR, '>&', $w; exec {'/usr/bin/su'} 'su', 'keep', '--part=step'";
    let bob = desk.of("bob")?;
    bob.write("keep", keep)?;
    let start = "SLURM_JOB_ID=4711 SLURM_STEP_ID=0 setsid perl keep < /dev/null > said 2>&1 & echo $!";
    let keeper = bob.script(start)?.success()?.stdout;
    bob.wait_until(&format!("pgrep -P {0} sleep && grep -q su /proc/{0}/comm", keeper.trim()))?;
    let joined = desk.as_root("condatainer join 4711 id; echo code $?; condatainer ps");
    desk.as_root(&format!("pkill -P {0} sleep; kill -9 {0}", keeper.trim()))?;
    let joined = joined?;
    ensure!(joined.stderr.contains("4711: no such job or step has a container of yours"), "{joined:?}");
    ensure!(joined.stdout.contains("code 125") && !joined.stdout.contains("4711"), "{joined:?}");
    Ok(())
}

/// Each has a container of its own, so that one of them can write.
fn steps_at_the_same_time(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    let options = "--overlap -n1 --condatainer-overlay=env.img";
    let ours = format!(
        "srun {options}:rw sh -c 'touch held; while [ -e held ]; do sleep 0.02; done' & while [ ! -e held ]; do sleep 0.02; done"
    );
    let script = format!(
        "#!/bin/sh\n{ours}\nsrun {options}:rw echo RAN\nsrun {options} echo RAN\nrm held\nwait\nsrun {options}:rw echo free\n"
    );
    let (job, text) = desk.batch(&["-n2"], &script)?;
    let refused = format!("in use for writing by user alice, job {}.0, process ", job.id);
    ensure!(text.matches(&refused).count() == 2 && !text.contains("RAN") && text.ends_with("free\n"), "{text}");
    is_gone(desk)
}

fn programs_of_a_multi_prog_step(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.write("by.sh", &format!("echo $1 > /by.$1; {NAMESPACES}"))?;
    desk.write("programs", "0 readlink /proc/self/ns/mnt\n1-2 sh by.sh %t\n")?;
    let output = desk.srun(&["-n3", "--multi-prog", "--condatainer-overlay=env.img:rw", "programs"])?.success()?;
    let mut containers: Vec<&str> = output.stdout.lines().filter(|line| line.starts_with("mnt:")).collect();
    ensure!(containers.len() == 3, "{}", output.stdout);
    containers.dedup();
    ensure!(containers.len() == 1, "{}", output.stdout);
    desk.srun_in("env.img", "ls /by.*")?.says("/by.1\n/by.2").map(drop)
}

fn components_of_a_heterogeneous_job_have_a_container_each(world: &World, release: Release) -> Result<()> {
    // Only the backfill scheduler starts such jobs, every half minute if nobody says otherwise.
    let slurm_conf = "SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1\n";
    world.with_cluster(release, &Setup { nodes: 2, slurm_conf, ..Setup::default() }, |desk| {
        desk.image("env.img")?;
        let step = |groups: &str, mode: &str, shell: &str| {
            let overlay = format!("--condatainer-overlay=env.img:{mode}");
            let groups = format!("--het-group={groups}");
            desk.run(&["salloc", "-Q", "-n1", ":", "-n2", "srun", "-l", &groups, &overlay, "sh", "-c", shell])
        };
        let read = step("0,1", "ro", "readlink /proc/self/ns/mnt")?.success()?.stdout;
        let of = |task: &str| read.lines().find_map(|line| line.strip_prefix(task)).map(String::from);
        ensure!(of("1:") == of("2:") && of("1:").is_some() && of("0:") != of("1:"), "{read}");
        let both = desk.refused(step("0,1", "rw", "echo RAN")?, "2 nodes cannot write to one image")?;
        ensure!(both.stderr.matches("cannot write").count() == 1, "{}", both.stderr);
        let lines = "#SBATCH -n2 -N1 --condatainer-overlay=env.img\n";
        let script = format!("#!/bin/bash\n{lines}#SBATCH hetjob\n{lines}srun --het-group=0,1 -l ls /opt/layers\n");
        let (_, said) = desk.batch(&[], &script)?;
        ensure!(said.lines().count() == 4 && said.lines().all(|line| line.ends_with(": env")), "{said}");
        step("1", "rw", "echo one > /by.$SLURM_PROCID")?.success()?;
        desk.nodes_are_well()
    })
}

fn a_node_that_lacks_something_is_said(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        desk.image("env.img")?;
        let no_fuse2fs = ("mv /usr/bin/fuse2fs /usr/bin/hidden", "fuse2fs", "mv /usr/bin/hidden /usr/bin/fuse2fs");
        let no_fuse = ("chmod 600 /dev/fuse", "/dev/fuse", "chmod 666 /dev/fuse");
        for (mounts, (fault, text, cure)) in [("engine", no_fuse2fs), ("engine", no_fuse), ("auto", no_fuse)] {
            desk.as_root(fault)?.success()?;
            let desk = desk.with_mounts(mounts);
            let output = desk.refused(desk.srun(&["-n2", "--condatainer-overlay=env.img", "echo", "RAN"])?, text)?;
            desk.as_root(cure)?.success()?;
            let output = output.ends_with(125)?;
            ensure!(output.stderr.matches("could not start the container").count() == 1, "{fault}: {}", output.stderr);
        }
        desk.srun_in("env.img", "echo fine")?.says("fine")?;
        // The switch belongs to a user namespace: of a node it is off if its slurmd has one.
        desk.as_root(SLURMD_WITHOUT_USER_NAMESPACES)?.success()?;
        let output = desk.srun(&["-n2", "--condatainer-overlay=env.img", "echo", "RAN"])?;
        let text = "user namespaces are switched off on this machine, and Apptainer needs them";
        let output = desk.refused(output, text)?.ends_with(125)?;
        ensure!(output.stderr.matches(text).count() == 1, "{}", output.stderr);
        Ok(())
    })
}
