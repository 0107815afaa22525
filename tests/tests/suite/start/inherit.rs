//! Which options count where: batch scripts, allocations, steps within jobs, `#SBATCH` lines, repeats, scopes, clean environments.

use anyhow::{Result, ensure};

use crate::support::{Desk, Expect, WHERE, tests};

tests! {
    Slurm, Desk: [
        a_batch_script_runs_inside, the_command_line_replaces_sbatch_lines, sbatch_lines_accumulate, scope_steps, a_host_script_that_clears_its_environment_asks_for_nothing, scope_batch, scope_all,
        off_runs_one_step_on_the_host, off_with_others_is_a_usage_error, steps_inherit_and_override, an_inner_sbatch_inherits_nothing,
        a_value_left_in_the_shell_is_discarded, salloc_steps_run_inside, salloc_inherits_nothing_into_its_own_shell,
        export_none_keeps_the_request, sbatch_export_none_keeps_the_request, a_scope_of_batch_is_refused_for_srun,
        options_without_a_container_are_refused, repeats_accumulate,
    ];
}

/// Two layers and an image.
fn layers(desk: &Desk) -> Result<()> {
    desk.squashfs("a.sqf", "")?;
    desk.squashfs("b.sqf", "")?;
    desk.image("env.img")
}

/// A job script: directives, then lines that say where they run. `where` stands for [`WHERE`] in a file of its own.
fn job(desk: &Desk, directives: &str, lines: &str) -> Result<String> {
    desk.write("where", &format!("#!/bin/sh\n{WHERE}\n"))?;
    Ok(format!("#!/bin/sh\n{directives}\n{}\n", lines.replace("WHERE", &desk.path("where"))))
}

fn a_batch_script_runs_inside(desk: &Desk) -> Result<()> {
    layers(desk)?;
    let script = job(desk, "#SBATCH --condatainer-overlay=a.sqf,env.img:rw", "WHERE; basename $0; pwd; echo $#")?;
    let (_, text) = desk.batch(&[], &script)?;
    let expected = format!("inside a env\nslurm_script\n{}\n0\n", desk.dir);
    ensure!(text == expected, "{text}");
    Ok(())
}

fn the_command_line_replaces_sbatch_lines(desk: &Desk) -> Result<()> {
    layers(desk)?;
    let script = job(desk, "#SBATCH --condatainer-overlay=a.sqf", "WHERE")?;
    for (arguments, expected) in [(vec!["--condatainer-overlay=b.sqf"], "inside b\n"), (vec![], "inside a\n")] {
        let (_, text) = desk.batch(&arguments, &script)?;
        ensure!(text == expected, "{arguments:?}: {text}");
    }
    Ok(())
}

fn sbatch_lines_accumulate(desk: &Desk) -> Result<()> {
    layers(desk)?;
    let script = job(desk, "#SBATCH --condatainer-overlay=a.sqf\n#SBATCH --condatainer-overlay=b.sqf", "WHERE")?;
    let (_, text) = desk.batch(&[], &script)?;
    ensure!(text == "inside a b\n", "{text}");
    Ok(())
}

fn repeats_accumulate(desk: &Desk) -> Result<()> {
    layers(desk)?;
    desk.srun(&["--condatainer-overlay=a.sqf", "--condatainer-overlay=b.sqf,env.img", "sh", "-c", WHERE])?
        .says("inside a b env")?;
    Ok(())
}

/// What the batch script says and what its step says.
fn batch_and_step(desk: &Desk, scope: &str) -> Result<(String, String)> {
    layers(desk)?;
    // A batch script in a container has no srun there; its step is started from outside, into the same job.
    let script = job(
        desk,
        "#SBATCH --condatainer-overlay=a.sqf",
        "WHERE; touch started; while [ ! -e stop ]; do sleep 0.1; done",
    )?;
    let id = desk.submit(&[&format!("--condatainer-scope={scope}")], &script)?;
    desk.wait_until("[ -e started ]")?;
    let value = desk.as_root(&format!("scontrol show job {id} > /dev/null; cat {}/started", desk.dir))?.stdout;
    ensure!(value.is_empty(), "{value}");
    desk.run(&["touch", "stop"])?.success()?;
    desk.job_ends(id)?;
    let batch = desk.output_of(id)?;
    let steps = format!("--condatainer-scope={scope}");
    let salloc =
        desk.run(&["salloc", "-Q", &steps, "--condatainer-overlay=a.sqf", "srun", &desk.path("where")])?.success()?;
    Ok((batch.trim_end().into(), salloc.stdout.trim_end().into()))
}

