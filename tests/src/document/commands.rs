//! The commands of a block, one by one.

/// A command, and the lines that the document says it prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    pub(crate) text: String,
    pub(crate) prints: Vec<String>,
}

/// The commands of a `console`: lines after `$ `, with the lines that go on after `> `.
pub(crate) fn of_session(lines: &[String]) -> Vec<Typed> {
    let mut found: Vec<Typed> = Vec::new();
    let mut goes_on = false;
    for line in lines {
        let more = line.strip_prefix("> ").filter(|_| goes_on);
        match (line.strip_prefix("$ "), more, found.last_mut()) {
            (Some(command), _, _) => found.push(Typed { text: command.into(), prints: Vec::new() }),
            (None, Some(more), Some(last)) => last.text = format!("{}\n{more}", last.text),
            (None, None, Some(last)) => last.prints.push(line.clone()),
            (None, _, None) => {}
        }
        let was_command = line.starts_with("$ ") || more.is_some();
        goes_on = was_command && found.last().is_some_and(|last| is_open(&last.text));
    }
    found
}

/// The commands of an `sh`: one a line, unless it goes on.
pub(crate) fn of_shell(lines: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in lines {
        match found.last_mut().filter(|_| goes_on) {
            Some(last) => *last = format!("{last}\n{line}"),
            None => found.push(line.clone()),
        }
        goes_on = found.last().is_some_and(|last| is_open(last));
    }
    found.retain(|command| !command.trim().is_empty());
    found
}

/// Whether a command goes on in the next line: a backslash, a quote or a loop is open.
fn is_open(command: &str) -> bool {
    let quotes = command.matches('\'').count();
    let begins = command.starts_with("for ") || command.starts_with("while ") || command.starts_with("until ");
    let ends = command.ends_with("done") || command.contains("done ");
    command.ends_with('\\') || !quotes.is_multiple_of(2) || begins && !ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_session_is_commands_and_what_they_print() {
        let found = of_session(&lines("$ srun \\\n>     true\nout\n> out\n$ false"));
        assert_eq!(found[0], Typed { text: "srun \\\n    true".into(), prints: lines("out\n> out") });
        assert_eq!(found[1], Typed { text: "false".into(), prints: Vec::new() });
    }

    #[test]
    fn a_loop_is_one_command() {
        assert_eq!(
            of_shell(&lines("a\nfor x in y; do\n  b\ndone\n\nc \\\n  d")),
            ["a", "for x in y; do\n  b\ndone", "c \\\n  d"]
        );
    }
}
