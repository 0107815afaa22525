//! What administrators can get wrong, or change: each on a cluster of its own.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cluster::Release;

use crate::support::setup::{CONFIG, PLUGIN};
use crate::support::{Desk, Expect, Setup, WHERE, World, tests};

tests! {
    Slurm, OwnCluster: [
        required_refuses_where_the_plugin_is_missing, optional_where_the_plugin_is_missing, required_refuses_another_version,
        optional_with_another_version, a_missing_wrapper_is_said_and_nothing_runs_on_the_host, a_missing_apptainer_is_said,
        steps_without_our_options_are_untouched, the_sites_mistakes_stop_containers_alone, jobs_that_want_a_container_are_held, mistakes_on_the_node_are_one_tasks_matter,
    ];
    Slurm, Desk: [options_are_in_the_help];
}

const OVERLAY: &str = "--condatainer-overlay=a.sqf";

fn two_nodes(plugin: &'static str) -> Setup {
    Setup { nodes: 2, plugin: Some(plugin), ..Setup::default() }
}

/// Runs the probe on the second node, with our option.
fn on_second_node(desk: &Desk) -> Result<cluster::Output> {
    desk.srun(&["-w", "n2", OVERLAY, "sh", "-c", &format!("echo RAN; {WHERE}")])
}

/// The second node must still be of use to others once it is whole again; a drain would show here.
fn second_node_is_well(desk: &Desk) -> Result<()> {
    desk.cluster.wait_until_idle().context("the node did not come back")?;
    desk.nodes_are_well()
}

fn required_refuses_where_the_plugin_is_missing(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &two_nodes("required"), |desk| {
        desk.squashfs("a.sqf", "")?;
        on_second_node(desk)?.says("RAN\ninside a")?;
        desk.cluster.hide(2, "/usr/local/lib/slurm")?;
        refuses_on_second_node(desk)
    })
}

/// Nothing runs on the second node, neither with nor without our option, and the first is not affected. A batch job drains the
/// node, so that no other job is lost there. All of this is Slurm's own way with a plugin that is `required`.
fn refuses_on_second_node(desk: &Desk) -> Result<()> {
    for options in [vec![OVERLAY], vec!["--condatainer-off"], vec![]] {
        let output = desk.srun(&[&["-w", "n2"], &options[..], &["echo", "RAN"]].concat())?;
        ensure!(!output.stdout.contains("RAN"), "{options:?} ran: {output:?}");
        // Slurm 22.05 says that the launch failed and ends with 0.
        let code = i32::from(desk.release != Release::Bookworm);
        output.complains("task 0 launch failed")?.ends_with(code)?;
    }
    desk.nodes_are_well()?;
    desk.srun(&["-w", "n1", OVERLAY, "sh", "-c", WHERE])?.says("inside a")?;
    desk.submit(&["-w", "n2", OVERLAY], "#!/bin/sh\ntouch RAN\n")?;
    desk.wait_until(
        "sinfo --noheader --Node --nodes n2 --format='%T %E' | grep -q '^drain.* batch job complete failure'",
    )?;
    ensure!(!desk.files()?.contains(&"RAN".into()), "the batch script ran");
    Ok(())
}

fn optional_where_the_plugin_is_missing(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &two_nodes("optional"), |desk| {
        desk.squashfs("a.sqf", "")?;
        on_second_node(desk)?.says("RAN\ninside a")?;
        desk.cluster.hide(2, "/usr/local/lib/slurm")?;
        runs_uncontained(desk)
    })
}

/// What makes `optional` dangerous: the task runs, on the host. The documentation says so; this keeps it true.
fn runs_uncontained(desk: &Desk) -> Result<()> {
    on_second_node(desk)?.says("RAN\nhost")?;
    second_node_is_well(desk)
}

/// Puts a plugin in the place of ours on the second node that says it is of another Slurm.
fn install_another_version(desk: &Desk) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let source = scratch.path().join("other.c");
    let object = scratch.path().join("other.so");
    std::fs::write(&source, OTHER_VERSION)?;
    compile(&source, &object)?;
    desk.cluster.copy_in(&object, "root", "/usr/local/lib/other.so", 0o644)?;
    desk.cluster.node_exec(2, &["mount", "--bind", "/usr/local/lib/other.so", PLUGIN])?.success().map(drop)
}

const OTHER_VERSION: &str = "
const char plugin_name[] = \"condatainer\";
const char plugin_type[] = \"spank\";
const unsigned int plugin_version = 0x010203;
const unsigned int spank_plugin_version = 1;
int slurm_spank_init(void *spank, int count, char **argv) { return 0; }
";

