//! Exit codes and the last line of a failure.

use std::fmt::Display;
use std::process::ExitCode;

use condatainer_core::run::{RunError, exit_code};

use super::lines;

/// Why a verb ends without success, and the exit code that tells it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    /// Empty where there is nothing to say.
    message: String,
    /// Set where somebody uses an image.
    waits_for: Option<String>,
}

/// The exit codes of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// The verb failed.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The command was not started.
    NotStarted = exit_code::NOT_STARTED,
    /// The command is there but cannot be executed.
    NotExecutable = exit_code::NOT_EXECUTABLE,
    /// There is no such command.
    NotFound = exit_code::NOT_FOUND,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Display) -> Self {
        Self { code: code as u8, message: message.to_string(), waits_for: None }
    }

    /// The user has ended it by a signal, and knows.
    pub(crate) fn by_signal(signal: i32) -> Self {
        let code = u8::try_from((128 + signal) & 0xff).unwrap_or(u8::MAX);
        Self { code, message: String::new(), waits_for: None }
    }

    /// A verb that starts nothing has failed.
    pub(crate) fn failed(message: impl Display) -> Self {
        Self::new(Code::Failed, message)
    }

    /// What was typed makes no sense.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(Code::Usage, message)
    }

    /// The same failure in a verb that starts nothing.
    pub(crate) fn of_a_verb(self) -> Self {
        Self { code: Code::Failed as u8, ..self }
    }

    /// A command was not started.
    pub(crate) fn not_started(message: impl Display) -> Self {
        Self::new(Code::NotStarted, message)
    }

    /// A command was not started, perhaps because somebody uses an image: what is waited for by who waits.
    pub(crate) fn in_use(message: impl Display, waits_for: Option<String>) -> Self {
        Self { waits_for, ..Self::not_started(message) }
    }

    /// As [`not_started`](Self::not_started), because of this.
    pub(crate) fn of_run(error: RunError) -> Self {
        let waits_for = error.waits_for();
        Self::in_use(error, waits_for)
    }

    /// What is waited for by who waits, where somebody else was faster.
    pub(crate) fn waits_for(&self) -> Option<&str> {
        self.waits_for.as_deref()
    }

    /// Why, for whoever says it in this process's place.
    pub(crate) fn message(self) -> String {
        self.message
    }

    /// Says why, in one line, if that is not known, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            lines::error(&self.message);
        }
        ExitCode::from(self.code)
    }
}
