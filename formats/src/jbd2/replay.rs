//! What a replay comes to: for each block that the journal has, where in the journal its content lies.

use super::superblock::MAGIC;

/// Where a block's content lies in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The block of the file system.
    pub block: u64,
    /// The block of the journal, counted within it.
    pub at: u32,
    /// Its first four bytes are not in the journal: they are [`Place::ESCAPED`].
    pub is_escaped: bool,
}

impl Place {
    /// What a block begins with that is escaped.
    pub const ESCAPED: [u8; 4] = MAGIC.to_be_bytes();
}

/// Where the content of blocks lies that are newer in the journal than in their places.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// Blocks of the file system, by rising number.
    blocks: Vec<u64>,
    /// Where each lies: twice the block of the journal, and one more where it is escaped.
    places: Vec<u32>,
    /// How many transactions were found sound.
    pub transactions: u32,
    /// The number that the next transaction may have: none in the log has it or a later one, not even one that was torn.
    pub next_sequence: u32,
}

impl Replay {
    /// Of a log whose transactions from number `first` on, and before number `end`, are sound.
    pub(super) fn of(mut places: Vec<Place>, first: u32, end: u32) -> Self {
        places.sort_unstable_by_key(|place| place.block);
        let pack = |place: &Place| place.at << 1 | u32::from(place.is_escaped);
        let (blocks, packed) = places.iter().map(|place| (place.block, pack(place))).unzip();
        Self { blocks, places: packed, transactions: end.wrapping_sub(first), next_sequence: end.wrapping_add(1) }
    }

    /// How many blocks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The first of the blocks from `block` on.
    #[must_use]
    pub fn next_from(&self, block: u64) -> Option<Place> {
        let index = self.blocks.partition_point(|known| *known < block);
        let (block, packed) = self.blocks.get(index).zip(self.places.get(index))?;
        Some(Place { block: *block, at: packed >> 1, is_escaped: packed & 1 != 0 })
    }
}
