//! The fenced blocks of a document.

use anyhow::{Context, Result, ensure};

use crate::document::marks::Marks;

/// What only shows something: no commands.
const SHOWN: [&str; 8] = ["text", "toml", "json", "yaml", "csh", "c", "groovy", "html"];

/// One fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The number of its first line.
    pub line: usize,
    /// What stands behind the fence.
    pub language: String,
    /// Its lines, without the indentation of the fence.
    pub lines: Vec<String>,
    pub(crate) marks: Marks,
}

impl Block {
    /// Whether its commands are run, or its file is written.
    #[must_use]
    pub fn is_run(&self) -> bool {
        self.marks.not_run.is_none() && (self.has_commands() || self.marks.file.is_some())
    }

    /// Whether a reader types what stands in it.
    #[must_use]
    pub fn has_commands(&self) -> bool {
        self.marks.file.is_none() && matches!(self.language.as_str(), "sh" | "console")
    }

    /// Why it is not run.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.marks.not_run.as_deref()
    }

    fn check(&self) -> Result<()> {
        let language = self.language.as_str();
        ensure!(!language.is_empty(), "it does not say what it is: ```sh, ```console, ```text …");
        ensure!(self.reason() != Some(""), "it does not say why it is not run");
        let is_decided = self.marks.file.is_some() || self.reason().is_some();
        ensure!(
            is_decided || ["sh", "console"].contains(&language) || SHOWN.contains(&language),
            "```{language} is neither a file (<!-- file: NAME -->) nor known"
        );
        let command = self.lines.iter().find(|line| language == "text" && is_typed(line));
        ensure!(
            is_decided || self.has_commands() || command.is_none(),
            "a command in a ```{language} is not run: {command:?}"
        );
        ensure!(
            language != "console" || self.lines.first().is_some_and(|line| line.starts_with("$ ")),
            "a ```console begins with '$ COMMAND'"
        );
        Ok(())
    }
}

/// Whether a line is what somebody types, and no synopsis.
fn is_typed(line: &str) -> bool {
    let is_command =
        ["$ ", "condatainer ", "srun ", "sbatch ", "apptainer ", "make "].iter().any(|word| line.starts_with(word));
    is_command && !line.contains("...")
}

/// The blocks of a text.
///
/// # Errors
/// When a block does not end or says not what it is, or a mark is unknown or stands before no block.
pub fn blocks(text: &str) -> Result<Vec<Block>> {
    let mut found = Vec::new();
    let mut marks = Marks::default();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let at = || format!("line {}", number + 1);
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let indent = line.len() - line.trim_start().len();
            let mut block = Block {
                line: number + 1,
                language: language.into(),
                lines: Vec::new(),
                marks: std::mem::take(&mut marks),
            };
            loop {
                let (_, line) = lines.next().with_context(at).context("the block does not end")?;
                if line.trim() == "```" {
                    break;
                }
                block.lines.push(line.get(indent..).unwrap_or_default().into());
            }
            block.check().with_context(at)?;
            found.push(block);
        } else {
            let is_mark = marks.take(line).with_context(at)?;
            ensure!(is_mark || marks == Marks::default(), "{}: marks stand directly before a block", at());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_belong_to_the_next_block() {
        let text = "a\n<!-- first: true -->\n<!-- varies: 1, 2 -->\n```console\n$ echo 1\n1\n```\n\n- b\n\n  ```sh\n  true\n  ```\n";
        let found = blocks(text).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].line, found[0].marks.first.as_slice()), (4, ["true".to_owned()].as_slice()));
        assert_eq!(found[0].marks.varies, ["1", "2"]);
        assert_eq!((found[1].lines.as_slice(), &found[1].marks), (["true".to_owned()].as_slice(), &Marks::default()));
    }

    #[test]
    fn what_nobody_decided_is_an_error() {
        for wrong in [
            "```\nx\n```",
            "```bash\nx\n```",
            "```text\ncondatainer o\n```",
            "```console\nx\n```",
            "```sh\ntrue",
            "<!-- not run: -->\n```sh\ntrue\n```",
            "<!-- never: x -->\n```sh\ntrue\n```",
            "<!-- as root -->\n\n```sh\ntrue\n```",
        ] {
            assert!(blocks(wrong).is_err(), "{wrong}");
        }
        assert!(blocks("<!-- not run: no network -->\n```sh\ntrue\n```").unwrap()[0].reason() == Some("no network"));
    }
}
