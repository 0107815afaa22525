//! What this machine says about a request: the engine, the layers, the base and what the host has to show. Nothing is decided here.

pub(crate) mod answer;
pub mod env_script;
pub mod facts;
pub mod job;
pub mod missing_engine;
pub mod survey;
pub(crate) mod version;
