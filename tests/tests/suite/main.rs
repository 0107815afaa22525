//! The real-cluster suite: condatainer as users have it, on real Slurm clusters of three releases, with real Apptainer where the
//! release has it.
//!
//! One process holds one cluster per release, which all tests of that release share, each in a directory of its own. Tests
//! that change a cluster start their own. Trials are named `RELEASE::THEME::what_is_proved` and are filtered as with any other
//! cargo test; the directories that the themes lie in are no part of their names. What a machine cannot cover is said by name at the end.

// Tests and their helpers: what does not hold, fails the test.
#![allow(clippy::unwrap_used, clippy::panic)]
#![forbid(unsafe_code)]

mod image;
mod library;
mod site;
mod slurm;
mod stack;
mod start;
mod support;
mod words;

use std::process::ExitCode;
use std::sync::Arc;

use cluster::Release;
use libtest_mimic::{Arguments, Trial};

use crate::support::{Programs, Suite, Theme, World, coverage};

/// Steps spend much of their time waiting for each other, so more trials at once than processors are worth it.
const THREADS: usize = 9;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(THREADS));
    let suite = suite();
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(&suite, None)).exit_code();
    }
    let world = match world(arguments.test_threads == Some(1)) {
        Ok(world) => Arc::new(world),
        Err(error) => {
            eprintln!("the suite cannot start: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let conclusion = libtest_mimic::run(&arguments, trials(&suite, Some(&world)));
    world.costs.report();
    coverage::report(&suite);
    world.failures.report();
    world.end();
    conclusion.exit_code()
}

fn suite() -> Suite {
    Suite {
        // Those with the longest tests come first: at the end all others would have to wait for them.
        themes: vec![
            Theme { name: "story", tests: start::story::tests() },
            Theme { name: "guides", tests: words::guides::tests() },
            Theme { name: "conda", tests: library::conda::tests() },
            Theme { name: "other_shells", tests: start::other_shells::tests() },
            Theme { name: "step", tests: slurm::step::tests() },
            Theme { name: "ends", tests: slurm::ends::tests() },
            Theme { name: "with_root", tests: image::with_root::tests() },
            Theme { name: "create", tests: library::create::tests() },
            Theme { name: "whiteouts", tests: image::whiteouts::tests() },
            Theme { name: "writers", tests: image::writers::tests() },
            Theme { name: "nodes", tests: slurm::nodes::tests() },
            Theme { name: "lost", tests: slurm::lost::tests() },
            Theme { name: "resize", tests: image::resize::tests() },
            Theme { name: "shells", tests: start::shells::tests() },
            Theme { name: "seal", tests: image::seal::tests() },
            Theme { name: "trust", tests: library::trust::tests() },
            Theme { name: "relay", tests: slurm::relay::tests() },
            Theme { name: "stuck", tests: slurm::stuck::tests() },
            Theme { name: "own_mounts", tests: stack::own_mounts::tests() },
            Theme { name: "own_directories", tests: stack::own_directories::tests() },
            Theme { name: "own_engines", tests: stack::own_engines::tests() },
            Theme { name: "own_steps", tests: stack::own_steps::tests() },
            Theme { name: "foreign", tests: stack::foreign::tests() },
            Theme { name: "own_workspace", tests: stack::own_workspace::tests() },
            Theme { name: "own_disk", tests: stack::own_disk::tests() },
            Theme { name: "own_network", tests: stack::own_network::tests() },
            Theme { name: "tmp", tests: stack::tmp::tests() },
            Theme { name: "modes", tests: start::modes::tests() },
            Theme { name: "copy_up", tests: image::copy_up::tests() },
            Theme { name: "bundled", tests: site::bundled::tests() },
            Theme { name: "check", tests: image::check::tests() },
            Theme { name: "slow_disk", tests: image::slow_disk::tests() },
            Theme { name: "layers", tests: start::layers::tests() },
            Theme { name: "defaults", tests: site::defaults::tests() },
            Theme { name: "names", tests: start::names::tests() },
            Theme { name: "fakeroot", tests: start::fakeroot::tests() },
            Theme { name: "entry", tests: start::entry::tests() },
            Theme { name: "exits", tests: start::exits::tests() },
            Theme { name: "inherit", tests: start::inherit::tests() },
            Theme { name: "join", tests: slurm::join::tests() },
            Theme { name: "refusals", tests: slurm::refusals::tests() },
            Theme { name: "admin", tests: slurm::admin::tests() },
            Theme { name: "policy", tests: site::policy::tests() },
            Theme { name: "record", tests: site::record::tests() },
            Theme { name: "releases", tests: site::releases::tests() },
            Theme { name: "cli", tests: words::cli::tests() },
            Theme { name: "diff", tests: image::diff::tests() },
            Theme { name: "directories", tests: start::directories::tests() },
            Theme { name: "doctor", tests: site::doctor::tests() },
            Theme { name: "script", tests: start::script::tests() },
            Theme { name: "secrets", tests: slurm::secrets::tests() },
            Theme { name: "setuid", tests: site::setuid::tests() },
            Theme { name: "singularity", tests: site::singularity::tests() },
            Theme { name: "reports", tests: words::reports::tests() },
            Theme { name: "slips", tests: words::slips::tests() },
        ],
    }
}

fn world(one_at_a_time: bool) -> anyhow::Result<World> {
    cluster::stop_on_signals()?;
    let programs = Programs::find()?;
    cluster::prepare(&cluster::Cache::open(None)?, &Release::ALL)?;
    Ok(World::new(programs, one_at_a_time))
}

/// Every test on every release that can run it. Neighbours in the list are of different releases, so that they run at once.
fn trials(suite: &Suite, world: Option<&Arc<World>>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (theme, test) in suite.tests() {
        for release in Release::ALL.into_iter().filter(|release| test.runs_on(*release)) {
            let name = format!("{release}::{theme}::{}", test.name);
            let (world, test) = (world.cloned(), *test);
            trials.push(Trial::test(name.clone(), move || {
                let world = world.ok_or("only listed")?;
                world
                    .costs
                    .of(&name, || world.run(release, &test))
                    .map_err(|error| world.failures.note(&name, &error).into())
            }));
        }
    }
    trials
}
