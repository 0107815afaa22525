//! The real-cluster suite: condatainer as users have it, on real Slurm clusters of three releases, with real Apptainer where the
//! release has it.
//!
//! One process holds one cluster per release, which all tests of that release share, each in a directory of its own. Tests
//! that change a cluster start their own. Trials are named `RELEASE::THEME::what_is_proved` and are filtered as with any other
//! cargo test. What a machine cannot cover is said by name at the end.

// Tests and their helpers: what does not hold, fails the test.
#![allow(clippy::unwrap_used, clippy::panic)]
#![forbid(unsafe_code)]

mod admin;
mod bundled;
mod check;
mod cli;
mod conda;
mod copy_up;
mod create;
mod diff;
mod directories;
mod doctor;
mod ends;
mod entry;
mod exits;
mod fakeroot;
mod inherit;
mod join;
mod layers;
mod lost;
mod modes;
mod names;
mod other_shells;
mod refusals;
mod relay;
mod releases;
mod resize;
mod script;
mod seal;
mod secrets;
mod setuid;
mod shells;
mod singularity;
mod slow_disk;
mod step;
mod story;
mod stuck;
mod support;
mod trust;
mod whiteouts;
mod with_root;
mod writers;

use std::process::ExitCode;
use std::sync::Arc;

use cluster::Release;
use libtest_mimic::{Arguments, Trial};

use crate::support::{Programs, Suite, Theme, World, coverage};

/// Steps spend much of their time waiting for each other, so more trials at once than processors are worth it.
const THREADS: usize = 6;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(THREADS));
    let suite = suite();
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(&suite, None)).exit_code();
    }
    let world = match world() {
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
        themes: vec![
            Theme { name: "modes", tests: modes::tests() },
            Theme { name: "whiteouts", tests: whiteouts::tests() },
            Theme { name: "copy_up", tests: copy_up::tests() },
            Theme { name: "bundled", tests: bundled::tests() },
            Theme { name: "writers", tests: writers::tests() },
            Theme { name: "check", tests: check::tests() },
            Theme { name: "slow_disk", tests: slow_disk::tests() },
            Theme { name: "layers", tests: layers::tests() },
            Theme { name: "lost", tests: lost::tests() },
            Theme { name: "names", tests: names::tests() },
            Theme { name: "other_shells", tests: other_shells::tests() },
            Theme { name: "fakeroot", tests: fakeroot::tests() },
            Theme { name: "relay", tests: relay::tests() },
            Theme { name: "entry", tests: entry::tests() },
            Theme { name: "ends", tests: ends::tests() },
            Theme { name: "exits", tests: exits::tests() },
            Theme { name: "inherit", tests: inherit::tests() },
            Theme { name: "join", tests: join::tests() },
            Theme { name: "refusals", tests: refusals::tests() },
            Theme { name: "admin", tests: admin::tests() },
            Theme { name: "releases", tests: releases::tests() },
            Theme { name: "cli", tests: cli::tests() },
            Theme { name: "conda", tests: conda::tests() },
            Theme { name: "create", tests: create::tests() },
            Theme { name: "diff", tests: diff::tests() },
            Theme { name: "directories", tests: directories::tests() },
            Theme { name: "doctor", tests: doctor::tests() },
            Theme { name: "resize", tests: resize::tests() },
            Theme { name: "script", tests: script::tests() },
            Theme { name: "seal", tests: seal::tests() },
            Theme { name: "secrets", tests: secrets::tests() },
            Theme { name: "setuid", tests: setuid::tests() },
            Theme { name: "shells", tests: shells::tests() },
            Theme { name: "singularity", tests: singularity::tests() },
            Theme { name: "with_root", tests: with_root::tests() },
            Theme { name: "step", tests: step::tests() },
            Theme { name: "story", tests: story::tests() },
            Theme { name: "trust", tests: trust::tests() },
            Theme { name: "stuck", tests: stuck::tests() },
        ],
    }
}

fn world() -> anyhow::Result<World> {
    cluster::stop_on_signals()?;
    let programs = Programs::find()?;
    cluster::prepare(&cluster::Cache::open(None)?, &Release::ALL)?;
    Ok(World::new(programs))
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
