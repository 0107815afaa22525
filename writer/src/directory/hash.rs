//! The hash of a name, by which an index (htree) orders directories: a major half that decides the block, and a minor one.
//!
//! There are three functions. Each exists twice, because the first kernels took the bytes of a name as `char`, which is signed on some
//! machines only; the superblock says how its directories were hashed.

use std::ffi::c_char;

use condatainer_formats::ext::raw::Superblock;

/// Bits of `s_flags`.
const SIGNED: u32 = 0x1;
const UNSIGNED: u32 = 0x2;
/// Where there is no seed.
const DEFAULT_SEED: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// No name has it: it stands for the end.
const END: u32 = 0xffff_fffe;

/// How names are mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Legacy,
    HalfMd4,
    Tea,
}

/// How one file system hashes the names of a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hasher {
    function: Function,
    is_signed: bool,
    seed: [u32; 4],
}

/// What a name is hashed to. The lowest bit of the major half is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hash {
    pub(super) major: u32,
    pub(super) minor: u32,
}

impl Hasher {
    /// Of the hash version that a directory's index has; `None` when it is not known.
    pub(super) fn of(sb: &Superblock, version: u8) -> Option<Self> {
        let function = match version {
            0 => Function::Legacy,
            1 => Function::HalfMd4,
            2 => Function::Tea,
            _ => return None,
        };
        let is_signed = match (sb.flags & SIGNED != 0, sb.flags & UNSIGNED != 0) {
            (_, true) => false,
            (true, false) => true,
            // So old that nobody has said it: as this machine's kernels did then.
            (false, false) => c_char::MIN != 0,
        };
        let seed = if sb.hash_seed == [0; 4] { DEFAULT_SEED } else { sb.hash_seed };
        Some(Self { function, is_signed, seed })
    }

    /// Of a name.
    pub(super) fn hash(&self, name: &[u8]) -> Hash {
        let (major, minor) = match self.function {
            Function::Legacy => (self.legacy(name), 0),
            Function::HalfMd4 => {
                let buf = self.mix(name, half_md4);
                (buf[1], buf[2])
            }
            Function::Tea => {
                let buf = self.mix(name, tea);
                (buf[0], buf[1])
            }
        };
        let major = major & !1;
        Hash { major: if major == END { END - 2 } else { major }, minor }
    }

    /// Where a listing in the order of hashes has a name.
    pub(super) fn place(&self, name: &[u8]) -> u64 {
        let hash = self.hash(name);
        let minor = match self.function {
            // It has none, and a directory of many thousand names has some of the same hash.
            Function::Legacy => self.mix(name, tea)[1],
            Function::HalfMd4 | Function::Tea => hash.minor,
        };
        u64::from(hash.major >> 1) << 32 | u64::from(minor)
    }

    fn byte(&self, byte: u8) -> u32 {
        if self.is_signed { i32::from(byte.cast_signed()).cast_unsigned() } else { u32::from(byte) }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut hash0, mut hash1) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
        for byte in name {
            let mut hash = hash1.wrapping_add(hash0 ^ self.byte(*byte).wrapping_mul(7_152_373));
            if hash & 0x8000_0000 != 0 {
                hash = hash.wrapping_sub(0x7fff_ffff);
            }
            (hash1, hash0) = (hash0, hash);
        }
        hash0 << 1
    }

    /// Mixes a name piece by piece, `N` words each.
    fn mix<const N: usize>(&self, name: &[u8], transform: fn(&mut [u32; 4], &[u32; N])) -> [u32; 4] {
        let mut buf = self.seed;
        let mut rest = name;
        while !rest.is_empty() {
            transform(&mut buf, &self.words(rest));
            rest = rest.get(4 * N..).unwrap_or_default();
        }
        buf
    }

    /// The first bytes of what is left of a name. Words without a byte, and the missing bytes of the last one, say how much is left.
    fn words<const N: usize>(&self, rest: &[u8]) -> [u32; N] {
        let length = (rest.len() & 0xff) as u32;
        let pad = length | length << 8 | length << 16 | length << 24;
        let mut words = [pad; N];
        for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
            for byte in bytes {
                *word = self.byte(*byte).wrapping_add(*word << 8);
            }
        }
        words
    }
}

