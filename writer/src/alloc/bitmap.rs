//! Bits of a bitmap, 64 at a time.

use std::ops::Range;

/// The next run of clear bits in a range. Bits that the bitmap does not have count as set.
pub(super) fn clear_run(bitmap: &[u8], range: Range<u32>) -> Option<Range<u32>> {
    let start = next(bitmap, range.clone(), false)?;
    let end = next(bitmap, start..range.end, true).unwrap_or(range.end);
    Some(start..end)
}

/// The first bit in a range that is set, or clear.
fn next(bitmap: &[u8], range: Range<u32>, is_set: bool) -> Option<u32> {
    let (chunks, _) = bitmap.as_chunks::<8>();
    let end = range.end.min(u32::try_from(chunks.len() * 64).unwrap_or(u32::MAX));
    let mut bit = range.start;
    while bit < end {
        let word = u64::from_le_bytes(*chunks.get((bit / 64) as usize)?);
        let wanted = if is_set { word } else { !word } >> (bit % 64);
        if wanted != 0 {
            return Some(bit + wanted.trailing_zeros()).filter(|found| *found < end);
        }
        bit = (bit / 64 + 1) * 64;
    }
    // Behind the end of the bitmap all is taken.
    (is_set && end < range.end).then_some(end.max(range.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_those_that_a_bit_by_bit_look_finds() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let bytes: Vec<u8> = (0..32).map(|_| *random.choice(&[0, 0, 0xFF, 0xFF, 0x81, 0x10]).unwrap()).collect();
            let is_clear = |bit: &u32| bytes[*bit as usize / 8] >> (bit % 8) & 1 == 0;
            let range = random.u32(0..256)..random.u32(0..=256);
            let start = range.clone().find(is_clear);
            let slow = start.map(|start| start..(start..range.end).find(|bit| !is_clear(bit)).unwrap_or(range.end));
            assert_eq!(clear_run(&bytes, range), slow);
        }
    }

    #[test]
    fn there_is_nothing_behind_the_end() {
        assert_eq!(clear_run(&[0; 8], 60..200), Some(60..64));
        assert_eq!(clear_run(&[0; 8], 64..200), None);
        assert_eq!(clear_run(&[], 0..8), None);
        assert_eq!(clear_run(&[0xFF; 16], 0..128), None);
    }
}
