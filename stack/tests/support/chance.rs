//! How often something random is tried, and from which seed: the same in every run, unless somebody asks for more.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

/// CONDATAINER_FUZZ_RUNS, or what is usual here.
pub fn runs(usual: u64) -> u64 {
    number("CONDATAINER_FUZZ_RUNS", usual)
}

/// CONDATAINER_FUZZ_SEED; printed, so that it stands beside a failure.
pub fn seed() -> u64 {
    let seed = number("CONDATAINER_FUZZ_SEED", 0x00C0_FFEE);
    println!("CONDATAINER_FUZZ_SEED={seed}");
    seed
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}