/// A shared object of a C source.
pub(crate) fn compile(source: &Path, object: &Path) -> Result<()> {
    let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(object).arg(source).status();
    ensure!(status.context("cc cannot be started")?.success(), "cc failed");
    Ok(())
}

fn required_refuses_another_version(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &two_nodes("required"), |desk| {
        desk.squashfs("a.sqf", "")?;
        install_another_version(desk)?;
        refuses_on_second_node(desk)
    })
}

fn optional_with_another_version(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &two_nodes("optional"), |desk| {
        desk.squashfs("a.sqf", "")?;
        install_another_version(desk)?;
        runs_uncontained(desk)
    })
}

fn a_missing_wrapper_is_said_and_nothing_runs_on_the_host(world: &World, release: Release) -> Result<()> {
    for plugin in ["required", "optional"] {
        world.with_cluster(release, &two_nodes(plugin), |desk| {
            desk.squashfs("a.sqf", "")?;
            desk.cluster.hide(2, "/usr/local/bin")?;
            let text = "/usr/local/bin/condatainer: cannot be run on this node (No such file or directory): tell your administrator";
            desk.refused(on_second_node(desk)?, text)?;
            let (job, text) = desk.batch(&["-w", "n2", OVERLAY], "#!/bin/sh\necho RAN\n")?;
            ensure!(job.state == "FAILED" && !text.contains("RAN"), "{job:?} {text}");
            desk.srun(&["-w", "n2", "sh", "-c", WHERE])?.says("host")?;
            desk.srun(&["-w", "n1", OVERLAY, "sh", "-c", WHERE])?.says("inside a")?;
            second_node_is_well(desk)
        })?;
    }
    Ok(())
}

fn a_missing_apptainer_is_said(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup { stand_in: false, ..Setup::default() }, |desk| {
        desk.squashfs("a.sqf", "")?;
        desk.as_root("rm -f /usr/bin/apptainer")?.success()?;
        let output = desk.srun(&[OVERLAY, "echo", "RAN"])?;
        let text = "condatainer: Apptainer is not installed here, nor is SingularityCE: no 'apptainer' or 'singularity' in PATH; install it, or set 'apptainer' in the system configuration";
        desk.refused(output, text)?.ends_with(125)?;
        second_node_is_well(desk)
    })
}

/// What a site gets wrong, how root makes it so, what a container's step then says, and the check of `doctor` that fails.
const MISTAKES: [(&str, &str, &str); 11] = [
    ("sed -i 's/$/ strange=1/' $PLUGSTACK", "plugstack.conf: argument 'strange=1' is wrong", "plugin"),
    ("sed -i 's/config=.*/config=no-path/' $PLUGSTACK", "plugstack.conf: argument 'config=no-path' is wrong", "plugin"),
    ("sed -i 's/$/ patience=soon/' $PLUGSTACK", "plugstack.conf: argument 'patience=soon' is wrong", "plugin"),
    ("chmod 000 $CONFIG", "config.toml: permission denied: the configuration cannot be read", "configuration"),
    ("rm $CONFIG; mkdir $CONFIG", "config.toml: is a directory", "configuration"),
    ("echo 'base = \"' > $CONFIG", "config.toml: line 1: ", "configuration"),
    ("echo 'bsae = \"/x\"' > $CONFIG", "config.toml: line 1: unknown field `bsae`", "configuration"),
    ("echo 'base = 1' > $CONFIG", "config.toml: line 1: invalid type", "configuration"),
    ("echo 'base = \"x\"' > $CONFIG", "config.toml: base = 'x' is not an absolute path", "configuration"),
    ("chown alice $CONFIG", "must belong to root and be writable by nobody else", "configuration"),
    ("echo 'base = \"/no/such.sif\"' > $CONFIG", "/no/such.sif: no such file", "base"),
];

/// What is to work whatever the site has got wrong.
const PLAIN: &str =
    "srun true && salloc -Q srun true && sbatch -Q -o /dev/null --wrap 'srun true' && srun --help > /dev/null";

