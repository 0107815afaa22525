//! File names for a terminal: any bytes go in, nothing that a terminal obeys comes out.

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

fn put(text: &mut String, c: char) {
    match c {
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\t' => text.push_str("\\t"),
        c if c.is_ascii_control() => {
            let _ = write!(text, "\\x{:02x}", u32::from(c));
        }
        c if c.is_control() || changes_the_order(c) => {
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
    use super::escape;

    #[test]
    fn text_stays_and_everything_else_is_visible() {
        assert_eq!(escape("straße/日本 'x\"".as_bytes()), "straße/日本 'x\"");
        assert_eq!(escape(b"a\x1b[31m\n\\\xff\x7f"), r"a\x1b[31m\n\\\xff\x7f");
        assert_eq!(escape("\u{9b}\u{202e}".as_bytes()), r"\u{9b}\u{202e}");
    }
}
