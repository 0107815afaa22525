//! Where a file's blocks lie in the backing file.

use std::collections::BTreeMap;

/// Pieces of a file by their first block; what is in none of them is a hole. Most files are one piece, which takes no memory of its own.
#[derive(Debug, Default)]
pub(super) enum Extents {
    #[default]
    None,
    One(u64, Piece),
    Many(BTreeMap<u64, Piece>),
}

/// Blocks that lie together in the file and in the backing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// First block in the backing file.
    pub(super) at: u64,
    /// How many.
    pub(super) len: u64,
}

/// What a file has from a block on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The rest of a piece.
    Data(Piece),
    /// A hole, of so many blocks if anything follows.
    Hole(Option<u64>),
}

impl Extents {
    /// What is at `block` and behind it.
    pub(super) fn part(&self, block: u64) -> Part {
        match self.before(block + 1) {
            Some((first, piece)) if block < first + piece.len => {
                Part::Data(Piece { at: piece.at + (block - first), len: first + piece.len - block })
            }
            _ => Part::Hole(self.next(block).map(|(first, _)| first - block)),
        }
    }

    /// The block of the backing file that follows what lies before `block`.
    pub(super) fn goal(&self, block: u64) -> Option<u64> {
        let (first, piece) = self.before(block)?;
        (first + piece.len == block).then_some(piece.at + piece.len)
    }

    /// Adds blocks where there is a hole.
    pub(super) fn insert(&mut self, block: u64, piece: Piece) {
        if let Some((first, before)) = self.before(block)
            && first + before.len == block
            && before.at + before.len == piece.at
        {
            return self.set(first, Piece { at: before.at, len: before.len + piece.len });
        }
        self.set(block, piece);
    }

    /// Takes the blocks from `from` to before `to` away, and returns where they were.
    pub(super) fn remove(&mut self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut gone = Vec::new();
        while let Some((first, piece)) = self.before(to)
            && first + piece.len > from
        {
            let (begin, end) = (first.max(from), (first + piece.len).min(to));
            self.unset(first);
            if first < begin {
                self.set(first, Piece { at: piece.at, len: begin - first });
            }
            if end < first + piece.len {
                self.set(end, Piece { at: piece.at + (end - first), len: first + piece.len - end });
            }
            gone.push((piece.at + (begin - first), end - begin));
        }
        gone
    }

    fn before(&self, block: u64) -> Option<(u64, Piece)> {
        match self {
            Self::None => None,
            Self::One(first, piece) => (*first < block).then_some((*first, *piece)),
            Self::Many(map) => map.range(..block).next_back().map(|(&first, &piece)| (first, piece)),
        }
    }

    fn next(&self, block: u64) -> Option<(u64, Piece)> {
        match self {
            Self::None => None,
            Self::One(first, piece) => (*first >= block).then_some((*first, *piece)),
            Self::Many(map) => map.range(block..).next().map(|(&first, &piece)| (first, piece)),
        }
    }

    fn set(&mut self, block: u64, piece: Piece) {
        match self {
            Self::None => *self = Self::One(block, piece),
            Self::One(first, only) if *first == block => *only = piece,
            Self::One(first, only) => {
                *self = Self::Many(BTreeMap::from([(*first, *only), (block, piece)]));
            }
            Self::Many(map) => {
                map.insert(block, piece);
            }
        }
    }

    fn unset(&mut self, block: u64) {
        match self {
            Self::None => {}
            Self::One(..) => *self = Self::None,
            Self::Many(map) => {
                map.remove(&block);
                if map.is_empty() {
                    *self = Self::None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_and_are_cut() {
        let mut extents = Extents::default();
        extents.insert(0, Piece { at: 100, len: 4 });
        assert_eq!(extents.goal(4), Some(104));
        extents.insert(4, Piece { at: 104, len: 4 });
        assert!(matches!(extents, Extents::One(0, Piece { at: 100, len: 8 })));
        extents.insert(20, Piece { at: 7, len: 1 });
        assert_eq!(extents.part(6), Part::Data(Piece { at: 106, len: 2 }));
        assert_eq!(extents.part(9), Part::Hole(Some(11)));
        assert_eq!(extents.remove(2, 3), [(102, 1)]);
        assert_eq!(extents.part(2), Part::Hole(Some(1)));
        assert_eq!(extents.part(3), Part::Data(Piece { at: 103, len: 5 }));
        assert_eq!(extents.remove(0, u64::MAX), [(7, 1), (103, 5), (100, 2)]);
        assert!(matches!(extents, Extents::None));
    }
}
