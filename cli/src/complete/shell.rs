//! `condatainer completions SHELL`, and what a shell then asks: all made from the definitions of [`Cli`].

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::env::{CompleteEnv, Shells};

use crate::cli::Cli;
use crate::say::failure::Failure;
use crate::say::print;

/// Set by the shell's script when it asks for candidates. Not clap's own `COMPLETE`, which anybody might have set.
const VARIABLE: &str = "CONDATAINER_COMPLETE";
const PROGRAM: &str = "condatainer";

/// Answers the shell, if it is the shell that asks.
pub(crate) fn answer() {
    if std::env::var_os(VARIABLE).is_some() {
        CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
    }
}

/// bash splits a line also at `:` and `=`, where a layer and its mode, or an option and its value, are one word to us. clap's script
/// hands on the pieces.
const BASH: &str = include_str!("condatainer.bash");

/// The script that makes a shell ask; `None` for one that is not known.
fn script(shell: &str) -> Option<Vec<u8>> {
    if shell == "bash" {
        return Some(BASH.into());
    }
    let mut script = Vec::new();
    let shells = Shells::builtins();
    shells.completer(shell)?.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script).ok()?;
    Some(script)
}

/// Prints a completion script.
pub(crate) fn print(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let script = script(&shell.to_string());
    let script = script.ok_or_else(|| Failure::failed(format!("{shell}: there are no completions for this shell")))?;
    print::text(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
