//! A script's own lines about its container: `#DEP:` names a layer, `#CNT` gives options. They are those of the original CondaTainer.
//!
//! One reader serves `run`, `check` and the plugin, so that a script means the same however it is started. Reading is pure and
//! bounded; what a dependency means on this machine is asked of the library afterwards.

mod dependencies;
mod error;
mod header;
mod request;
mod settings;
mod text;

pub use dependencies::Dependency;
pub use error::{LineError, ScriptError};
pub use header::Header;
pub use settings::Settings;

use std::path::{Path, PathBuf};

use dependencies::Dependencies;
use text::{contents, lines};

/// What a script says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Its file.
    pub path: PathBuf,
    /// The layers that it needs, in order, none twice.
    pub dependencies: Vec<Dependency>,
    /// What its `#CNT` lines ask for.
    pub settings: Settings,
    /// What others read in it: the interpreter and the lines for Slurm.
    pub header: Header,
}

impl Script {
    /// Reads the script in a file. With `modules`, `module load` and `ml` lines are dependencies too.
    ///
    /// # Errors
    /// No regular file that can be read, or a line that cannot be right.
    pub fn read(path: &Path, modules: bool) -> Result<Self, ScriptError> {
        let text = contents(path).map_err(|source| ScriptError::Read { path: path.into(), source })?;
        Self::parse(path, &text, modules)
    }

    /// As [`Script::read`], from its bytes.
    ///
    /// # Errors
    /// A line that cannot be right.
    pub fn parse(path: &Path, text: &[u8], modules: bool) -> Result<Self, ScriptError> {
        let mut dependencies = Dependencies::default();
        let mut settings = Settings::default();
        for (number, line) in lines(text) {
            let refuse = |why| ScriptError::Line { path: path.into(), number, why };
            if let Some(text) = settings::text_of(line) {
                settings.add(text).map_err(refuse)?;
            } else {
                dependencies.add(number, line, modules).map_err(refuse)?;
            }
        }
        Ok(Self { path: path.into(), dependencies: dependencies.found, settings, header: Header::parse(text) })
    }

    /// Whether it says anything about its container.
    #[must_use]
    pub fn asks_for_something(&self) -> bool {
        !self.dependencies.is_empty() || self.settings != Settings::default()
    }
}

/// Whether a file is a script that asks for something, or tries to: what cannot be read asks for nothing. For whoever must not fail.
#[must_use]
pub fn has_lines(path: &Path) -> bool {
    contents(path).is_ok_and(|text| {
        let header = Header::parse(&text);
        let asks = || Script::parse(path, &text, false).map_or(true, |script| script.asks_for_something());
        header.interpreter.is_some() && !header.starts_us() && asks()
    })
}

#[cfg(test)]
mod tests;
