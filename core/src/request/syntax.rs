//! What layers and binds have in common as they are written: lists, a backslash before what does not separate, and paths from where
//! the caller is.

use std::path::{Path, PathBuf};

/// The parts between separators that no backslash escapes; their own escapes are left in place.
pub(super) fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let ends = unescaped(text, separator).chain([text.len()]);
    ends.scan(0, move |start, end| Some(&text[std::mem::replace(start, end + 1)..end]))
}

/// Offsets of `wanted` where no backslash stands directly before it.
pub(super) fn unescaped(text: &str, wanted: char) -> impl Iterator<Item = usize> {
    text.char_indices()
        .scan('\0', |before, (at, c)| Some((std::mem::replace(before, c), at, c)))
        .filter(move |(before, _, c)| *c == wanted && *before != '\\')
        .map(|(_, at, _)| at)
}

/// Takes the backslash away from `\,` and `\:`; any other backslash belongs to the name.
pub(super) fn unescape(text: &str) -> String {
    text.replace("\\,", ",").replace("\\:", ":")
}

/// The inverse of [`unescape`].
pub(super) fn escape(path: &Path) -> String {
    path.display().to_string().replace(',', "\\,").replace(':', "\\:")
}

/// The same path from the root: relative to `cwd`, `~/` to `home`; `None` for the latter where there is no home.
pub(super) fn absolute(path: &Path, cwd: &Path, home: Option<&Path>) -> Option<PathBuf> {
    match path.strip_prefix("~") {
        Ok(rest) => Some(home?.join(rest)),
        Err(_) => Some(cwd.join(path)),
    }
}
