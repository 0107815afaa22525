//! Blocks as texts for a shell, and what a shell answers.

use anyhow::{Context, Result};

use crate::document::block::Block;
use crate::document::commands::{of_session, of_shell};
use crate::document::compare::differs;

/// What stands around each answer.
const BEGIN: char = '\u{1e}';
const END: char = '\u{1f}';

/// Runs a command in this very shell, so that the next one finds its variables and its directory.
const SHELL: &str = "shopt -s expand_aliases; t=$(mktemp -d); n=0
typed() { n=$((n + 1)); eval \"$1\" > $t/$n 2>&1 < /dev/null; printf '\\036%s\\036' $?; cat $t/$n; printf '\\037'; }\n";

/// Commands that one user types one after the other.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Whether that is root.
    pub as_root: bool,
    commands: Vec<Command>,
}

#[derive(Clone, Debug)]
struct Command {
    line: usize,
    text: String,
    /// What it prints, if the document shows it; else it has to succeed.
    prints: Option<Vec<String>>,
    varies: Vec<String>,
    any_order: bool,
}

/// What came of a command.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    /// The exit code.
    pub code: &'a str,
    /// Both outputs.
    pub output: &'a str,
}

/// The commands of these blocks, by who types them.
#[must_use]
pub fn runs(blocks: &[Block]) -> Vec<Run> {
    let mut all: Vec<Run> = Vec::new();
    for block in blocks.iter().filter(|block| block.is_run()) {
        if all.last().is_none_or(|run| run.as_root != block.marks.as_root) {
            all.push(Run { as_root: block.marks.as_root, commands: Vec::new() });
        }
        if let Some(run) = all.last_mut() {
            run.commands.extend(commands(block));
        }
    }
    all
}

fn commands(block: &Block) -> Vec<Command> {
    let marks = &block.marks;
    let command = |text: String, prints: Option<Vec<String>>| Command {
        line: block.line,
        text,
        prints,
        varies: marks.varies.clone(),
        any_order: marks.any_order,
    };
    let mut all: Vec<Command> = marks.first.iter().map(|text| command(text.clone(), None)).collect();
    let lines: Vec<String> = block.lines.iter().map(|line| marks.as_typed(line)).collect();
    if let Some(file) = &marks.file {
        all.push(command(writing(file, &lines), None));
    } else if block.language == "console" {
        all.extend(of_session(&lines).into_iter().map(|typed| command(typed.text, Some(typed.prints))));
    } else {
        all.extend(of_shell(&lines).into_iter().map(|text| command(text, None)));
    }
    all
}

/// Writes a file, its directory first.
fn writing(file: &str, lines: &[String]) -> String {
    let path = file.strip_prefix("~/").map_or_else(|| quoted(file), |rest| format!("\"$HOME\"/{}", quoted(rest)));
    format!(
        "mkdir -p \"$(dirname {path})\" && printf '%s\\n' {} > {path} && chmod 755 {path}",
        quoted(&lines.join("\n"))
    )
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

impl Run {
    /// A text for bash that types all of it.
    #[must_use]
    pub fn script(&self) -> String {
        let typed = self.commands.iter().map(|command| format!("typed {}\n", quoted(&command.text)));
        format!("{SHELL}{}kill $(jobs -p) 2> /dev/null; wait; rm -rf $t; true\n", typed.collect::<String>())
    }

    /// How the document is wrong, line by line.
    ///
    /// # Errors
    /// When the output has no answer for each command.
    pub fn wrong(&self, output: &str) -> Result<Vec<String>> {
        let answers = answers(output);
        let mut wrong = Vec::new();
        for (number, command) in self.commands.iter().enumerate() {
            let answer = answers
                .get(number)
                .with_context(|| format!("no answer to line {}: {}\n{output}", command.line, command.text))?;
            wrong
                .extend(command.wrong(answer).map(|words| format!("line {}: {}\n{words}", command.line, command.text)));
        }
        Ok(wrong)
    }
}

impl Command {
    fn wrong(&self, answer: &Answer) -> Option<String> {
        match &self.prints {
            None => (answer.code != "0").then(|| format!("exit code {}\n{}", answer.code, answer.output)),
            Some(shown) => {
                let came = answer.output.lines().filter(|line| !is_of_queue(line)).map(str::to_owned);
                let came: Vec<String> = came.collect();
                differs(shown, &came, &self.varies, self.any_order)
            }
        }
    }
}

/// Whether it is srun's word that the job before this one had not given its processors back yet.
fn is_of_queue(line: &str) -> bool {
    let word = line.strip_prefix("srun: job ").and_then(|rest| rest.split_once(' '));
    word.is_some_and(|(_, word)| ["queued and waiting for resources", "has been allocated resources"].contains(&word))
}

fn answers(output: &str) -> Vec<Answer<'_>> {
    let parts = output.split(END).filter_map(|part| part.split_once(BEGIN)?.1.split_once(BEGIN));
    parts.map(|(code, output)| Answer { code, output }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::block::blocks;

    fn wrong(text: &str) -> Vec<String> {
        let runs = runs(&blocks(text).unwrap());
        let output = std::process::Command::new("bash").arg("-c").arg(runs[0].script()).output().unwrap();
        runs[0].wrong(&String::from_utf8(output.stdout).unwrap()).unwrap()
    }

    #[test]
    fn one_shell_types_all() {
        assert!(
            wrong("```console\n$ x=1; echo $x; false\n1\n```\n<!-- first: y=2 -->\n```console\n$ echo $x$y\n12\n```\n")
                .is_empty()
        );
        assert!(wrong("<!-- typed: seven => 7 -->\n```console\n$ echo seven\nseven\n```\n").is_empty());
    }

    #[test]
    fn what_is_not_as_shown_is_said() {
        let said = wrong("```sh\ntrue\nfalse\n```\n```console\n$ echo a\nb\n```\n");
        assert_eq!(said.len(), 2);
        assert!(
            said[0].starts_with("line 1: false\nexit code 1") && said[1].ends_with("shown:\nb\ncame:\na"),
            "{said:?}"
        );
        let queue = "srun: job 7 queued and waiting for resources";
        assert!(wrong(&format!("```console\n$ echo '{queue}'; echo a\na\n```\n")).is_empty());
    }
}