fn scope_all(desk: &Desk) -> Result<()> {
    let (batch, step) = batch_and_step(desk, "all")?;
    ensure!((batch.as_str(), step.as_str()) == ("inside a", "inside a"), "{batch} / {step}");
    Ok(())
}

fn scope_batch(desk: &Desk) -> Result<()> {
    let (batch, step) = batch_and_step(desk, "batch")?;
    ensure!((batch.as_str(), step.as_str()) == ("inside a", "host"), "{batch} / {step}");
    Ok(())
}

fn scope_steps(desk: &Desk) -> Result<()> {
    layers(desk)?;
    let lines = "WHERE; srun WHERE; srun --condatainer-off WHERE; srun -n2 --condatainer-overlay=b.sqf WHERE | uniq";
    let script = job(desk, "#SBATCH -n2 --condatainer-overlay=a.sqf --condatainer-scope=steps", lines)?;
    let (_, text) = desk.batch(&[], &script.replace("srun WHERE", "srun -n1 WHERE"))?;
    let lines: Vec<_> = text.lines().collect();
    ensure!(
        lines.first() == Some(&"host") && lines.contains(&"inside a") && lines.last() == Some(&"inside b"),
        "{text}"
    );
    Ok(())
}

/// What is cleared is gone: nothing else in such a step tells of the job's request. Said in the administration guide.
fn a_host_script_that_clears_its_environment_asks_for_nothing(desk: &Desk) -> Result<()> {
    layers(desk)?;
    let cleared = "env -i PATH=$PATH SLURM_JOB_ID=$SLURM_JOB_ID srun WHERE; srun --export=NONE WHERE";
    let script = job(desk, "#SBATCH --condatainer-overlay=a.sqf --condatainer-scope=steps", cleared)?;
    let (_, text) = desk.batch(&[], &script)?;
    ensure!(text.lines().collect::<Vec<_>>() == ["host", "inside a"], "{text}");
    Ok(())
}

fn off_runs_one_step_on_the_host(desk: &Desk) -> Result<()> {
    layers(desk)?;
    let text = job(desk, "", "srun WHERE; srun --condatainer-off WHERE; srun WHERE")?;
    desk.write("steps.sh", &text)?;
    desk.run(&["salloc", "-Q", "--condatainer-overlay=a.sqf", "./steps.sh"])?.says("inside a\nhost\ninside a")?;
    desk.srun(&["--condatainer-off", "sh", "-c", WHERE])?.says("host")?;
    Ok(())
}

fn off_with_others_is_a_usage_error(desk: &Desk) -> Result<()> {
    layers(desk)?;
    for other in ["--condatainer-overlay=a.sqf", "--condatainer-fakeroot", "--condatainer-env=A=b"] {
        let output = desk.srun(&["--condatainer-off", other, "echo", "RAN"])?;
        desk.refused(output, "--condatainer-off: cannot be combined with other --condatainer options")?;
    }
    Ok(())
}

fn steps_inherit_and_override(desk: &Desk) -> Result<()> {
    layers(desk)?;
    let lines = "srun WHERE
        srun --condatainer-overlay=b.sqf WHERE
        srun --condatainer-overlay=b.sqf --condatainer-overlay=env.img WHERE
        srun --condatainer-env=MINE=2 sh -c 'WHERE; echo $MINE'
        srun sh -c 'echo $MINE'";
    desk.write("steps.sh", &job(desk, "", lines)?)?;
    let salloc = ["salloc", "-Q", "--condatainer-overlay=a.sqf", "--condatainer-env=MINE=1", "./steps.sh"];
    desk.run(&salloc)?.says("inside a\ninside b\ninside b env\ninside a\n2\n1")?;
    Ok(())
}

