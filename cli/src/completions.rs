//! `condatainer completions SHELL`, and the man pages: both made from the definitions in [`crate::args`].

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::Cli;
use crate::complete;
use crate::exit::Failure;
use crate::print;

/// Prints a completion script.
pub(crate) fn print(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let script = complete::script(&shell.to_string());
    let script = script.ok_or_else(|| Failure::failed(format!("{shell}: there are no completions for this shell")))?;
    print::text(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes one man page for each verb, for `make install`.
pub(crate) fn man(dir: &Path) -> Result<ExitCode, Failure> {
    let written = clap_mangen::generate_to(Cli::command(), dir);
    written.map_err(|e| Failure::failed(format!("{}: the man pages cannot be written: {e}", dir.display())))?;
    Ok(ExitCode::SUCCESS)
}