/// `srun`, `sbatch` and `salloc` without our options work whatever the site has got wrong; who asks for a container is told what that is, and
/// nothing runs on the host; and `doctor` says it.
fn the_sites_mistakes_stop_containers_alone(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        desk.squashfs("a.sqf", "")?;
        let variables = format!("PLUGSTACK=/etc/slurm/plugstack.conf CONFIG={CONFIG}");
        desk.as_root("mkdir /good && cp -a /etc/slurm/plugstack.conf /etc/condatainer /usr/local/libexec /good")?
            .success()?;
        for (mistake, reason, check) in MISTAKES {
            desk.as_root(&format!("{variables}; {mistake}"))?.success()?;
            desk.script(PLAIN)?.success().and_then(Expect::without_a_word).context(mistake)?;
            let submitted = desk.run(&["sbatch", OVERLAY, "--wrap", "echo RAN > RAN"])?;
            desk.refused(submitted, reason).context(mistake)?;
            desk.refused(desk.srun(&[OVERLAY, "echo", "RAN"])?, reason).context(mistake)?;
            let doctor = desk.run(&["condatainer", "doctor"])?;
            let failed = format!("not ok   {check} ");
            ensure!(doctor.code == 1 && doctor.stdout.contains(&failed), "{mistake}: {}", doctor.stdout);
            let cure = "rm -rf $PLUGSTACK ${CONFIG%/*} /usr/local/libexec; cp -a /good/plugstack.conf /etc/slurm
                cp -a /good/condatainer /etc; cp -a /good/libexec /usr/local";
            desk.as_root(&format!("{variables}; {cure}"))?.success()?;
        }
        // What lies there makes a container better; it starts without.
        desk.as_root("mv /usr/local/libexec/condatainer /usr/local/libexec/gone")?.success()?;
        desk.script(PLAIN)?.success().and_then(Expect::without_a_word)?;
        desk.srun(&[OVERLAY, "sh", "-c", WHERE])?.says("inside a")?;
        let doctor = desk.run(&["condatainer", "doctor"])?.stdout;
        ensure!(doctor.contains("warning  interposers      there are no links libexec/condatainer"), "{doctor}");
        ensure!(!desk.files()?.contains(&"RAN".into()), "a batch script ran on the host");
        // A node of Slurm 24.11 can be busy for two minutes with jobs that are over.
        desk.nodes_are_well()
    })
}

/// `condatainer admin hold`, before the plugin is taken out.
fn jobs_that_want_a_container_are_held(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        desk.squashfs("a.sqf", "")?;
        let script = |lines: &str| format!("#!/bin/sh\n{lines}\nsleep 60\n");
        let later = "--begin=now+1hour";
        let option = desk.submit(&[later], &script(&format!("#SBATCH {OVERLAY}")))?;
        let lines = desk.submit(&[later], &script("#DEP: ./a.sqf"))?;
        let array = desk.submit(&[later, "--array=1-3"], &script("#DEP: ./a.sqf"))?;
        let typed = desk.submit(&[later, OVERLAY], &script(""))?;
        let plain = desk.submit(&[later], &script("# --condatainer"))?;
        let runs = desk.submit(&["-J", "JobState=PENDING"], &script(&format!("touch RUNS; : srun {OVERLAY} true")))?;
        desk.wait_until("[ -e RUNS ]")?;
        let shown = desk.as_root("condatainer admin hold --dry-run")?.success()?.stdout;
        for line in [
            format!("{option}  waits: an option in its script\n"),
            format!("{lines}  waits: a #DEP: or #CNT line in its script\n"),
            format!("{runs}  runs: an option in its script: "),
        ] {
            ensure!(shown.contains(&line), "{line}: {shown}");
        }
        let is_held = |job: u32| {
            let state = desk.as_root(&format!("squeue -h -j {job} -o %r"))?.success()?.stdout;
            Ok::<bool, anyhow::Error>(state.starts_with("JobHeld"))
        };
        ensure!(!is_held(lines)?, "held by --dry-run: {shown:?}");
        let said = desk.as_root("condatainer admin hold")?.ends_with(1)?;
        for job in [option, lines, array] {
            ensure!(is_held(job)? && said.stdout.contains(&format!("{job}  held: ")), "{job}: {said:?}");
        }
        // Only 26.05 shows what was typed; another Slurm's says that it does not.
        let is_shown = release == Release::Sid;
        ensure!(
            is_held(typed)? == is_shown && said.stderr.contains("does not show the command lines") != is_shown,
            "{said:?}"
        );
        ensure!(!is_held(plain)?, "{said:?}");
        desk.as_root(&format!("scancel {option} {lines} {array} {typed} {plain} {runs}"))?.success()?;
        desk.wait_until("[ -z \"$(squeue -h)\" ]")?;
        desk.as_root("condatainer admin hold")?.says("no job in the queue wants a container").map(drop)
    })
}

