//! What nobody names: layers by a variable or the configuration, the base of a distribution; and `condatainer` in a container.

use anyhow::{Result, ensure};

use crate::support::{Desk, Expect, WHERE, tests};

tests! {
    Slurm, Desk: [an_option_beats_the_variable_beats_the_configuration, a_variable_puts_steps_and_jobs_inside, a_job_that_was_to_stay_outside_does];
    ApptainerOnce, Desk: [the_base_that_a_distribution_has, condatainer_says_where_it_is];
}

/// Three layers, and a configuration of the user's own that names one.
fn layers(desk: &Desk) -> Result<()> {
    for name in ["a", "b", "c"] {
        desk.squashfs(&format!("{name}.sqf"), "")?;
    }
    desk.write("where", &format!("#!/bin/sh\n{WHERE}\n"))?;
    desk.script("mkdir -p config/condatainer")?.success()?;
    desk.write("config/condatainer/config.toml", &format!("overlay = [\"{}\"]\n", desk.path("c.sqf")))
}

/// In a shell where that configuration counts, and perhaps the variable.
fn types(desk: &Desk, variable: &str, line: &str) -> Result<cluster::Output> {
    let set = if variable.is_empty() { String::new() } else { format!("export CONDATAINER_OVERLAY={variable}; ") };
    desk.script(&format!("export XDG_CONFIG_HOME=$PWD/config; {set}{line}"))
}

fn an_option_beats_the_variable_beats_the_configuration(desk: &Desk) -> Result<()> {
    layers(desk)?;
    desk.write("named.sh", "#!/bin/sh\n#DEP: ./a.sqf\n./where\n")?;
    desk.write("plain.sh", "#!/bin/sh\n./where\n")?;
    for (variable, line, expected) in [
        ("", "condatainer exec ./where", "inside c"),
        ("b.sqf", "condatainer exec ./where", "inside b"),
        ("a.sqf,b.sqf", "condatainer exec ./where", "inside a b"),
        ("b.sqf", "condatainer exec -o a.sqf ./where", "inside a"),
        ("b.sqf", "condatainer e -n -- ./where", "inside b"),
        ("b.sqf", "condatainer e -n a.sqf -- ./where", "inside a"),
        ("b.sqf", "condatainer run plain.sh", "inside b"),
        ("b.sqf", "condatainer run named.sh", "inside a"),
    ] {
        let output = types(desk, variable, line)?.success()?;
        ensure!(output.stdout.trim() == expected, "{variable} {line}: {output:?}");
    }
    let missing = types(desk, "none.sqf", "condatainer exec true")?.ends_with(125)?;
    missing.complains(
        "none.sqf: no such file or directory; it is CONDATAINER_OVERLAY: correct it, or name other layers",
    )?;
    let config = types(desk, "b.sqf", "condatainer config")?.success()?.stdout;
    ensure!(config.contains("overlay        b.sqf  (CONDATAINER_OVERLAY)"), "{config}");
    desk.write("config/condatainer/config.toml", "overlay = [\"none/1\"]\n")?;
    types(desk, "", "condatainer exec true")?
        .ends_with(125)?
        .complains("config.toml, line 1: none/1: no such layer")
        .map(drop)
}

fn a_variable_puts_steps_and_jobs_inside(desk: &Desk) -> Result<()> {
    layers(desk)?;
    let outside = types(desk, "", "srun ./where")?.success()?.stdout;
    ensure!(outside.trim() == "host", "a configuration asks for no container: {outside}");
    for (line, expected) in [
        ("srun ./where", "inside b"),
        ("srun --condatainer-overlay=a.sqf ./where", "inside a"),
        ("srun --condatainer-off ./where", "host"),
        ("salloc -Q srun ./where", "inside b"),
        ("sbatch -W -Q -o out --wrap='./where; srun ./where' && cat out", "inside b\ninside b"),
        (
            "sbatch -W -Q -o out --condatainer-overlay=a.sqf --wrap='./where; srun ./where' && cat out",
            "inside a\ninside a",
        ),
    ] {
        let output = types(desk, "b.sqf", line)?.success()?;
        ensure!(output.stdout.trim() == expected, "{line}: {output:?}");
    }
    // Where a container is asked for without layers, the configuration names them.
    types(desk, "", "srun --condatainer-env=A=1 ./where")?.says("inside c")?;
    let missing = types(desk, "none.sqf", "srun ./where")?.ends_with(1)?;
    missing.complains("it is CONDATAINER_OVERLAY: correct it").map(drop)
}

/// A job that starts condatainer itself, or was to have no container, is not put into one by the variable.
fn a_job_that_was_to_stay_outside_does(desk: &Desk) -> Result<()> {
    layers(desk)?;
    desk.write("own.sh", "#!/usr/bin/env -S condatainer run\n#SBATCH -o out\n./where\n")?;
    desk.write("job.sh", "#!/bin/sh\n#SBATCH -o out -W -Q\n./where\n")?;
    for (line, expected) in [
        ("sbatch -W -Q --condatainer-off -o out --wrap='./where; srun ./where' && cat out", "host\nhost"),
        ("sbatch -W -Q own.sh > /dev/null && cat out", "inside b"),
        ("condatainer run job.sh > /dev/null && cat out", "inside b"),
    ] {
        let output = types(desk, "b.sqf", line)?.success()?;
        ensure!(output.stdout.trim() == expected, "{line}: {output:?}");
    }
    Ok(())
}

/// The first step of a newcomer: a base with a name.
fn the_base_that_a_distribution_has(desk: &Desk) -> Result<()> {
    let dirs = "export XDG_DATA_HOME=$PWD/data; mkdir -p data/condatainer/images; ln -s /srv/base/base.sqf data/condatainer/images/debian--13.sqf";
    desk.script(dirs)?.success()?;
    let without = |line: &str| desk.script(&format!("export XDG_DATA_HOME=$PWD/data CONDATAINER_BASE=; {line}"));
    without("condatainer exec -b debian/13 echo RAN")?.says("RAN")?;
    let other = without("condatainer exec -b debian/12 true")?.ends_with(125)?;
    other.complains("'condatainer create -s docker://debian:12 -n debian/12' makes it")?;
    let plan = without("CONDATAINER_DEFAULT_DISTRO=debian/13 condatainer exec --dry-run=json true")?.success()?.stdout;
    let plan: serde_json::Value = serde_json::from_str(&plan)?;
    ensure!(plan["base"] == "/srv/base/base.sqf", "what the configuration names counts before: {}", plan["base"]);
    Ok(())
}

fn condatainer_says_where_it_is(desk: &Desk) -> Result<()> {
    desk.image("env.img")?;
    desk.script("condatainer e -- condatainer list")?.ends_with(127)?.complains(
        "condatainer: no such command in the container: it starts containers, and is used outside of them",
    )?;
    let typed =
        desk.command().terminal().stdin("condatainer list\nexit 5\n").run(&["condatainer", "e"])?.ends_with(5)?;
    let said = "condatainer: you are inside of a container (on /srv/base/base.sqf)";
    ensure!(typed.stdout.contains(said), "{typed:?}");
    let (_, batch) = desk.batch(&["--condatainer-overlay=env.img"], "#!/bin/sh\ncondatainer list 2>&1; echo $?\n")?;
    ensure!(batch.contains(said) && batch.ends_with("125\n"), "{batch}");
    let step = desk.srun(&["--condatainer-overlay=env.img", "condatainer", "list"])?.ends_with(127)?;
    step.complains("and is used outside of them").map(drop)
}
