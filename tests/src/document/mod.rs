//! Documents whose commands are run: which these are, their blocks, and what comes of them.
//!
//! A fenced block is run unless it says why not. What a run needs to know stands in comments directly before the block, which no reader
//! sees; [`marks`] has the list. Shell commands are `sh`, commands with their output `console`, and everything else is only shown.

mod block;
mod commands;
mod compare;
mod marks;
mod run;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use block::{Block, blocks};
pub use compare::differs;
pub use run::{Answer, Run, runs};

/// Documents that are run together, on one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The README, the first page, and those for people who come from another tool.
    Start,
    /// `docs/guide`.
    Guide,
    /// `docs/recipes`.
    Recipes,
    /// `docs/admin`.
    Administration,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Start, Self::Guide, Self::Recipes, Self::Administration];

    /// Its documents, by their paths below the top of the repository, in order.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn documents(self) -> Result<Vec<PathBuf>> {
        let directory = match self {
            Self::Start => {
                return Ok([
                    "README.md",
                    "docs/start.md",
                    "docs/from-apptainer.md",
                    "docs/from-condatainer.md",
                    "docs/messages.md",
                ]
                .map(PathBuf::from)
                .into());
            }
            Self::Guide => "docs/guide",
            Self::Recipes => "docs/recipes",
            Self::Administration => "docs/admin",
        };
        let entries = fs::read_dir(top().join(directory)).with_context(|| format!("cannot read {directory}"))?;
        let mut names =
            entries.map(|entry| Ok(Path::new(directory).join(entry?.file_name()))).collect::<Result<Vec<_>>>()?;
        names.retain(|name| name.extension().is_some_and(|extension| extension == "md"));
        names.sort_unstable();
        Ok(names)
    }
}

/// The top of the repository.
#[must_use]
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned()
}

/// The blocks of a document, by its path below the top.
///
/// # Errors
/// When it cannot be read, or a block or a mark is not one that can be followed; the message has the line.
pub fn read(document: &Path) -> Result<Vec<Block>> {
    let text = fs::read_to_string(top().join(document)).with_context(|| format!("{}", document.display()))?;
    blocks(&text).with_context(|| format!("{}", document.display()))
}
