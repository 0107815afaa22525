//! Files with large holes: the form in which mksquashfs takes them without being sent all the zeros.
//!
//! GNU's old form (`S`) is the one that every release since 4.5 reads, if some of its habits are respected: the first piece is
//! not rounded up to 512 bytes, an offset of 0 ends the list after it, and a file must not end in a hole.

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use condatainer_formats::ext::Extent;

/// Smaller holes are sent as zeros, which costs less than a second.
const WORTH: u64 = 64 << 20;
const BLOCK: u64 = 512;

/// Content that is sent; what lies between two pieces is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Piece {
    fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// The pieces of a file of `size` bytes, followed by an empty one at its end; `None` where sending all of it is as good.
pub(super) fn pieces(extents: &[Extent], size: u64) -> Option<Vec<Piece>> {
    let on_disk: u64 = extents.iter().map(|extent| extent.length).sum();
    if size.saturating_sub(on_disk) < WORTH {
        return None;
    }
    let mut pieces = vec![Piece { offset: 0, length: 0 }];
    for extent in extents.iter().filter(|extent| extent.length > 0) {
        add(&mut pieces, Piece { offset: extent.offset, length: extent.length });
    }
    if pieces.last().is_some_and(|last| last.end() < size) {
        let offset = (size - 1) / BLOCK * BLOCK;
        add(&mut pieces, Piece { offset, length: size - offset });
    }
    pieces.push(Piece { offset: size, length: 0 });
    Some(pieces)
}

fn add(pieces: &mut Vec<Piece>, piece: Piece) {
    match pieces.last_mut() {
        Some(last) if last.end() == piece.offset => last.length += piece.length,
        _ => pieces.push(piece),
    }
}

/// Puts the pieces into a header, and those that find no room there into blocks that follow it.
pub(super) fn describe(mut header: Header, pieces: &[Piece], size: u64) -> (Header, Vec<u8>) {
    let Some(gnu) = header.as_gnu_mut() else { return (header, Vec::new()) };
    gnu.set_real_size(size);
    let (first, rest) = pieces.split_at(pieces.len().min(gnu.sparse.len()));
    fill(&mut gnu.sparse, first);
    gnu.set_is_extended(!rest.is_empty());
    let mut more = Vec::new();
    let mut left = rest.len();
    for part in rest.chunks(GnuExtSparseHeader::new().sparse.len()) {
        left -= part.len();
        let mut block = GnuExtSparseHeader::new();
        fill(&mut block.sparse, part);
        block.set_is_extended(left > 0);
        more.extend(block.as_bytes());
    }
    (header, more)
}

fn fill(slots: &mut [GnuSparseHeader], pieces: &[Piece]) {
    for (slot, piece) in slots.iter_mut().zip(pieces) {
        slot.set_offset(piece.offset);
        slot.set_length(piece.length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn of(extents: &[(u64, u64)], size: u64) -> Option<Vec<(u64, u64)>> {
        let extents: Vec<_> = extents.iter().map(|&(offset, length)| Extent { offset, length }).collect();
        pieces(&extents, size).map(|pieces| pieces.iter().map(|piece| (piece.offset, piece.length)).collect())
    }

    #[test]
    fn small_holes_are_not_worth_it() {
        assert_eq!(of(&[(0, 4096)], 4096), None);
        assert_eq!(of(&[(0, 4096), (1 << 20, 4096)], 2 << 20), None);
    }

    #[test]
    fn neighbours_are_one_piece() {
        let found = of(&[(0, 4096), (4096, 8192), (GIB, 100)], GIB + 100);
        assert_eq!(found, Some(vec![(0, 12288), (GIB, 100), (GIB + 100, 0)]));
    }

    #[test]
    fn a_file_never_ends_in_a_hole() {
        assert_eq!(of(&[], GIB), Some(vec![(0, 0), (GIB - 512, 512), (GIB, 0)]));
        assert_eq!(of(&[(4096, 4096)], GIB + 1), Some(vec![(0, 0), (4096, 4096), (GIB, 1), (GIB + 1, 0)]));
    }

    #[test]
    fn many_pieces_go_into_blocks_of_their_own() {
        let pieces: Vec<_> = (0..30).map(|i| Piece { offset: i * GIB, length: 512 }).collect();
        let (header, more) = describe(Header::new_gnu(), &pieces, 30 * GIB);
        assert!(header.as_gnu().unwrap().is_extended());
        assert_eq!(more.len(), 2 * 512);
        assert_eq!((more[504], more[512 + 504]), (1, 0));
    }
}
