//! The hashes that index a directory: legacy, half MD4 and TEA, as every ext driver computes them.
//!
//! Names are ASCII here, so the signed and unsigned variants are one.

/// Which hash a directory uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Legacy,
    HalfMd4,
    Tea,
}

impl Hash {
    /// From the version byte of the index root; `None` for the keyed hash of encrypted, casefolded directories.
    pub(crate) fn from_version(version: u8) -> Option<Self> {
        match version {
            0 | 3 => Some(Self::Legacy),
            1 | 4 => Some(Self::HalfMd4),
            2 | 5 => Some(Self::Tea),
            _ => None,
        }
    }
}

const DEFAULT_SEED: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// The hash that marks the end of a directory is never given to a name.
const END: u32 = 0x7fff_ffff << 1;

/// The major hash of an ASCII `name`.
pub(crate) fn hash(kind: Hash, seed: [u32; 4], name: &[u8]) -> u32 {
    let seed = if seed == [0; 4] { DEFAULT_SEED } else { seed };
    let major = match kind {
        Hash::Legacy => legacy(name),
        Hash::HalfMd4 => digest(seed, name, half_md4)[1],
        Hash::Tea => digest(seed, name, tea)[0],
    };
    let even = major & !1;
    if even == END { END - 2 } else { even }
}

fn legacy(name: &[u8]) -> u32 {
    let (mut newer, mut older) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
    for &byte in name {
        let mixed = older.wrapping_add(newer ^ u32::from(byte).wrapping_mul(7_152_373));
        let folded = if mixed & 0x8000_0000 != 0 { mixed.wrapping_sub(0x7fff_ffff) } else { mixed };
        (older, newer) = (newer, folded);
    }
    newer << 1
}

/// Feeds `name` to a block function in pieces of `WORDS` words.
fn digest<const WORDS: usize>(seed: [u32; 4], name: &[u8], block: fn([u32; 4], [u32; WORDS]) -> [u32; 4]) -> [u32; 4] {
    let mut state = seed;
    let mut left = name.len();
    for piece in name.chunks(WORDS * 4) {
        state = block(state, words(piece, left));
        left -= piece.len();
    }
    state
}

/// Big-endian words of a piece; what is missing is filled with the number of bytes that were left.
fn words<const WORDS: usize>(piece: &[u8], left: usize) -> [u32; WORDS] {
    let fill = u32::from_le_bytes([(left & 0xFF) as u8; 4]);
    let mut out = [fill; WORDS];
    for (word, bytes) in out.iter_mut().zip(piece.chunks(4)) {
        *word = bytes.iter().fold(fill, |value, &byte| u32::from(byte).wrapping_add(value << 8));
    }
    out
}

fn tea(state: [u32; 4], input: [u32; 4]) -> [u32; 4] {
    let [a, b, c, d] = input;
    let [mut x, mut y, ..] = state;
    let mut sum = 0_u32;
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9E37_79B9);
        x = x.wrapping_add((y << 4).wrapping_add(a) ^ y.wrapping_add(sum) ^ (y >> 5).wrapping_add(b));
        y = y.wrapping_add((x << 4).wrapping_add(c) ^ x.wrapping_add(sum) ^ (x >> 5).wrapping_add(d));
    }
    [state[0].wrapping_add(x), state[1].wrapping_add(y), state[2], state[3]]
}

/// One of the three rounds: the mixing function, its constant, the rotations and the order of the input.
type Round = (fn(u32, u32, u32) -> u32, u32, [u32; 4], [usize; 8]);

const ROUNDS: [Round; 3] = [
    (|x, y, z| z ^ (x & (y ^ z)), 0, [3, 7, 11, 19], [0, 1, 2, 3, 4, 5, 6, 7]),
    (|x, y, z| (x & y).wrapping_add((x ^ y) & z), 0x5A82_7999, [3, 5, 9, 13], [1, 3, 5, 7, 0, 2, 4, 6]),
    (|x, y, z| x ^ y ^ z, 0x6ED9_EBA1, [3, 9, 11, 15], [3, 7, 2, 6, 1, 5, 0, 4]),
];

fn half_md4(state: [u32; 4], input: [u32; 8]) -> [u32; 4] {
    let mut v = state;
    for (mix, constant, rotations, order) in ROUNDS {
        for (word, rotation) in order.iter().zip(rotations.iter().cycle()) {
            let [a, b, c, d] = v;
            let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(input[*word]).wrapping_add(constant);
            // The roles rotate: what was just computed becomes `b` of the next step.
            v = [d, sum.rotate_left(*rotation), b, c];
        }
    }
    std::array::from_fn(|i| state[i].wrapping_add(v[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The values of `debugfs -R 'dx_hash -h KIND NAME'` with a zero seed.
    #[test]
    fn values_of_debugfs() {
        for (kind, name, expected) in VALUES {
            assert_eq!(hash(*kind, [0; 4], name.as_bytes()), *expected, "{kind:?} {name}");
        }
    }

    const VALUES: &[(Hash, &str, u32)] = &[
        (Hash::HalfMd4, "upper", 0x1741_7fde),
        (Hash::Tea, "upper", 0x351f_bd64),
        (Hash::Legacy, "upper", 0x07de_acb4),
        (Hash::HalfMd4, "work", 0xa3ef_2a88),
        (Hash::HalfMd4, "a-name-longer-than-thirty-two-bytes-in-all", 0x1340_6f66),
        (Hash::Tea, "a-name-longer-than-thirty-two-bytes-in-all", 0x52c9_e2fc),
        (Hash::Legacy, "a-name-longer-than-thirty-two-bytes-in-all", 0x464b_1dac),
    ];

    #[test]
    fn the_seed_counts() {
        let seed = [0x6745_2301, 0xefcd_ab89, 0x6745_2301, 0xefcd_ab89];
        assert_eq!(hash(Hash::HalfMd4, seed, b"upper"), 0x2665_aaf8);
    }
}
