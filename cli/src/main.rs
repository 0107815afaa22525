//! The command line `condatainer`: reads the arguments and hands them to the verb.

mod args;
mod build;
mod check;
mod chown;
mod complete;
mod completions;
mod conda;
mod config;
mod create;
mod dependencies;
mod diff;
mod doctor;
mod edit;
mod exec;
mod exit;
mod info;
mod join;
mod keep;
mod list;
mod outside;
mod place;
mod plain;
mod print;
mod progress;
mod ps;
mod remove;
mod report;
mod resize;
mod run;
mod say;
mod seal;
mod start;
mod task;
mod with_root;

use std::process::ExitCode;

use clap::Parser;
use condatainer_core::run::engine::daemons;
use condatainer_core::step::relay;
use condatainer_images::temporary::on_signal;

use crate::args::{Cli, OverlayVerb, Verb};
use crate::exit::Failure;

fn main() -> ExitCode {
    complete::answer();
    let cli = match task::arguments() {
        Ok(arguments) => Cli::parse_from(arguments),
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
        Verb::E(args) => edit::edit(args),
        Verb::Run(args) => run::run(&args),
        Verb::Check(args) => dependencies::check(&args),
        Verb::Create(args) => build::create(args),
        Verb::O(args) => overlay(OverlayVerb::Create(args)),
        Verb::Overlay(verb) => overlay(verb),
        Verb::List(args) => list::list(&args),
        Verb::Info(args) => info::layer(&args),
        Verb::Remove(args) => remove::remove(&args),
        Verb::Config(args) => config::config(&args),
        Verb::Doctor(args) => doctor::doctor(&args),
        Verb::Completions { shell } => completions::print(shell),
        Verb::Interposer => print::bytes(daemons::INTERPOSER).map(|()| ExitCode::SUCCESS),
        Verb::Zshenv => print::bytes(condatainer_programs::ZSHENV).map(|()| ExitCode::SUCCESS),
        Verb::Preload => print::bytes(daemons::PRELOAD).map(|()| ExitCode::SUCCESS),
        Verb::Relay => print::bytes(relay::RELAY).map(|()| ExitCode::SUCCESS),
        Verb::Man { dir } => completions::man(&dir),
        Verb::Ps(args) => ps::ps(&args),
        Verb::Join(args) => join::join(args),
        Verb::Task(args) => task::task(args),
        Verb::Keep(args) => keep::keep(args),
        Verb::Outside { first } => outside::outside(first),
    }
}

/// Verbs that hold an image or make files beside it: a signal leaves nothing behind.
fn overlay(verb: OverlayVerb) -> Result<ExitCode, Failure> {
    on_signal::remove_on_signals().map_err(Failure::failed)?;
    match verb {
        OverlayVerb::Create(args) => create::create(&args),
        OverlayVerb::Check(args) => check::check(&args),
        OverlayVerb::Chown(args) => chown::chown(&args),
        OverlayVerb::Diff(args) => diff::diff(&args),
        OverlayVerb::Resize(args) => resize::resize(&args),
        OverlayVerb::Info(args) => info::info(&args),
        OverlayVerb::Seal(args) => seal::seal(&args),
        OverlayVerb::WithRoot(args) => with_root::with_root(args),
    }
}