fn an_inner_sbatch_inherits_nothing(desk: &Desk) -> Result<()> {
    layers(desk)?;
    let inner = job(desk, "", "WHERE; echo ${SLURM_CONDATAINER-unset}; srun WHERE")?;
    desk.write("inner.sh", &inner)?;
    let outer = job(
        desk,
        "#SBATCH --condatainer-overlay=a.sqf --condatainer-scope=steps",
        "sbatch --parsable -o inner.out inner.sh > inner.id",
    )?;
    desk.batch(&[], &outer)?;
    let id = desk.run(&["cat", "inner.id"])?.success()?.stdout.trim().parse()?;
    desk.job_ends(id)?;
    desk.run(&["cat", "inner.out"])?.says("host\nunset\nhost")?;
    Ok(())
}

fn a_value_left_in_the_shell_is_discarded(desk: &Desk) -> Result<()> {
    layers(desk)?;
    let show = format!("echo ${{SLURM_CONDATAINER-unset}}; {WHERE}");
    let leftover = desk.command().env("SLURM_CONDATAINER", "{\"v\":1,\"request\":{\"base\":\"/srv/base/base.sqf\"}}");
    leftover.run(&["srun", "sh", "-c", &show])?.says("unset\nhost")?;
    leftover.run(&["salloc", "-Q", "srun", "sh", "-c", &show])?.says("unset\nhost")?;
    Ok(())
}

fn salloc_steps_run_inside(desk: &Desk) -> Result<()> {
    layers(desk)?;
    desk.run(&["salloc", "-Q", "srun", "--condatainer-overlay=a.sqf", "sh", "-c", WHERE])?.says("inside a")?;
    desk.run(&["salloc", "-Q", "-n2", "--condatainer-overlay=a.sqf", "srun", "sh", "-c", WHERE])?
        .says("inside a\ninside a")?;
    Ok(())
}

fn salloc_inherits_nothing_into_its_own_shell(desk: &Desk) -> Result<()> {
    layers(desk)?;
    desk.run(&["salloc", "-Q", "--condatainer-overlay=a.sqf", "sh", "-c", WHERE])?.says("host")?;
    Ok(())
}

fn export_none_keeps_the_request(desk: &Desk) -> Result<()> {
    layers(desk)?;
    desk.srun(&["--export=NONE", "--condatainer-overlay=a.sqf,b.sqf", "/bin/sh", "-c", WHERE])?.says("inside a b")?;
    let command = desk.command().env("KEPT", "1").env("LOST", "1");
    let text = format!("echo $KEPT $LOST; {WHERE}");
    command
        .run(&["srun", "--export=KEPT", "--condatainer-overlay=a.sqf", "/bin/sh", "-c", &text])?
        .says("1\ninside a")?;
    Ok(())
}

fn sbatch_export_none_keeps_the_request(desk: &Desk) -> Result<()> {
    layers(desk)?;
    let script = job(desk, "#SBATCH --export=NONE\n#SBATCH --condatainer-overlay=a.sqf", "WHERE")?;
    let (job, text) = desk.batch(&[], &script)?;
    ensure!(text == "inside a\n", "{job:?} {text}");
    Ok(())
}

fn a_scope_of_batch_is_refused_for_srun(desk: &Desk) -> Result<()> {
    layers(desk)?;
    let output = desk.srun(&["--condatainer-scope=batch", "--condatainer-overlay=a.sqf", "echo", "RAN"])?;
    desk.refused(output, "--condatainer-scope=batch leaves every srun step on the host: use --condatainer-off")
        .map(drop)
}

fn options_without_a_container_are_refused(desk: &Desk) -> Result<()> {
    // The site's configuration names a base, which alone asks for nothing.
    let output = desk.srun(&["--condatainer-fakeroot", "echo", "RAN"])?;
    desk.refused(output, "nothing to run in: add --condatainer-overlay=LAYER or --condatainer-base=IMAGE").map(drop)
}
