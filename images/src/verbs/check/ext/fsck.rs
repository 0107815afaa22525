//! One run of e2fsck on a locked image: its words, its verdict, and how far it is.

use super::problems::Problems;
use crate::acquire::LockedImage;
use crate::acquire::automatic_repair::{automatic_repair, refuse_endless};
use crate::tools::ToolError;
use crate::tools::e2fsck::{Answer, NAME, Work, errors_left};
use crate::tools::open_file::GIVEN_FILE;
use crate::tools::run::{Stream, Tool};

/// Enough to see what is wrong; a badly damaged image makes millions.
const MOST_LINES: usize = 1000;
/// A list of blocks can be longer than a whole report.
const LONGEST_LINE: usize = 400;
/// How much of the work is done when a pass begins, in percent, by experience of e2fsck itself.
const PASSES: [u64; 6] = [0, 70, 90, 92, 95, 100];

/// How a run went.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What it complained about.
    pub(crate) problems: Problems,
    /// Its own words.
    pub(crate) lines: Vec<String>,
    /// Whether something is left to be repaired.
    pub(crate) uncorrected: bool,
}

/// Runs e2fsck over the whole file system, whatever its state. `progress` is told percent.
pub(crate) fn e2fsck(
    locked: &LockedImage,
    answer: Answer,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Outcome, ToolError> {
    let mut command = locked.e2fsck(Work::WholeTelling(answer))?;
    let name = locked.image.path.display().to_string();
    match answer {
        Answer::Automatic => automatic_repair(locked, || run(&mut command, answer, &name, progress)),
        Answer::Look | Answer::Yes => {
            refuse_endless(locked)?;
            run(&mut command, answer, &name, progress)
        }
    }
}

fn run(tool: &mut Tool, answer: Answer, name: &str, progress: &mut dyn FnMut(u64, u64)) -> Result<Outcome, ToolError> {
    let (mut outcome, mut said) = (Outcome::default(), None);
    let status = tool.run_telling(&mut |stream, line| match (stream, percent(line)) {
        (Stream::Out, _) => outcome.hear(line, name),
        (Stream::Err, Some(done)) => progress(done, 100),
        (Stream::Err, None) if line.trim().is_empty() || line.starts_with("e2fsck 1.") => {}
        (Stream::Err, None) => said = Some(line.trim().trim_start_matches("e2fsck: ").to_owned()),
    })?;
    match status.code().and_then(|code| errors_left(answer, code)) {
        Some(left) => {
            outcome.uncorrected = left;
            outcome.problems.settle(left);
            Ok(outcome)
        }
        None => {
            let said = said.or_else(|| outcome.lines.pop()).unwrap_or_else(|| status.to_string());
            Err(ToolError::Failed { tool: NAME, said })
        }
    }
}

impl Outcome {
    /// Sorts one line of what e2fsck says.
    fn hear(&mut self, line: &str, name: &str) {
        self.problems.meet(line);
        if self.lines.len() < MOST_LINES && !line.trim().is_empty() {
            self.lines.push(shortened(line, name));
        }
    }
}

fn shortened(line: &str, name: &str) -> String {
    let line = line.trim_end().replace(GIVEN_FILE, name);
    match line.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// Reads `PASS DONE TOTAL NAME`.
fn percent(line: &str) -> Option<u64> {
    let mut words = line.split_ascii_whitespace();
    let mut number = || words.next()?.parse::<u64>().ok();
    let (pass, done, total) = (usize::try_from(number()?).ok()?, number()?, number()?);
    let (from, to) = (*PASSES.get(pass.checked_sub(1)?)?, *PASSES.get(pass)?);
    Some(from + (to - from) * done.min(total) / total.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_lines() {
        assert_eq!(percent("1 1 2 /proc/self/fd/0"), Some(35));
        assert_eq!(percent("5 2 2 /proc/self/fd/0"), Some(100));
        assert_eq!(percent("3 0 0 x"), Some(90));
        assert_eq!(percent("9 1 2 x"), None);
        assert_eq!(percent("e2fsck 1.47.0 (5-Feb-2023)"), None);
        assert_eq!(percent(""), None);
    }

    #[test]
    fn long_lines_are_cut() {
        assert_eq!(shortened("/proc/self/fd/0: clean \n", "env.img"), "env.img: clean");
        assert_eq!(shortened(&"é".repeat(1000), "x").chars().count(), LONGEST_LINE + 1);
    }
}
