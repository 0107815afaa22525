//! What a verb has to show, on standard output. A reader who has seen enough (`| head`) is no failure of what was done.

use std::io::{ErrorKind, Write};

use serde::Serialize;

use crate::exit::Failure;

/// A report as JSON.
pub(crate) fn json(report: &impl Serialize) -> Result<(), Failure> {
    text(&serde_json::to_string_pretty(report).map_err(Failure::failed)?)
}

/// Lines of text, and the end of the last one.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    written(std::io::stdout().write_all(format!("{text}\n").as_bytes()))
}

/// Text with colours, which are left out where they are not wanted: NO_COLOR, a pipe, a terminal without.
pub(crate) fn styled(text: &str) -> Result<(), Failure> {
    written(anstream::stdout().write_all(text.as_bytes()))
}

fn written(outcome: std::io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write the result: {error}")))
        }
        _ => Ok(()),
    }
}
