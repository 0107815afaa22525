//! How programs say that a disk or a quota is full: the system's own words, in both of the spellings that are about, and conda's.

/// A line with one of these says it.
pub const WORDS: [&str; 5] = [
    "No space left on device",
    "no space left on device",
    "Disk quota exceeded",
    "disk quota exceeded",
    "NoSpaceLeftError",
];

/// Whether a line says it.
pub fn is_said(line: &str) -> bool {
    WORDS.iter().any(|words| line.contains(words))
}
