//! What is expected of a command, in words.

use anyhow::{Result, ensure};
use cluster::Output;

use crate::support::Desk;

/// A shell text that prints `host`, or `inside` and the layers that it can see. Where a stand-in takes Apptainer's place, the
/// layers are those that it was called with.
pub(crate) const WHERE: &str = r#"
if [ -e /etc/condatainer-base ]; then
    echo inside $(ls /opt/layers 2> /dev/null)
elif [ -e /mnt/stand-in/argv ]; then
    echo inside $(sed -n '/^--overlay$/{n;s/:r[ow]$//;s/\.[a-z]*$//;s/.*\///p}' /mnt/stand-in/argv | sort)
else
    echo host
fi"#;

/// Checks of an output; each hands it on.
pub(crate) trait Expect: Sized {
    /// Success, with exactly this standard output (white space at its end aside).
    fn says(self, expected: &str) -> Result<Self>;
    /// This exit code.
    fn ends_with(self, code: i32) -> Result<Self>;
    /// This text on standard error.
    fn complains(self, text: &str) -> Result<Self>;
    /// Nothing of ours on standard error.
    fn without_a_word(self) -> Result<Self>;
    /// Success, with this text somewhere in standard output.
    fn holds(self, text: &str) -> Result<()>;
    /// Nothing on standard output.
    fn without_stdout(self) -> Result<Self>;
}

impl Expect for Output {
    fn says(self, expected: &str) -> Result<Self> {
        let output = self.success()?;
        ensure!(output.stdout.trim_end() == expected, "expected {expected:?}, got {}", described(&output));
        Ok(output)
    }

    fn ends_with(self, code: i32) -> Result<Self> {
        ensure!(self.code == code, "expected exit code {code}, got {}", described(&self));
        Ok(self)
    }

    fn complains(self, text: &str) -> Result<Self> {
        ensure!(self.stderr.contains(text), "expected {text:?} on standard error, got {}", described(&self));
        Ok(self)
    }

    fn without_a_word(self) -> Result<Self> {
        ensure!(!self.stderr.contains("condatainer"), "expected no message, got {}", described(&self));
        Ok(self)
    }

    fn holds(self, text: &str) -> Result<()> {
        let output = self.success()?;
        ensure!(output.stdout.contains(text), "expected {text:?} in standard output, got {}", described(&output));
        Ok(())
    }

    fn without_stdout(self) -> Result<Self> {
        ensure!(self.stdout.is_empty(), "expected nothing on standard output, got {}", described(&self));
        Ok(self)
    }
}

fn described(output: &Output) -> String {
    format!("exit code {}\nstdout: {:?}\nstderr: {}", output.code, output.stdout, output.stderr)
}

impl Desk<'_> {
    /// The command must be refused: it fails, says this text, its command does not run, and no node is the worse for it.
    pub(crate) fn refused(&self, output: Output, text: &str) -> Result<Output> {
        ensure!(output.code != 0, "expected a refusal, got {}", described(&output));
        ensure!(!output.stdout.contains("RAN"), "the command ran: {}", described(&output));
        let output = output.complains(text)?;
        self.nodes_are_well()?;
        Ok(output)
    }

    /// No node is drained or down.
    pub(crate) fn nodes_are_well(&self) -> Result<()> {
        let states = self.run(&["sinfo", "--noheader", "--Node", "--format=%T %E"])?.success()?.stdout;
        let well = |state: &str| {
            ["idle", "mixed", "allocated", "completing", "planned"].iter().any(|good| state.starts_with(good))
        };
        ensure!(states.lines().all(well), "a node is not well: {states}");
        Ok(())
    }
}
