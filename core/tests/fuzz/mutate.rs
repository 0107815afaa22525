//! Changing real inputs a little: what libFuzzer does, as far as it can be done without watching the program.

use fastrand::Rng;

/// Numbers that lengths, counts and pointers have when something goes wrong.
const INTERESTING: [u32; 24] = [
    0,
    1,
    2,
    7,
    8,
    11,
    12,
    16,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x400,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x1_0000,
    0xF30A,
    0xEA02_0000,
    0x8_0000,
    0x1000_0000,
    0x7FFF_FFFF,
    0x8000_0000,
    u32::MAX,
];
/// Most changes of one input.
const MOST: u32 = 8;

/// Some input of the corpus, changed in a few places.
pub fn mutant(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = pick(corpus, rng).clone();
    for _ in 0..rng.u32(1..=MOST) {
        change(&mut bytes, corpus, rng);
    }
    bytes
}

fn pick<'a>(corpus: &'a [Vec<u8>], rng: &mut Rng) -> &'a Vec<u8> {
    &corpus[rng.usize(..corpus.len())]
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    if bytes.is_empty() {
        bytes.push(rng.u8(..));
    }
    match rng.u32(..100) {
        0..30 => flip(bytes, rng),
        30..70 => number(bytes, rng),
        70..80 => copy_within(bytes, rng),
        80..90 => splice(bytes, pick(corpus, rng), rng),
        90..94 => insert(bytes, rng),
        94..98 => drop(bytes.drain(span(bytes.len(), rng))),
        _ => bytes.truncate(rng.usize(..bytes.len())),
    }
}

fn flip(bytes: &mut [u8], rng: &mut Rng) {
    bytes[place(bytes, rng)] ^= 1 << rng.u32(..8);
}

/// Zeros are many and mean little: where there is something, there is structure.
fn place(bytes: &[u8], rng: &mut Rng) -> usize {
    let any = |rng: &mut Rng| rng.usize(..bytes.len());
    (0..8).map(|_| any(rng)).find(|&at| bytes[at] != 0).unwrap_or_else(|| any(rng))
}

/// An interesting number, or one that stands elsewhere, or a neighbour of the old one, of one, two or four bytes.
fn number(bytes: &mut [u8], rng: &mut Rng) {
    let width = [1, 2, 4][rng.usize(..3)].min(bytes.len());
    let at = place(bytes, rng).min(bytes.len() - width);
    let at = if rng.bool() { at / width * width } else { at };
    let old = read(&bytes[at..at + width]);
    let from = rng.usize(..=bytes.len() - width);
    let new = match rng.u32(..4) {
        0 => old.wrapping_add(rng.u32(..3)).wrapping_sub(1),
        1 => read(&bytes[from..from + width]),
        2 => rng.u32(..4096),
        _ => INTERESTING[rng.usize(..INTERESTING.len())],
    };
    bytes[at..at + width].copy_from_slice(&new.to_le_bytes()[..width]);
}

fn read(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

/// A short range.
fn span(length: usize, rng: &mut Rng) -> std::ops::Range<usize> {
    let start = rng.usize(..length);
    let longest = [4, 16, 256, 1028][rng.usize(..4)];
    start..(start + rng.usize(1..=longest)).min(length)
}

fn copy_within(bytes: &mut [u8], rng: &mut Rng) {
    let from = span(bytes.len(), rng);
    let to = rng.usize(..=bytes.len() - from.len());
    bytes.copy_within(from, to);
}

fn splice(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    if !other.is_empty() {
        let from = span(other.len(), rng);
        let at = rng.usize(..=bytes.len());
        let end = if rng.bool() { (at + from.len()).min(bytes.len()) } else { at };
        bytes.splice(at..end, other[from].iter().copied());
    }
}

fn insert(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.usize(..=bytes.len());
    let new: Vec<u8> = (0..rng.usize(1..=16)).map(|_| rng.u8(..)).collect();
    bytes.splice(at..at, new);
}
