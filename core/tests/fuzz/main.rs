//! The fuzz targets of `fuzz/` on stable Rust: real inputs, changed a hundred thousand times each.
//!
//! CONDATAINER_FUZZ_RUNS sets another number, CONDATAINER_FUZZ_SEED another seed, and CONDATAINER_FUZZ_SEEDS=DIR writes the
//! inputs that are made here to DIR, for cargo-fuzz. An input that fails is kept and named; put into `fuzz/corpus/TARGET` it is
//! tried at every start.

// A failing preparation is a failing test.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod corpus;
mod mutate;
#[path = "../../../images/tests/support/mod.rs"]
mod support;
#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use peak_alloc::PeakAlloc;
use targets::TARGETS;

/// All that the targets, which run beside each other, may hold at one time beyond what they start with. Images have up to 8 MiB.
const MOST_MEMORY: usize = 64 << 20;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fn number(variable: &str, usual: u64) -> u64 {
    env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

fn fuzz(target: &str) {
    let run = TARGETS.iter().find(|(name, _)| *name == target).unwrap().1;
    let inputs = corpus::corpus(target);
    let (runs, seed) = (number("CONDATAINER_FUZZ_RUNS", 50_000), number("CONDATAINER_FUZZ_SEED", 0x00C0_FFEE));
    let before = MEMORY.current_usage();
    for (name, input) in &inputs {
        attempt(target, run, input, name);
    }
    let inputs: Vec<Vec<u8>> = inputs.into_iter().map(|(_, input)| input).collect();
    let mut rng = Rng::with_seed(seed);
    for count in 0..runs {
        attempt(target, run, &mutate::mutant(&inputs, &mut rng), &format!("seed {seed}, run {count}"));
    }
    let peak = MEMORY.peak_usage().saturating_sub(before);
    eprintln!("{target}: {runs} runs from {} inputs with seed {seed}, at most {} KiB held", inputs.len(), peak >> 10);
    assert!(peak < MOST_MEMORY, "{peak} bytes were held at one time");
}

fn attempt(target: &str, run: fn(&[u8]), input: &[u8], origin: &str) {
    if catch_unwind(AssertUnwindSafe(|| run(input))).is_err() {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"));
        fs::write(&kept, input).unwrap();
        panic!("{target} failed ({origin}); the input is {}", kept.display());
    }
}

/// The seven targets as tests of their own, so that they run beside each other.
macro_rules! targets {
    ($($name:ident)*) => { $(#[test] fn $name() { fuzz(stringify!($name)); })* };
}

targets! { ext volume kinds sif squashfs layers request }

#[test]
fn every_target_is_run_and_has_inputs() {
    let seeds = env::var_os("CONDATAINER_FUZZ_SEEDS").map(PathBuf::from);
    for (target, _) in TARGETS {
        let made = corpus::made(target);
        assert!(!made.is_empty());
        for (name, input) in seeds.iter().flat_map(|_| &made) {
            let directory = seeds.as_deref().unwrap().join(target);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(name), input).unwrap();
        }
    }
}
