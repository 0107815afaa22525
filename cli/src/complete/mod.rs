//! What the Tab key offers ([`candidates`]), how a shell comes to ask, and the man pages ([`shell`]).

pub(crate) mod candidates;
pub(crate) mod shell;
