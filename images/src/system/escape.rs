//! Names for a terminal or a log: any bytes go in, nothing that a terminal obeys comes out, and no line is begun.
//!
//! The command and the plugin both say their lines through it, so that a name looks alike at the prompt and in slurmd's log.

use std::fmt::Write;

/// The name with everything escaped that is no visible text; a backslash too, so that the escaped form is unambiguous.
#[must_use]
pub fn escape(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        chunk.valid().chars().for_each(|c| put(&mut text, c));
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// A message: on one line, and without the system's numbers.
#[must_use]
pub fn message(text: &str) -> String {
    one_line(&without_numbers(text))
}

/// A text without the numbers that Rust writes behind the system's words, as in `Permission denied (os error 13)`.
#[must_use]
pub fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut said = String::from(parts.next().unwrap_or_default());
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => said.push_str(rest),
            _ => said.extend([" (os error ", part]),
        }
    }
    said
}

/// Text that has a stranger's names in it, on one line: what a terminal would obey is escaped, anything else stays as it is.
#[must_use]
pub fn one_line(text: &str) -> String {
    let shown = |c: char| if is_hidden(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// A word as bash and zsh read it back, on one line and without what a terminal would obey.
#[must_use]
pub fn shell_word(word: &str) -> String {
    if let (false, Ok(quoted)) = (word.contains(is_hidden), shlex::try_quote(word)) {
        return quoted.into_owned();
    }
    let mut text = String::from("$'");
    for c in word.chars() {
        match c {
            '\\' | '\'' => text.extend(['\\', c]),
            c if is_hidden(c) => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(text, "\\x{byte:02x}");
                }
            }
            c => text.push(c),
        }
    }
    text + "'"
}

/// A command line as a shell reads it back: its words, quoted where they need it. A word that no command can have (with a NUL in
/// it) leaves all as they are.
#[must_use]
pub fn shell_words<W: AsRef<str>>(words: &[W]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    shlex::try_join(words.iter().copied()).unwrap_or_else(|_| words.join(" "))
}

fn is_hidden(c: char) -> bool {
    c.is_control() || changes_the_order(c)
}

fn put(text: &mut String, c: char) {
    match c {
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\t' => text.push_str("\\t"),
        c if c.is_ascii_control() => {
            let _ = write!(text, "\\x{:02x}", u32::from(c));
        }
        c if is_hidden(c) => {
            let _ = write!(text, "\\u{{{:x}}}", u32::from(c));
        }
        c => text.push(c),
    }
}

/// Characters that are invisible, end a line, or make a name read otherwise than it is written.
fn changes_the_order(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::{escape, message, one_line, shell_word, shell_words};

    #[test]
    fn text_stays_and_everything_else_is_visible() {
        assert_eq!(escape("straße/日本 'x\"".as_bytes()), "straße/日本 'x\"");
        assert_eq!(escape(b"a\x1b[31m\n\\\xff\x7f"), r"a\x1b[31m\n\\\xff\x7f");
        assert_eq!(escape("\u{9b}\u{202e}".as_bytes()), r"\u{9b}\u{202e}");
    }

    #[test]
    fn a_shell_reads_the_same_word() {
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("a\u{1b}[2J\n'\\\u{202e}"), r"$'a\x1b[2J\x0a\'\\\xe2\x80\xae'");
        for word in ["plain", "it's", "a\nb\u{1b}'\\", "\u{202e}ß"] {
            let mut bash = std::process::Command::new("bash");
            let printed = bash.args(["-c", &format!("printf %s {}", shell_word(word))]).output().unwrap().stdout;
            assert_eq!(printed, word.as_bytes());
        }
    }

    #[test]
    fn words_are_quoted_where_they_need_it() {
        assert_eq!(shell_words(&["ls", "-l", "a b", ""]), "ls -l 'a b' ''");
        assert_eq!(shell_words(&[String::from("a b\0")]), "a b\0");
    }

    #[test]
    fn a_message_has_the_systems_words_and_no_numbers() {
        let error = std::io::Error::from_raw_os_error(13);
        assert_eq!(
            message(&format!("a.img: {error}: and\n{error}")),
            "a.img: Permission denied: and\\nPermission denied"
        );
        assert_eq!(message("a (os error x).img (os error 2"), "a (os error x).img (os error 2");
    }

    #[test]
    fn a_line_is_one_line_whatever_it_names() {
        assert_eq!(one_line("a\nb\u{1b}[2J.img: is größer"), "a\\nb\\u{1b}[2J.img: is größer");
        assert_eq!(one_line("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(one_line("Größe \"x\" \\ \u{202e}"), "Größe \"x\" \\ \\u{202e}");
    }
}
