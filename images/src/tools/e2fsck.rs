//! e2fsck: what it is asked to do, the options that say so, and what its exit codes mean.
//!
//! Whoever lets it repair an image that others rely on does so by [`crate::acquire::automatic_repair`].

use std::fs::File;
use std::os::fd::AsRawFd;

use super::error::ToolError;
use super::run::Tool;
use super::{e2fsprogs, memfd};

/// Its name.
pub(crate) const NAME: &str = "e2fsck";

/// Bit of the exit code, and as a number the highest without anything amiss: errors were corrected.
pub(crate) const CORRECTED: i32 = 1;
/// Errors were corrected, and the machine is to be rebooted.
const REBOOT: i32 = 2;
/// Errors were left as they are.
const UNCORRECTED: i32 = 4;
/// e2fsck gave up. Without having been allowed to repair anything it does so at some damage that it could repair.
const GAVE_UP: i32 = 8;

/// What e2fsck is told in the place of `/etc/e2fsck.conf`, which is for the disks of the machine.
///
/// Problem 0x010047 is a directory that has an index although the file system lacks the feature `dir_index`. By itself e2fsck takes
/// the index away; here that is no problem at all, because [`crate::acquire::automatic_repair`] hides the feature while e2fsck works.
const CONFIG: &[u8] =
    b"[problems]\n0x010047 = {\nforce_no = true\nno_ok = true\nno_nomsg = true\npreen_nomessage = true\n}\n";

/// What e2fsck may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing is written.
    Look,
    /// What loses nothing is repaired; anything else ends the run.
    Automatic,
    /// Everything is repaired.
    Yes,
}

/// What e2fsck is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Only the journal is replayed.
    Journal,
    /// The repairs that lose nothing, where the file system says that it is not clean.
    IfNotClean,
    /// The whole file system is looked through, whatever it says about itself.
    Whole(Answer),
    /// As `Whole`, with a line on standard error, where e2fsck says little else, whenever it has come further.
    WholeTelling(Answer),
}

impl Work {
    fn options(self) -> Vec<&'static str> {
        match self {
            Self::Journal => vec!["-p", "-E", "journal_only"],
            Self::IfNotClean => vec!["-p"],
            Self::Whole(answer) => vec!["-f", answer.option()],
            Self::WholeTelling(answer) => vec!["-f", answer.option(), "-C", "2"],
        }
    }
}

impl Answer {
    fn option(self) -> &'static str {
        match self {
            Self::Look => "-n",
            Self::Automatic => "-p",
            Self::Yes => "-y",
        }
    }
}

/// e2fsck ready to run on `file`, which it has as its standard input; `name` is what it calls that.
pub(crate) fn on(file: &File, name: &str, work: Work) -> Result<Tool, ToolError> {
    let mut tool = tool()?;
    tool.on(file)?.args(work.options()).arg(name);
    Ok(tool)
}

/// e2fsck with our configuration, without any arguments yet.
pub(crate) fn tool() -> Result<Tool, ToolError> {
    let mut tool = e2fsprogs::tool(NAME)?;
    // In memory, and inherited: e2fsck reads it also when we are killed meanwhile.
    let config = memfd::data(c"condatainer-e2fsck.conf", CONFIG, memfd::Flags::empty())
        .map_err(|error| ToolError::Start { tool: NAME, error })?;
    tool.env("E2FSCK_CONFIG", format!("/proc/self/fd/{}", config.as_raw_fd())).inherit(config);
    Ok(tool)
}

/// What an exit code says about the file system: whether errors are left in it. `None` where e2fsck could not look at it.
pub(crate) fn errors_left(answer: Answer, code: i32) -> Option<bool> {
    let gave_up = UNCORRECTED | GAVE_UP;
    let verdict = if answer != Answer::Yes && code & gave_up == gave_up { code & !GAVE_UP } else { code };
    let is_verdict = verdict & !(CORRECTED | REBOOT | UNCORRECTED) == 0;
    is_verdict.then_some(verdict & UNCORRECTED != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        let of = |answer, codes: &[i32]| codes.iter().map(|code| errors_left(answer, *code)).collect::<Vec<_>>();
        assert_eq!(of(Answer::Look, &[0, 1, 3, 4, 5]), [Some(false), Some(false), Some(false), Some(true), Some(true)]);
        assert_eq!(of(Answer::Automatic, &[8, 12, 16, 32]), [None, Some(true), None, None]);
        assert_eq!(of(Answer::Yes, &[1, 4, 12, 128]), [Some(false), Some(true), None, None]);
    }
}
