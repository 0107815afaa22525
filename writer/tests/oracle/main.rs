//! The kernel as oracle: random sequences of operations on our writer and on an ext3 that the kernel has mounted. Both give the same results, the
//! same errors and the same tree; then the kernel mounts our image and shows that tree, and e2fsck has nothing to say.
//!
//! `CONDATAINER_SEQUENCES` says how many sequences; a failure is shrunk to the shortest one that fails.

// Tests and their helpers: what does not hold, fails the test.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod image;
mod kernel;
mod ops;
mod ours;
mod tree;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use image::{Image, Mounted};
use kernel::Kernel;
use ops::{Op, Side, op};
use ours::Ours;

/// How an image is made: options of mke2fs.
const SHAPES: [&[&str]; 4] = [
    &["-b", "4096", "-I", "256"],
    &["-b", "1024", "-I", "128"],
    &["-b", "1024", "-I", "256", "-g", "1024"],
    &["-b", "2048", "-I", "256", "-O", "^dir_index"],
];

fn sequences() -> u32 {
    std::env::var("CONDATAINER_SEQUENCES").ok().and_then(|count| count.parse().ok()).unwrap_or(40)
}

#[test]
fn sequences_come_to_the_same_as_the_kernels() {
    for shape in SHAPES {
        let config = Config {
            cases: sequences() / SHAPES.len() as u32,
            failure_persistence: None,
            max_shrink_iters: 300,
            ..Config::default()
        };
        let mut runner = TestRunner::new(config);
        let done = runner.run(&prop::collection::vec(op(), 1..120), |ops| compare(shape, &ops));
        match done {
            Ok(()) => {}
            Err(TestError::Fail(why, ops)) => panic!("{shape:?}: {why}\nafter {ops:?}"),
            Err(error) => panic!("{shape:?}: {error}"),
        }
    }
}

fn compare(shape: &[&str], ops: &[Op]) -> Result<(), TestCaseError> {
    let (theirs, own) = (Image::make(shape), Image::make(shape));
    let mounted = Mounted::new(&theirs);
    let mut kernel = Kernel::at(mounted.path());
    let mut ours = Ours::open(&own);
    for (place, op) in ops.iter().enumerate() {
        let (expected, got) = (kernel.apply(op), ours.apply(op));
        prop_assert_eq!(got, expected, "operation {}: {:?}", place, op);
    }
    let expected = tree::of(mounted.path());
    let got = ours.tree();
    prop_assert_eq!(got, expected.clone());
    ours.close();
    own.check().map_err(TestCaseError::fail)?;
    let again = Mounted::new(&own);
    prop_assert_eq!(tree::of(again.path()), expected);
    Ok(())
}
