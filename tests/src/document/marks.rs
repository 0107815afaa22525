//! What stands in comments before a block, one `<!-- KEY: VALUE -->` on a line:
//!
//! | mark | meaning |
//! |---|---|
//! | `not run: REASON` | the block is not run |
//! | `first: COMMANDS` | these are run before it |
//! | `file: PATH` | the block is the content of this file, which is written then |
//! | `varies: TEXT, TEXT` | what may be another text in the output |
//! | `any order` | the lines of the output come in any order |
//! | `as root` | root types it |
//! | `typed: TEXT => OTHER; …` | the test types OTHER for TEXT: a package that it has for one that it cannot fetch |

use anyhow::{Context, Result, bail};

/// The marks of one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) not_run: Option<String>,
    pub(crate) first: Vec<String>,
    pub(crate) file: Option<String>,
    pub(crate) varies: Vec<String>,
    pub(crate) any_order: bool,
    pub(crate) as_root: bool,
    pub(crate) typed: Vec<(String, String)>,
}

impl Marks {
    /// Takes a line; `false` if it is no comment.
    pub(crate) fn take(&mut self, line: &str) -> Result<bool> {
        let Some(text) = line.trim().strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) else {
            return Ok(false);
        };
        let (key, value) = text.split_once(": ").unwrap_or((text, ""));
        match key {
            "not run" => self.not_run = Some(value.into()),
            "first" => self.first.push(value.into()),
            "file" => self.file = Some(value.into()),
            "varies" => self.varies.extend(value.split(", ").map(Into::into)),
            "any order" => self.any_order = true,
            "as root" => self.as_root = true,
            "typed" => self.typed = value.split("; ").map(pair).collect::<Result<_>>()?,
            _ => bail!("'{key}' is no mark of a block"),
        }
        Ok(true)
    }

    /// A text as the test types it.
    pub(crate) fn as_typed(&self, text: &str) -> String {
        self.typed.iter().fold(text.to_owned(), |text, (shown, typed)| text.replace(shown, typed))
    }
}

fn pair(text: &str) -> Result<(String, String)> {
    let (shown, typed) = text.split_once(" => ").with_context(|| format!("'{text}' is no TEXT => OTHER"))?;
    Ok((shown.into(), typed.into()))
}
