//! Names for a terminal: any bytes go in, nothing that a terminal obeys comes out.

use std::fmt::Write;

/// The name with everything escaped that is no visible text; a backslash too, so that the escaped form is unambiguous.
pub(crate) fn escape(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        chunk.valid().chars().for_each(|c| put(&mut text, c));
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Text that has a stranger's names in it, on one line: what a terminal would obey is escaped, anything else stays as it is.
pub(crate) fn one_line(text: &str) -> String {
    let shown = |c: char| if is_hidden(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
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
    use super::{escape, one_line};

    #[test]
    fn text_stays_and_everything_else_is_visible() {
        assert_eq!(escape("straße/日本 'x\"".as_bytes()), "straße/日本 'x\"");
        assert_eq!(escape(b"a\x1b[31m\n\\\xff\x7f"), r"a\x1b[31m\n\\\xff\x7f");
        assert_eq!(escape("\u{9b}\u{202e}".as_bytes()), r"\u{9b}\u{202e}");
    }

    #[test]
    fn a_line_is_one_line_whatever_it_names() {
        assert_eq!(one_line("a\nb\u{1b}[2J.img: is größer"), "a\\nb\\u{1b}[2J.img: is größer");
        assert_eq!(one_line("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(one_line("Größe \"x\" \\ \u{202e}"), "Größe \"x\" \\ \\u{202e}");
    }
}
