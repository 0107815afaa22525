//! `condatainer overlay with-root`: one command as root in an image of one's own.
//!
//! The image is root's for as long as the command runs, and goes back to whom it belonged however that ends. Whatever can be refused
//! is refused before the image changes hands.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::request::Request;
use condatainer_core::request::layer::{Layer, Mode};
use condatainer_formats::ext::Ids;
use condatainer_images::system::stop::Stop;
use condatainer_images::verbs::chown::ChownError;
use condatainer_images::verbs::with_root;

use crate::complete::candidates;
use crate::say;
use crate::say::failure::{Code, Failure};
use crate::say::report;
use crate::start::args::StartArgs;
use crate::start::container;
use crate::start::waiting::Waiting;
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
pub(crate) struct WithRootArgs {
    /// The image
    #[arg(value_name = "IMG", add = ArgValueCompleter::new(candidates::images))]
    pub(crate) image: PathBuf,
    /// A layer below the image: PATH or NAME[:ro], lowest first; a list, repeatable
    #[arg(short, long = "overlay", value_name = "LAYER", add = ArgValueCompleter::new(candidates::layers))]
    pub(crate) overlays: Vec<String>,
    /// The command and its arguments; without one, a shell
    #[arg(last = true, value_name = "COMMAND", value_hint = clap::ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) start: StartArgs,
}

pub(crate) fn with_root(args: WithRootArgs) -> Result<ExitCode, Failure> {
    // From now on nothing but SIGKILL keeps the image from going back; the command gets its signals all the same.
    let stop = Stop::listen().map_err(Failure::not_started)?;
    let around = Surroundings::look(Path::new(SYSTEM_FILE))?;
    let request = request(&around, &args)?;
    let command = container::command(&around, args.command.clone());
    let image = around.cwd.join(&args.image);
    let preview = || around.preview(&request, command.clone(), Some(&image));
    if let Some(format) = args.start.dry_run {
        return container::show(&preview()?, format);
    }
    Waiting::new(around.wait(&request), None).until_free(|| {
        preview()?;
        if let Some(signal) = stop.signal() {
            return Err(Failure::by_signal(signal));
        }
        let lent = with_root::lend(&image).map_err(not_lent)?;
        report::repaired(&args.image, lent.replayed).iter().for_each(|line| say::notice(line));
        if lent.owner.is_some() && !lent.noted {
            say::notice(&unnoted(&args.image));
        }
        let ended = match stop.signal() {
            Some(signal) => Ok(container::exit_code(128 + signal)),
            None => around.plan(&request, command.clone()).and_then(|plan| container::run_at_prompt(&plan)),
        };
        match lent.owner {
            Some(owner) => give_back(&args.image, owner, ended),
            None => ended,
        }
    })
}

fn request(around: &Surroundings, args: &WithRootArgs) -> Result<Request, Failure> {
    if args.start.no_fakeroot {
        return Err(Failure::not_started("--no-fakeroot: there is no root without fakeroot; leave it out"));
    }
    if let Some(origin) = around.config.origin_of_fakeroot(false).filter(|origin| origin.is_fixed()) {
        let cure = origin.instead_of_option("false");
        return Err(Failure::not_started(format!("there is no root without fakeroot: {cure}")));
    }
    let mut layers = around.layers(&args.overlays)?;
    layers.push(Layer { mode: Some(Mode::Rw), ..Layer::at(around.cwd.join(&args.image)) });
    Ok(Request { layers, fakeroot: Some(true), ..around.request(&args.start)? })
}

/// Whoever waits for the image goes on waiting where somebody else was faster.
fn not_lent(error: ChownError) -> Failure {
    let waits_for = if let ChownError::Acquire(busy) = &error { busy.waits_for() } else { None };
    Failure::in_use(error, waits_for)
}

fn unnoted(image: &Path) -> String {
    let path = image.display();
    format!(
        "{path}: no note of its owner can be left on it: should this be killed, 'condatainer overlay chown {path}' gives it back"
    )
}

/// The command's own end, unless it succeeded and the image stays root's.
fn give_back(image: &Path, owner: Ids, ended: Result<ExitCode, Failure>) -> Result<ExitCode, Failure> {
    let Err(error) = with_root::give_back(image, owner) else { return ended };
    let path = image.display();
    let failure = Failure::new(
        Code::Failed,
        format!("{error}; until it is given back ('condatainer overlay chown {path}') {path} is root's"),
    );
    match ended {
        Ok(ExitCode::SUCCESS) => Err(failure),
        ended => {
            failure.report();
            ended
        }
    }
}
