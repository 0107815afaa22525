//! What the user is told: lines on standard error ([`lines`]), results on standard output ([`mod@print`]), bars while something goes on
//! ([`progress`]), what reports have in common ([`report`], [`mod@bar`]), and how a verb fails ([`failure`]).

pub(crate) mod bar;
pub(crate) mod failure;
mod json;
mod lines;
pub(crate) mod print;
pub(crate) mod progress;
pub(crate) mod report;

pub(crate) use lines::{detail, foreign, is_quiet, is_verbose, notice, set_level};
