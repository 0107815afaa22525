//! Places in the tables of an image.

/// The place of something in a table of metadata: its block, from the start of the table, and the offset in the block's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference(pub(super) u64);

impl Reference {
    /// As a number of 48 bits, the same for all names of an inode.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// What [`Reference::number`] gave.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(number & ((1 << 48) - 1))
    }

    pub(super) fn new(block: u32, within: u16) -> Self {
        Self(u64::from(block) << 16 | u64::from(within))
    }

    pub(super) fn block(self) -> u64 {
        self.0 >> 16
    }

    pub(super) fn within(self) -> usize {
        usize::try_from(self.0 & 0xFFFF).unwrap_or(usize::MAX)
    }
}
