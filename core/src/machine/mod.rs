//! What this machine says about a request: the engine, the layers, the base and what the host has to show. Nothing is decided here.
//!
//! [`survey`] reads, and asks programs ([`answer`], [`version`]); what it finds is plain data: [`facts`], with the [`engine`] and the
//! [`directories`] in them.

pub(crate) mod answer;
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
