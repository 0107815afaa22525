//! The command line `condatainer`: reads the arguments and hands them to the verb.
//!
//! [`cli`] defines the verbs. [`start`] runs containers, [`overlay`] works on images, [`library`] on layers, [`machine`] shows settings
//! and checks. [`say`] prints, [`complete`] serves the Tab key, [`manual`] makes the man pages, [`surroundings`] knows where and as whom we were called,
//! and [`habits`] what other tools call things.

mod arguments;
mod cli;
mod complete;
mod habits;
mod library;
mod machine;
mod manual;
mod overlay;
mod say;
mod start;
mod surroundings;

use std::process::ExitCode;

use condatainer_core::run::engine_mounts::daemons;
use condatainer_core::step::relay;
use condatainer_images::temporary::on_signal;

use crate::cli::{OverlayVerb, Verb};
use crate::complete::shell;
use crate::library::{check, create, info, list, remove};
use crate::machine::hold::{self, AdminVerb};
use crate::machine::{config, doctor, explain};
use crate::say::failure::Failure;
use crate::say::print;
use crate::start::slurm::{command, keep, task};
use crate::start::{e, exec, join, ps, run, stack};

fn main() -> ExitCode {
    if let Some(code) = stack::process() {
        return code;
    }
    shell::answer();
    let cli = match task::arguments().and_then(habits::parse) {
        Ok(cli) => cli,
        Err(failure) => return failure.report(),
    };
    say::set_level(cli.quiet, cli.verbose);
    match dispatch(cli.verb) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn dispatch(verb: Verb) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Exec(args) => exec::exec(args),
        Verb::E(args) => e::edit(args),
        Verb::Run(args) => run::run(&args),
        Verb::Check(args) => check::check(&args),
        Verb::Create(args) => create::create(args),
        Verb::O(args) => in_overlay(OverlayVerb::Create(args)),
        Verb::Overlay(verb) => in_overlay(verb),
        Verb::List(args) => list::list(&args),
        Verb::Info(args) => info::layer(&args),
        Verb::Remove(args) => remove::remove(&args),
        Verb::Config(args) => config::config(&args),
        Verb::Doctor(args) => doctor::doctor(&args),
        Verb::Explain(args) => explain::explain(&args),
        Verb::Admin(AdminVerb::Hold(args)) => hold::hold(&args),
        Verb::Completions { shell } => shell::print(shell),
        Verb::Interposer => print::bytes(daemons::INTERPOSER).map(|()| ExitCode::SUCCESS),
        Verb::Zshenv => print::bytes(condatainer_programs::ZSHENV).map(|()| ExitCode::SUCCESS),
        Verb::Preload => print::bytes(daemons::PRELOAD).map(|()| ExitCode::SUCCESS),
        Verb::Relay => print::bytes(relay::RELAY).map(|()| ExitCode::SUCCESS),
        Verb::Man { dir } => manual::write(&dir),
        Verb::Ps(args) => ps::ps(&args),
        Verb::Join(args) => join::join(args),
        Verb::Task(args) => task::task(args),
        Verb::Keep(args) => keep::keep(args),
        Verb::Outside { first } => command::outside(first),
    }
}

/// Verbs that hold an image or make files beside it: a signal leaves nothing behind.
fn in_overlay(verb: OverlayVerb) -> Result<ExitCode, Failure> {
    on_signal::remove_on_signals().map_err(Failure::failed)?;
    match verb {
        OverlayVerb::Create(args) => overlay::create::create(&args),
        OverlayVerb::Check(args) => overlay::check::check(&args),
        OverlayVerb::Chown(args) => overlay::chown::chown(&args),
        OverlayVerb::Diff(args) => overlay::diff::diff(&args),
        OverlayVerb::Resize(args) => overlay::resize::resize(&args),
        OverlayVerb::Info(args) => overlay::info::info(&args),
        OverlayVerb::Seal(args) => overlay::seal::seal(&args),
        OverlayVerb::WithRoot(args) => overlay::with_root::with_root(args),
    }
}
