//! A writer for JSON that leaves no control character to a terminal: JSON escapes those of ASCII, but for the last, and none of
//! the C1 range, which some terminals obey too. They occur in strings only, so that escaping them changes no meaning.

use std::io::{self, Write};

/// The first byte of a C1 control character in UTF-8.
const C1: u8 = 0xC2;
const DELETE: u8 = 0x7F;

/// Passes text on, with these characters as `\u00XX`. A character must not be split between two writes.
pub(crate) struct Escaping<W>(pub(crate) W);

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut rest = text;
        while let Some(at) = rest.iter().position(|byte| matches!(*byte, C1 | DELETE)) {
            let (before, from) = rest.split_at(at);
            self.0.write_all(before)?;
            rest = match from {
                [C1, second @ 0x80..=0x9F, after @ ..] => self.escaped(*second, after)?,
                [DELETE, after @ ..] => self.escaped(DELETE, after)?,
                [other, after @ ..] => self.0.write_all(&[*other]).map(|()| after)?,
                [] => from,
            };
        }
        self.0.write_all(rest)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> Escaping<W> {
    fn escaped<'a>(&mut self, character: u8, after: &'a [u8]) -> io::Result<&'a [u8]> {
        write!(self.0, "\\u{character:04x}").map(|()| after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_json_and_has_no_control_characters() {
        let name = "a\u{7f}b\u{80}\u{9b}31m\u{a0}ß\u{1b}";
        let mut out = Vec::new();
        serde_json::to_writer(Escaping(&mut out), name).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "\"a\\u007fb\\u0080\\u009b31m\u{a0}ß\\u001b\"");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), name);
    }
}
