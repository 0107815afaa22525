//! What the themes are written with: a world of clusters, a desk where a user works, images to work on, and the words for what
//! is expected.

pub(crate) mod checks;
pub(crate) mod desk;
pub(crate) mod images;
mod programs;
pub(crate) mod report;
pub(crate) mod setup;
mod theme;
mod world;

pub(crate) use checks::{Expect, WHERE};
pub(crate) use desk::Desk;
pub(crate) use programs::{Programs, SETUID, SINGULARITY, setuid, singularity};
pub(crate) use report::{Costs, Failures, coverage};
pub(crate) use setup::Setup;
pub(crate) use theme::tests;
pub(crate) use theme::{Needs, Place, Suite, Test, Theme, times};
pub(crate) use world::World;
