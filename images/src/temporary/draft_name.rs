//! The names of drafts: hidden, and so odd that nobody names a file like this by himself.

use std::ffi::OsStr;

/// Between the name of the target and the random letters; nobody names a file like this by himself.
pub(super) const MARK: &str = ".condatainer-";
/// How many random letters follow.
pub(super) const RANDOM: usize = 6;
/// Bytes of the target's name that are used, so that the whole stays a possible name, of 255 bytes.
pub(super) const LONGEST_NAME: usize = 200;

/// What a draft is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file that was not there.
    New,
    /// The image in another size.
    Resized,
    /// The image in order.
    Repaired,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::New, Self::Resized, Self::Repaired];

    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::New => ".new",
            Self::Resized => ".resizing",
            Self::Repaired => ".check",
        }
    }
}

/// What comes before the random letters.
pub(super) fn prefix(target: &OsStr) -> String {
    let name = target.to_string_lossy();
    let ends = name.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|&end| end <= LONGEST_NAME).last().unwrap_or(0);
    format!(".{}{MARK}", name.get(..end).unwrap_or_default())
}

/// Whether a file of this name is a draft.
pub(super) fn is_draft_name(name: &OsStr) -> bool {
    let inner = name.to_str().and_then(|name| without_suffix(name.strip_prefix('.')?)?.rsplit_once(MARK));
    inner.is_some_and(|(name, random)| {
        !name.is_empty() && random.len() == RANDOM && random.chars().all(|c| c.is_ascii_alphanumeric())
    })
}

fn without_suffix(name: &str) -> Option<&str> {
    Kind::ALL.iter().find_map(|kind| name.strip_suffix(kind.suffix()))
}
