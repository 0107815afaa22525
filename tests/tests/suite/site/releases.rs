//! What differs from release to release: how the words get in front of a task, and what the old Slurm cannot do.

use anyhow::{Result, ensure};
use cluster::Release;

use crate::support::{Desk, Expect, WHERE, tests};

tests! {
    Slurm, Desk: [the_plugin_loads_without_a_word, the_request_travels_in_one_variable];
    Only(Release::Bookworm), Desk: [
        the_wrapper_is_called_with_the_planned_arguments, multi_prog_is_refused_before_23_11, the_words_in_front_are_not_left_in_the_environment,
    ];
    Apptainer, Desk: [multi_prog_runs_inside, a_broadcast_program_runs_inside];
}

fn the_plugin_loads_without_a_word(desk: &Desk) -> Result<()> {
    let output = desk.srun(&["-Q", "true"])?.success()?;
    ensure!(output.stderr.is_empty() && output.stdout.is_empty(), "{output:?}");
    let log = desk.cluster.logs();
    let complaints: Vec<_> =
        log.lines().filter(|line| line.contains("spank_condatainer") && line.contains("error")).collect();
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

fn the_request_travels_in_one_variable(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "")?;
    let text = "printenv SLURM_CONDATAINER; env | grep -c ^SLURM_CONDATAINER";
    let output = desk.srun(&["--condatainer-overlay=a.sqf", "--condatainer-env=A=b", "sh", "-c", text])?.success()?;
    let (json, count) = output.stdout.split_once('\n').unwrap_or_default();
    let value: serde_json::Value = serde_json::from_str(json)?;
    ensure!(
        value["request"]["layers"][0]["path"] == desk.path("a.sqf") && value["request"]["env"][0][1] == "b",
        "{json}"
    );
    ensure!(count.trim() == "1", "more than one variable: {count}");
    Ok(())
}

/// A stand-in takes Apptainer's place here (support/fake-apptainer.sh): it shows that it was called as planned, no more.
fn the_wrapper_is_called_with_the_planned_arguments(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "")?;
    desk.squashfs("b.sqf", "")?;
    desk.image("env.img")?;
    let options = [
        "--condatainer-overlay=a.sqf,env.img:rw",
        "--condatainer-overlay=b.sqf",
        "--condatainer-base=/srv/base/base",
        "--condatainer-bind=/srv:/data:ro",
        "--condatainer-workdir=/opt",
        "--condatainer-env=A=b c",
    ];
    let output = desk
        .srun(
            &[&options[..], &["sh", "-c", "cat /mnt/stand-in/argv; echo \"$0-$1 A=$A\"", "zero", "one two"]].concat(),
        )?
        .success()?;
    let path = |name: &str| desk.path(name);
    let expected = [
        "-q",
        "exec",
        "--overlay",
        &format!("{}:ro", path("a.sqf")),
        "--overlay",
        &format!("{}:ro", path("b.sqf")),
        "--overlay",
        &path("env.img"),
        "--mount",
        "type=bind,source=/srv,destination=/data,ro",
        "--pwd",
        "/opt",
        "/srv/base/base",
    ];
    ensure!(output.stdout.starts_with(&expected.join("\n")), "{}", output.stdout);
    // Variables and the command are in no arguments: everybody can read those.
    let argv = output.stdout.strip_suffix("zero-one two A=b c\n");
    ensure!(argv.is_some_and(|argv| !argv.contains("b c") && !argv.contains("zero")), "{}", output.stdout);
    Ok(())
}

fn multi_prog_is_refused_before_23_11(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "")?;
    desk.write("programs", "0-1 echo RAN\n")?;
    let output = desk.srun(&["-n2", "--condatainer-overlay=a.sqf", "--multi-prog", "programs"])?;
    desk.refused(output, "--multi-prog: this Slurm is older than 23.11 and cannot run it in containers")?;
    desk.srun(&["-n2", "--multi-prog", "programs"])?.says("RAN\nRAN")?;
    Ok(())
}

fn the_words_in_front_are_not_left_in_the_environment(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "")?;
    desk.srun_in("a.sqf", "env | grep -c SLURM_CONDATAINER_ARGUMENTS")?.ends_with(1)?;
    Ok(())
}

fn a_broadcast_program_runs_inside(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "")?;
    desk.write("where", &format!("#!/bin/sh\n{WHERE}\n"))?;
    let program = desk.path("where");
    for target in ["--bcast=/tmp/", "--bcast=/tmp/broadcast-where"] {
        desk.srun(&[target, "--condatainer-overlay=a.sqf", &program])?.says("inside a")?;
    }
    Ok(())
}

fn multi_prog_runs_inside(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "")?;
    desk.write("where", &format!("#!/bin/sh\n{WHERE}\n"))?;
    desk.write("programs", &format!("0 {0}\n1 {0}\n", desk.path("where")))?;
    desk.srun(&["-n2", "--condatainer-overlay=a.sqf", "--multi-prog", "programs"])?.says("inside a\ninside a")?;
    Ok(())
}