fn tea(buf: &mut [u32; 4], words: &[u32; 4]) {
    let [mut b0, mut b1, ..] = *buf;
    let [a, b, c, d] = *words;
    let mut sum = 0_u32;
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9e37_79b9);
        let mixed =
            |x: u32, k0: u32, k1: u32| (x << 4).wrapping_add(k0) ^ x.wrapping_add(sum) ^ (x >> 5).wrapping_add(k1);
        b0 = b0.wrapping_add(mixed(b1, a, b));
        b1 = b1.wrapping_add(mixed(b0, c, d));
    }
    buf[0] = buf[0].wrapping_add(b0);
    buf[1] = buf[1].wrapping_add(b1);
}

type Mix = fn(u32, u32, u32) -> u32;

/// The three rounds of the first half of MD4: its function, its constant, the order of the words, and the rotations.
const ROUNDS: [(Mix, u32, [usize; 8], [u32; 4]); 3] = [
    (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
    (|x, y, z| (x & y).wrapping_add((x ^ y) & z), 0x5a82_7999, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
    (|x, y, z| x ^ y ^ z, 0x6ed9_eba1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
];

fn half_md4(buf: &mut [u32; 4], words: &[u32; 8]) {
    let [mut a, mut b, mut c, mut d] = *buf;
    for (mix, constant, order, rotations) in ROUNDS {
        for (word, rotation) in order.iter().zip(rotations.iter().cycle()) {
            let word = words.get(*word).copied().unwrap_or(0);
            let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(word).wrapping_add(constant);
            (a, b, c, d) = (d, sum.rotate_left(*rotation), b, c);
        }
    }
    for (old, new) in buf.iter_mut().zip([a, b, c, d]) {
        *old = old.wrapping_add(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u32; 4] = [0x0403_0201, 0x0807_0605, 0x0c0b_0a09, 0x100f_0e0d];
    const LONG: &str = "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz";

    #[track_caller]
    fn check(function: Function, is_signed: bool, seed: [u32; 4], name: &str, major: u32, minor: u32) {
        let hash = Hasher { function, is_signed, seed }.hash(name.as_bytes());
        assert_eq!(hash, Hash { major, minor }, "{function:?} of {name}");
    }

    /// The figures are those of `debugfs -R 'dx_hash -h VERSION -s SEED NAME'`.
    #[test]
    fn hashes_are_those_of_debugfs() {
        check(Function::Legacy, true, SEED, "a", 0xe74b_53e2, 0);
        check(Function::Legacy, true, SEED, LONG, 0x1a3e_33a2, 0);
        check(Function::HalfMd4, true, SEED, "a", 0x8d08_ec4c, 0x2fbc_cd78);
        check(Function::HalfMd4, true, SEED, LONG, 0xa91e_c488, 0x7b3f_576e);
        check(Function::Tea, true, SEED, "a", 0xf535_28f0, 0xea54_fb01);
        check(Function::Tea, true, SEED, LONG, 0xb5cf_7a7e, 0x35b9_32bc);
        check(Function::HalfMd4, true, DEFAULT_SEED, "hello", 0x1746_da32, 0x4200_13b5);
        check(Function::Tea, true, DEFAULT_SEED, "hello", 0x6f5b_b1a8, 0x2319_17c2);
    }

    #[test]
    fn bytes_above_127_count_with_or_without_a_sign() {
        for (function, signed, unsigned) in [
            (Function::Legacy, (0xaa63_0196, 0), (0x50c0_907e, 0)),
            (Function::HalfMd4, (0x4243_f30c, 0x3c70_5563), (0xa08d_b8d2, 0xdff2_5eb9)),
            (Function::Tea, (0xf8f6_d9a4, 0x72b7_ff63), (0x6573_694c, 0x3358_6827)),
        ] {
            check(function, true, SEED, "naïve-é", signed.0, signed.1);
            check(function, false, SEED, "naïve-é", unsigned.0, unsigned.1);
            let Hash { major, minor } = Hasher { function, is_signed: true, seed: SEED }.hash(b"hello");
            check(function, false, SEED, "hello", major, minor);
        }
    }

    #[test]
    fn places_are_positive_and_tell_names_apart() {
        for function in [Function::Legacy, Function::HalfMd4, Function::Tea] {
            let hasher = Hasher { function, is_signed: true, seed: SEED };
            let places: std::collections::HashSet<_> =
                (0..100_000).map(|number| hasher.place(format!("{number}").as_bytes())).collect();
            // Some keys of TEA do the same, and names are its keys.
            assert!(places.len() >= 99_990, "{function:?}: {}", places.len());
            assert!(places.iter().all(|place| i64::try_from(*place).is_ok()));
        }
    }
}
