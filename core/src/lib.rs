//! What a start is: [`request`] → [`machine`] → [`plan`] → [`run`].
//!
//! Everything that the CLI and the SPANK plugin have in common lives here, so that both say the same words and decide alike.
//! [`request`] is what was asked, [`machine`] finds the facts, [`plan`] decides without looking at the machine, and [`run`]
//! carries the plan out. A [`step`] shares one container among its tasks, a [`session`] can be joined.

#![forbid(unsafe_code)]

pub mod build;
pub mod config;
pub mod doctor;
pub mod machine;
pub mod plan;
pub mod request;
pub mod run;
mod session;
pub mod step;
pub mod submission;
