//! What a resize is asked for.

use super::size::Wish;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The size.
    pub wish: Wish,
    /// Changes the image itself instead of a copy, which a kill or a crash can damage.
    pub in_place: bool,
    /// Looks, and changes nothing.
    pub dry_run: bool,
}

impl Request {
    /// The safe way.
    #[must_use]
    pub fn new(wish: Wish) -> Self {
        Self { wish, in_place: false, dry_run: false }
    }
}
