//! `condatainer exec`: one command, or a shell, in a stack of layers.

use std::path::Path;
use std::process::ExitCode;

use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::request::Request;

use crate::args::ExecArgs;
use crate::exit::Failure;
use crate::start::{self, Surroundings, command};

pub(crate) fn exec(args: ExecArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::look(Path::new(SYSTEM_FILE))?;
    let request =
        Request { layers: around.layers(&args.overlays)?, write: args.writable, ..around.request(&args.start)? };
    let command = command(&around, args.command);
    match args.start.dry_run {
        Some(format) => start::show(&around.preview(request, command, None)?, format),
        None => start::run_at_prompt(&around.plan(request, command)?, around.holder(None)),
    }
}
