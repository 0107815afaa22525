//! The kernel as oracle: random sequences of operations on our writer and on an ext3 that the kernel has mounted. Both give the same results, the
//! same errors and the same tree; then the kernel mounts our image and shows that tree, and e2fsck has nothing to say.
//!
//! Many sequences are done on one image, each in a directory of its own. One that fails is tried alone, and shrunk to the shortest that fails.
//! `CONDATAINER_SEQUENCES` says how many sequences there are, and `CONDATAINER_FUZZ_SEED` which.

// Tests and their helpers: what does not hold, fails the test.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod flags;
mod image;
mod kernel;
mod ops;
mod ours;
mod tree;

use std::env;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use image::{Image, Mounted};
use kernel::Kernel;
use ops::{Op, Side, op};
use ours::Ours;
use tree::Tree;

/// How an image is made: options of mke2fs.
const SHAPES: [&[&str]; 5] = [
    &["-b", "4096", "-I", "256"],
    &["-b", "1024", "-I", "128"],
    &["-b", "1024", "-I", "256", "-g", "2048"],
    &["-b", "2048", "-I", "256", "-O", "^dir_index"],
    &["-b", "1024", "-I", "256", "-O", "meta_bg,^resize_inode"],
];
/// So many sequences are done on one image, which has room for them.
const AT_ONCE: usize = 50;
const MEBIBYTES: u64 = 128;
/// So many shorter sequences are tried of one that fails.
const SHRINKS: usize = 300;

fn number(variable: &str, usual: usize) -> usize {
    env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

#[test]
fn sequences_come_to_the_same_as_the_kernels() {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number("CONDATAINER_FUZZ_SEED", 0x00C0_FFEE).to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let sequences = prop::collection::vec(op(), 1..120);
    let (mut left, mut round) = (number("CONDATAINER_SEQUENCES", 1000), 0);
    while left > 0 {
        let count = left.min(AT_ONCE);
        let shape = SHAPES[round % SHAPES.len()];
        let mut trees: Vec<_> = (0..count).map(|_| sequences.new_tree(&mut runner).unwrap()).collect();
        let all: Vec<_> = trees.iter().map(ValueTree::current).collect();
        if let Err((which, why)) = compare(shape, &all) {
            let alone = shrunk(shape, &mut trees[which]);
            let words = alone.unwrap_or_else(|| format!("not alone; the {which}th of {all:?}"));
            panic!("{shape:?}: {why}\n{words}");
        }
        (left, round) = (left - count, round + 1);
    }
}

/// The shortest sequence that fails, in words.
fn shrunk(shape: &[&str], tree: &mut impl ValueTree<Value = Vec<Op>>) -> Option<String> {
    let mut found = None;
    for _ in 0..SHRINKS {
        let goes_on = match compare(shape, &[tree.current()]) {
            Err((_, why)) => {
                found = Some(format!("{why}\nafter {:?}", tree.current()));
                tree.simplify()
            }
            Ok(()) => tree.complicate(),
        };
        if !goes_on {
            break;
        }
    }
    found
}

/// On failure, which of the sequences it was, and why.
fn compare(shape: &[&str], sequences: &[Vec<Op>]) -> Result<(), (usize, String)> {
    let shape = [shape, &["-N", "49152"]].concat();
    let (theirs, own) = (Image::of_size(MEBIBYTES, &shape), Image::of_size(MEBIBYTES, &shape));
    let mounted = Mounted::new(&theirs);
    let mut ours = Ours::open(&own);
    for (index, ops) in sequences.iter().enumerate() {
        let name = format!("{index:03}");
        let mut kernel = Kernel::in_new(&mounted.path().join(&name));
        ours.enter(&name);
        for (place, op) in ops.iter().enumerate() {
            let (expected, got) = (kernel.apply(op), ours.apply(op));
            if got != expected {
                return Err((index, format!("operation {place}: {op:?}: {got:?}, the kernel's {expected:?}")));
            }
        }
    }
    let expected = tree::of(mounted.path());
    let same = |got: &Tree| same(got, &expected, sequences);
    same(&ours.tree())?;
    ours.close();
    own.check().map_err(|why| (0, why))?;
    same(&tree::of(Mounted::new(&own).path()))
}

fn same(got: &Tree, expected: &Tree, sequences: &[Vec<Op>]) -> Result<(), (usize, String)> {
    let index = |path: &[u8]| path.get(1..4).and_then(|name| str::from_utf8(name).ok()?.parse().ok()).unwrap_or(0);
    let differs = |path: &&Vec<u8>| {
        // The kernel keeps blocks of pointers that have led into a hole; here they are free.
        let punches = sequences.get(index(path)).is_some_and(|ops| ops.iter().any(|op| matches!(op, Op::Punch(..))));
        match (got.get(*path), expected.get(*path)) {
            (Some(got), Some(expected)) if punches => !got.is_like(expected),
            (got, expected) => got != expected,
        }
    };
    let Some(path) = got.keys().chain(expected.keys()).filter(differs).min() else { return Ok(()) };
    let index = index(path);
    let words = format!("{}: {:?}, the kernel's {:?}", path.escape_ascii(), got.get(path), expected.get(path));
    Err((index, words))
}
