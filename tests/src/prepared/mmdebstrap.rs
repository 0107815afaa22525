//! One run of mmdebstrap: the tool that makes a Debian root from the archive in half a minute.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::prepared::mirror;

/// What to build; everything that shapes the result is in here, so that its key says when to build anew.
pub(crate) struct Recipe {
    /// mmdebstrap's variant: `minbase` or `apt`.
    pub(crate) variant: &'static str,
    /// The suites to take packages from, the release itself first.
    pub(crate) suites: Vec<&'static str>,
    /// Packages besides the variant's own.
    pub(crate) packages: Vec<&'static str>,
    /// Shell text run before anything is downloaded; `$1` is the root.
    pub(crate) setup: &'static str,
    /// Shell text run when everything is installed; `$1` is the root.
    pub(crate) customize: &'static str,
}

impl Recipe {
    pub(crate) fn key(&self) -> String {
        let (suites, packages) = (self.suites.join(","), self.packages.join(","));
        crate::cache::key(&[self.variant, &suites, &packages, self.setup, self.customize, &EXCLUDED.join(" ")])
    }

    /// Builds the root in `directory`, which must not exist yet.
    pub(crate) fn build(&self, directory: &Path) -> Result<()> {
        let source = mirror::of_this_machine()?;
        let sources = directory.with_extension("sources");
        let stanzas: Vec<_> = self.suites.iter().map(|suite| source.stanza(suite)).collect();
        fs::write(&sources, stanzas.join("\n")).with_context(|| format!("cannot write {}", sources.display()))?;
        let output = self.command(directory, &sources).stdin(Stdio::null()).output();
        fs::remove_file(&sources)?;
        let output = output.context("mmdebstrap cannot be started")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "mmdebstrap {} failed:\n{}", self.suites[0], last_lines(&stderr, 15));
        Ok(())
    }

    fn command(&self, directory: &Path, sources: &Path) -> Command {
        // In a pid namespace that dies with us: mmdebstrap and what it runs would go on writing where the next build begins.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["mmdebstrap", "--format=directory"]).arg(format!("--variant={}", self.variant));
        command.arg(format!("--include={}", self.packages.join(",")));
        // A mirror may be weeks old, and the other releases are not the ones whose dates this machine checks.
        command.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
        command.args(mirror::download_settings().iter().map(|setting| format!("--aptopt={setting}")));
        command.args(EXCLUDED.iter().map(|path| format!("--dpkgopt=path-exclude={path}")));
        command.args(hook("setup", self.setup)).args(hook("customize", self.customize));
        command.arg(self.suites[0]).arg(directory).arg(sources);
        command
    }
}

/// What nobody reads in a throw-away root.
const EXCLUDED: [&str; 3] = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"];

fn hook(kind: &str, text: &str) -> Option<String> {
    (!text.is_empty()).then(|| format!("--{kind}-hook={text}"))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
