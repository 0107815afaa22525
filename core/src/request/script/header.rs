//! What others read at the beginning of a script: the kernel its interpreter, sbatch its options.

use super::text::lines;

/// The lines of a batch script that Slurm, or what it translates or passes on, reads besides its commands.
const DIRECTIVES: [&str; 6] = ["#SBATCH", "#SLURM", "#PBS", "#BSUB", "#BB", "#DW"];

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// What stands behind `#!` in the first line.
    pub interpreter: Option<String>,
    /// The lines for Slurm in front of the first command, as they are.
    pub directives: Vec<String>,
}

impl Header {
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut header = Self::default();
        for (number, line) in lines(text) {
            let line = String::from_utf8_lossy(line);
            if number == 1 {
                header.interpreter = line.strip_prefix("#!").map(|rest| rest.trim().into());
            }
            if !line.trim_start().is_empty() && !line.trim_start().starts_with('#') {
                break;
            }
            if DIRECTIVES.iter().any(|mark| line.starts_with(mark)) {
                header.directives.push(line.into());
            }
        }
        header
    }

    /// Whether sbatch would find options of its own.
    #[must_use]
    pub fn is_for_slurm(&self) -> bool {
        self.directives.iter().any(|line| line.starts_with("#SBATCH"))
    }

    /// Whether the interpreter is `condatainer` itself, perhaps by way of env(1): such a script makes its own container.
    #[must_use]
    pub fn starts_us(&self) -> bool {
        let words = self.interpreter.as_deref().unwrap_or_default().split_ascii_whitespace();
        words.filter_map(|word| word.rsplit('/').next()).any(|program| program == "condatainer")
    }

    /// The words of the `#SBATCH` lines; a line whose quotes sbatch would refuse has none.
    pub fn sbatch_words(&self) -> impl Iterator<Item = String> {
        let options = self.directives.iter().filter_map(|line| line.strip_prefix("#SBATCH"));
        options.filter_map(shlex::split).flatten()
    }

    /// The directory in which the job starts, if one is named: what its relative paths refer to. `more` are options given to sbatch.
    #[must_use]
    pub fn chdir(&self, more: &[String]) -> Option<String> {
        let words: Vec<String> = self.sbatch_words().chain(more.iter().cloned()).collect();
        let value = |(at, word): (usize, &String)| match word.as_str() {
            "-D" | "--chdir" => words.get(at + 1).cloned(),
            word => word.strip_prefix("--chdir=").or_else(|| word.strip_prefix("-D")).map(String::from),
        };
        words.iter().enumerate().filter_map(value).next_back()
    }
}
