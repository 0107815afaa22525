//! A bar that shows a share of something, in one line of a report.

const FULL: char = '█';
/// Eighths of a character.
const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// `part` of `whole`, in this many characters. What is there at all is seen.
pub(crate) fn bar(part: u64, whole: u64, width: usize) -> String {
    let eighths = u128::from(part.min(whole)) * width as u128 * 8 / u128::from(whole.max(1));
    let eighths = usize::try_from(eighths).unwrap_or(0).max(usize::from(part > 0));
    let drawn: String = std::iter::repeat_n(FULL, eighths / 8).collect();
    let drawn = drawn + PARTS.get(eighths % 8).unwrap_or(&"");
    format!("{drawn:<width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        assert_eq!((bar(0, 9, 4), bar(9, 9, 4), bar(1, 2, 4)), ("    ".into(), "████".into(), "██  ".into()));
        assert_eq!((bar(1, u64::MAX, 3), bar(5, 0, 2)), ("▏  ".into(), "▏ ".into()));
        assert_eq!(bar(3, 4, 2), "█▌");
    }
}
