//! What a run tells at its end: what it cost, what it did not cover, and what failed.

mod costs;
pub(crate) mod coverage;
mod failures;

pub(crate) use costs::Costs;
pub(crate) use failures::Failures;
