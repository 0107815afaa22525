//! What was asked: the layers, the base and the options, before anything is known about the machine.
//!
//! [`layer`] and [`bind`] read what users write, [`names`] turns names into paths, [`script`] reads what a script asks for by itself.
//! [`defaults`] are for what nobody names. All of it becomes a [`Request`], with absolute paths, which travels to the node in an `envelope`.
//! `held` tells what the containers around a start have.

mod asked;
pub mod bind;
pub mod defaults;
mod envelope;
pub(crate) mod held;
pub mod layer;
pub mod names;
pub mod script;
mod syntax;
#[cfg(test)]
mod tests;

pub use asked::{Part, Request, Scope};
pub use envelope::{
    ARGUMENTS_VARIABLE, MAX_ENCODED, RequestError, VARIABLE, decode_words, encode_words, parse_assignment,
};
