//! `condatainer completions SHELL`.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::Cli;
use crate::exit::Failure;

pub(crate) fn print(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    clap_complete::generate(shell, &mut Cli::command(), "condatainer", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
