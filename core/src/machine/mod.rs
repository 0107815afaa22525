//! What this machine says about a request: the engine, the layers, the base and what the host has to show. Nothing is decided here.
//!
//! [`survey`] reads and starts nothing. It fills [`facts`], [`engine`], [`directories`], [`hard_links`]. [`ask`] asks a program and
//! [`version`] reads what it says; only the doctor and a failed start do that. [`libexec`] and [`interposers`] know what
//! `make install` put beside us, [`variables`] reads those of another process.

pub(crate) mod ask;
pub mod directories;
pub mod engine;
pub mod env_script;
pub mod facts;
pub mod hard_links;
pub(crate) mod interposers;
pub(crate) mod libexec;
mod slurm_job;
pub mod survey;
pub(crate) mod variables;
pub(crate) mod version;
