//! What people type, what they are told, and what the documents say of both.

pub(crate) mod cli;
pub(crate) mod guides;
pub(crate) mod reports;
pub(crate) mod slips;