/// What is wrong only there: the plugin's arguments, the configuration, the program. The job that wants a container fails with the reason,
/// another one runs, and the node is as well as before.
fn mistakes_on_the_node_are_one_tasks_matter(world: &World, release: Release) -> Result<()> {
    world.with_cluster(release, &Setup::default(), |desk| {
        desk.squashfs("a.sqf", "")?;
        let plugstack = "/etc/slurm/plugstack.conf";
        for (fault, cure, reason) in [
            (
                format!("sed -i.good 's/config=.*/config=no-path strange/' {plugstack}"),
                format!("mv {plugstack}.good {plugstack}"),
                "plugstack.conf: argument 'config=no-path' is wrong",
            ),
            (format!("cp -p {CONFIG} good; echo 'bsae = 1' > {CONFIG}"), format!("mv good {CONFIG}"), "bsae"),
            (
                "chmod a-x /usr/local/bin/condatainer".into(),
                "chmod a+x /usr/local/bin/condatainer".into(),
                "cannot be run on this node",
            ),
        ] {
            let wants = desk.submit(&["-H", OVERLAY], "#!/bin/sh\necho RAN\n")?;
            let plain = desk.submit(&["-H"], "#!/bin/sh\necho plain\n")?;
            desk.as_root(&format!("{fault}; scontrol release {wants} {plain}"))?.success()?;
            let (wanted, other) = (desk.job_ends(wants)?, desk.job_ends(plain)?);
            desk.as_root(&cure)?.success()?;
            let (said, shown) = (desk.output_of(wants)?, desk.output_of(plain)?);
            ensure!(
                wanted.state == "FAILED" && said.contains(reason) && !said.contains("RAN"),
                "{fault}: {wanted:?} {said}"
            );
            ensure!(other.state == "COMPLETED" && shown == "plain\n", "{fault}: {other:?} {shown}");
            second_node_is_well(desk)?;
        }
        desk.srun(&[OVERLAY, "sh", "-c", WHERE])?.says("inside a").map(drop)
    })
}

/// Everything that a task can see of how it was started; what changes from job to job is left out. Slurm itself, with and without
/// plugins, now and then leaves pipes of another step open in a task; a descriptor that bash closes while they are listed is a
/// number without a name.
const TASK: &str = r#"
env | cut -d= -f1 | grep -v '^_$' | sort
tr '\0' '|' < /proc/$$/cmdline | sed 's/job[0-9]*/jobN/'; echo
readlink /proc/$$/exe
grep -E '^(Uid|Gid|Groups|SigBlk|SigIgn|SigCgt|Cap|NoNewPrivs|Seccomp|Umask)' /proc/self/status
opened=$(for fd in /proc/$$/fd/*; do echo ${fd##*/} $(readlink $fd); done)
sed 's/[0-9]\{2,\}/N/g; s/job[0-9]*/jobN/; s/[0-9]*\.out/N.out/' <<< "$opened" | grep -vE '^[3-9] pipe|^[0-9N]*$'
ulimit -a | grep -v real-time; pwd; umask; cat /proc/$$/oom_score_adj
ps -o comm= -p $PPID
"#;

fn steps_without_our_options_are_untouched(world: &World, release: Release) -> Result<()> {
    let seen = |setup: &Setup| {
        let mut seen = Vec::new();
        world.with_cluster(release, setup, |desk| {
            desk.write("task", &format!("#!/bin/bash\n{TASK}"))?;
            let script = format!("#!/bin/bash\n{TASK}");
            seen.push(desk.srun(&["./task", "a b"])?.success()?.stdout);
            seen.push(desk.batch(&[], &script)?.1);
            seen.push(desk.run(&["salloc", "-Q", "srun", "-n1", "./task"])?.success()?.stdout);
            Ok(())
        })?;
        Ok::<_, anyhow::Error>(seen)
    };
    let (with, without) = (seen(&Setup::default())?, seen(&Setup { plugin: None, ..Setup::default() })?);
    for (with, without) in with.iter().zip(&without) {
        ensure!(!with.contains("CONDATAINER"), "{with}");
        ensure!(with == without, "with the plugin:\n{with}\nwithout:\n{without}");
    }
    Ok(())
}

fn options_are_in_the_help(desk: &Desk) -> Result<()> {
    let options = ["overlay=", "base=", "fakeroot", "no-fakeroot", "bind=", "env=", "workdir=", "scope=", "off"];
    for program in ["srun", "sbatch", "salloc"] {
        let help = desk.run(&[program, "--help"])?.success()?.stdout;
        let missing: Vec<_> =
            options.iter().filter(|option| !help.contains(&format!("--condatainer-{option}"))).collect();
        ensure!(missing.is_empty(), "{program} --help lacks {missing:?}: {help}");
    }
    Ok(())
}
