//! Which of two things shows that have one name, one in the image and one in the layers.

use condatainer_formats::ext::FileType;

/// What shows under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    Nothing,
    /// What the image has.
    Upper,
    /// A directory of both.
    Both,
    /// What the layers have.
    Below,
}

/// What the image has under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upper {
    Nothing,
    Whiteout,
    /// Anything else, and whether it is a directory that hides what is below it.
    Is(FileType, bool),
}

/// The kernel's decisions.
pub(super) fn shows(upper: Upper, below: Option<FileType>) -> Shows {
    match (upper, below) {
        (Upper::Nothing, Some(_)) => Shows::Below,
        (Upper::Nothing | Upper::Whiteout, _) => Shows::Nothing,
        (Upper::Is(FileType::Directory, false), Some(FileType::Directory)) => Shows::Both,
        (Upper::Is(..), _) => Shows::Upper,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FileType::{Directory, Regular};

    #[test]
    fn the_image_decides_and_directories_are_one() {
        let is = |kind, is_opaque| Upper::Is(kind, is_opaque);
        for (upper, below, wanted) in [
            (Upper::Nothing, None, Shows::Nothing),
            (Upper::Nothing, Some(Regular), Shows::Below),
            (Upper::Whiteout, None, Shows::Nothing),
            (Upper::Whiteout, Some(Directory), Shows::Nothing),
            (is(Regular, false), None, Shows::Upper),
            (is(Regular, false), Some(Directory), Shows::Upper),
            (is(Directory, false), Some(Regular), Shows::Upper),
            (is(Directory, false), None, Shows::Upper),
            (is(Directory, false), Some(Directory), Shows::Both),
            (is(Directory, true), Some(Directory), Shows::Upper),
        ] {
            assert_eq!(shows(upper, below), wanted, "{upper:?} {below:?}");
        }
    }
}
