//! The last lines of a program's output, which are shown where it fails, and the cut of the one that becomes the message.

use std::collections::VecDeque;

/// A longer reason is cut, in characters.
const LONGEST: usize = 300;

/// See the module.
#[derive(Debug)]
pub(super) struct LastLines {
    kept: usize,
    lines: VecDeque<String>,
}

impl LastLines {
    /// Keeps so many.
    pub(super) fn new(kept: usize) -> Self {
        Self { kept, lines: VecDeque::new() }
    }

    pub(super) fn hear(&mut self, line: &str) {
        self.lines.push_back(line.into());
        if self.lines.len() > self.kept {
            self.lines.pop_front();
        }
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    pub(super) fn newest(&self) -> Option<&str> {
        self.lines.back().map(String::as_str)
    }

    pub(super) fn to_vec(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

/// As much of a line as a message holds.
pub(super) fn cut(line: &str) -> String {
    let cut: String = line.chars().take(LONGEST).collect();
    if cut.len() < line.len() { format!("{cut}…") } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut last = LastLines::new(2);
        assert_eq!(last.newest(), None);
        ["a", "b", "c"].iter().for_each(|line| last.hear(line));
        assert_eq!((last.to_vec(), last.newest()), (vec!["b".into(), "c".into()], Some("c")));
        assert_eq!((cut("ä"), cut(&"ä".repeat(301))), ("ä".into(), "ä".repeat(300) + "…"));
    }
}
