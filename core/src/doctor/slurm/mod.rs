//! Slurm: its release, whether this is in a job, and whether it loads the plugin.

mod facts;
mod plugstack;
mod read;
#[cfg(test)]
mod tests;

use crate::doctor::check::Check;
use crate::machine::version::Version;
use facts::Facts;

pub(crate) use read::read;

/// The releases whose interface the plugin knows.
const OLDEST: (u32, u32) = (22, 5);
const NEWEST: (u32, u32) = (26, 5);

pub(crate) fn judge(facts: &Facts) -> Vec<Check> {
    if !facts.here {
        let why = "there is no srun here: this is no host of Slurm";
        return vec![Check::skipped("slurm", why), Check::skipped("plugin", why)];
    }
    vec![slurm(facts), plugin(facts)]
}

fn slurm(facts: &Facts) -> Check {
    const ID: &str = "slurm";
    let place = match &facts.job {
        None => "not in a job".into(),
        Some((job, None)) => format!("in job {job}"),
        Some((job, Some(step))) => format!("in job {job}, step {step}"),
    };
    match &facts.version {
        Err(why) => {
            Check::warning(ID, format!("srun does not tell its version: {why}"), "see to Slurm: srun --version")
        }
        Ok(version) if !(OLDEST..=NEWEST).contains(&(version.0, version.1)) => Check::warning(
            ID,
            format!(
                "{} is none of the releases that the plugin knows ({} to {})",
                release(version),
                named(OLDEST),
                named(NEWEST)
            ),
            "install a condatainer that knows it",
        ),
        Ok(version) => Check::ok(ID, format!("{}, {place}", release(version))),
    }
}

/// Slurm writes 22.05.8.
fn release(version: &Version) -> String {
    format!("{}.{}", named((version.0, version.1)), version.2)
}

fn named((year, month): (u32, u32)) -> String {
    format!("{year}.{month:02}")
}

fn plugin(facts: &Facts) -> Check {
    const ID: &str = "plugin";
    let Some(line) = &facts.line else { return not_enabled(facts) };
    let file = line.file.display();
    // It is said first: with it Slurm's containers have neither the program nor the configuration that the line names.
    if let Some(why) = &line.argument_problem {
        return Check::failed(ID, format!("all of Slurm's containers are refused: {why}"), format!("correct {file}"));
    }
    let problem = line.plugin_problem.as_ref().map(|why| (&line.plugin, why));
    let problem = problem.or(line.wrapper_problem.as_ref().map(|why| (&line.wrapper, why)));
    if let Some((path, why)) = problem {
        let path = path.display();
        return Check::failed(
            ID,
            format!("{path}: {why} ({file})"),
            format!("install it again on this node, or correct {file}"),
        );
    }
    if let Some(why) = &line.config_problem {
        return Check::failed(ID, format!("all of Slurm's containers are refused: {why}"), "correct the configuration");
    }
    match &facts.shows {
        Err(why) => Check::failed(ID, format!("srun does not load it: {why}"), format!("see {file} and slurmd's log")),
        Ok(false) => Check::failed(
            ID,
            format!("{} is in {file}, but srun does not show its options", line.plugin.display()),
            "see whether Slurm reads that file, and slurmd's log",
        ),
        Ok(true) if !line.required => Check::warning(
            ID,
            "loaded, but as optional: on a node where it does not load, tasks run outside of their containers",
            format!("as root: write 'required' in {file}"),
        ),
        Ok(true) => Check::ok(ID, format!("loaded from {}, required", line.plugin.display())),
    }
}

/// Without a line that we can read; Slurm may read one all the same ("configless").
fn not_enabled(facts: &Facts) -> Check {
    const ID: &str = "plugin";
    match (&facts.shows, &facts.plugstack) {
        (Ok(true), _) => Check::ok(ID, "loaded (plugstack.conf is not on this host)"),
        (Err(why), _) => Check::failed(ID, format!("srun does not work: {why}"), "see to Slurm: srun --help"),
        (Ok(false), Some(path)) => Check::failed(
            ID,
            format!("not in {}: srun --condatainer-overlay is unknown here", path.display()),
            format!(
                "as root: add 'include PREFIX/share/condatainer/plugstack.conf' to {}; or leave this check out (--skip plugin)",
                path.display()
            ),
        ),
        (Ok(false), None) => Check::failed(
            ID,
            "there is no plugstack.conf: srun --condatainer-overlay is unknown here",
            "as root: enable it as docs/admin/install.md says; or leave this check out (--skip plugin)",
        ),
    }
}
