//! What the Tab key offers ([`candidates`]), and how a shell comes to ask ([`shell`]).

pub(crate) mod candidates;
#[cfg(test)]
mod reference;
pub(crate) mod shell;
