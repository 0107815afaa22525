//! What a start is: [`request`] → [`machine`] → [`plan`] → [`run`].
//!
//! Everything that the CLI and the SPANK plugin have in common lives here, so that both say the same words and decide alike.
//! [`request`] is what was asked, [`machine`] finds the facts, [`plan`] decides without looking at the machine, and [`run`]
//! carries the plan out. Others can [`join`] a container that runs; a [`step`] shares one among its tasks.

#![forbid(unsafe_code)]
// The way through a room leads to its private files too.
#![allow(rustdoc::private_intra_doc_links)]

pub mod build;
pub mod config;
pub mod doctor;
pub mod join;
pub mod machine;
pub mod plan;
pub mod request;
pub mod run;
pub mod step;
pub mod submission;
