//! What a verb has to show, on standard output. A reader who has seen enough (`| head`) is no failure of what was done.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use super::failure::Failure;
use super::json::Escaping;

/// A report as JSON, in which nothing is left that a terminal obeys.
pub(crate) fn json(report: &impl Serialize) -> Result<(), Failure> {
    stream(|out| {
        serde_json::to_writer_pretty(Escaping(&mut *out), report)?;
        writeln!(out)
    })
}

/// A report as JSON where that is wanted, else as text with colours.
pub(crate) fn report(is_json: bool, report: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
    if is_json { json(report) } else { styled(&text()) }
}

/// Lines of text, and the end of the last one.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    stream(|out| writeln!(out, "{text}"))
}

/// Whatever `put` writes, piece by piece: a list may be long.
pub(crate) fn stream(put: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    written(put(&mut out).and_then(|()| out.flush()))
}

/// What is no text.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    stream(|out| out.write_all(bytes))
}

/// Text with colours, which are left out where they are not wanted: NO_COLOR, a pipe, a terminal without.
pub(crate) fn styled(text: &str) -> Result<(), Failure> {
    written(anstream::stdout().write_all(text.as_bytes()))
}

fn written(outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write the result: {error}")))
        }
        _ => Ok(()),
    }
}
