//! What the Tab key offers ([`candidates`]), and how a shell comes to ask ([`shell`]).

pub(crate) mod candidates;
pub(crate) mod shell;
