//! `condatainer exec`: one command, or a shell, in a stack of layers.

use std::path::Path;
use std::process::ExitCode;

use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::request::Request;

use crate::args::ExecArgs;
use crate::exit::Failure;
use crate::start::{Surroundings, command};

pub(crate) fn exec(args: ExecArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::look(Path::new(SYSTEM_FILE))?;
    let request =
        Request { layers: around.layers(&args.overlays)?, write: args.writable, ..around.request(&args.start)? };
    around.start(request, command(&around, args.command), args.start.dry_run)
}
