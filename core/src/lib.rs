//! What a start is: [`request`] → [`machine`] → [`plan`] → [`run`].
//!
//! The command and the SPANK plugin both stand on it, so that they say the same words and decide alike. The way through:
//!
//! | room | what |
//! |---|---|
//! | [`config`] | the settings, and who has set them |
//! | [`request`] | what was asked |
//! | [`machine`] | what the machine says; decides nothing |
//! | [`plan`] | the decision as data; looks at nothing |
//! | [`start`] | both, here and now |
//! | [`submission`] | a plan's checks, where a job is submitted |
//! | [`run`] | carries a plan out |
//! | [`record`] | notes who has run in what, where a site wants that |
//! | [`join`] | enters a running container |
//! | [`step`] | one container for all tasks of a step |
//! | [`build`] | makes layers |
//! | [`doctor`] | checks a machine |

#![forbid(unsafe_code)]
// The way through a room leads to its private files too.
#![allow(rustdoc::private_intra_doc_links)]

pub mod build;
pub mod config;
pub mod doctor;
pub mod join;
pub mod machine;
pub mod plan;
pub mod record;
pub mod request;
pub mod run;
pub mod start;
pub mod step;
pub mod submission;
