//! How long a file can be.

use super::path::{DIRECT, addressable};
use crate::geometry::Geometry;

/// The longest that a file can be, in bytes: as far as its map leads, and as many blocks as `i_blocks` can count, blocks of pointers
/// included.
pub(crate) fn longest(geometry: &Geometry) -> u64 {
    let (block_size, n) = (u64::from(geometry.sb.block_size), geometry.pointers_per_block());
    let counted = u64::from(u32::MAX) / (block_size / 512);
    let all = addressable(n);
    let of_pointers = 1 + (1 + n) + (1 + n + n * n);
    if all + of_pointers <= counted {
        return all * block_size;
    }
    // The kernel counts the blocks of pointers that lead to all that can be counted, and takes these away.
    let behind_first = counted - DIRECT - n;
    let of_pointers = if behind_first < n * n {
        1 + 1 + behind_first.div_ceil(n)
    } else {
        let behind_second = behind_first - n * n;
        1 + (1 + n) + 1 + behind_second.div_ceil(n) + behind_second.div_ceil(n * n)
    };
    (counted - of_pointers) * block_size
}
