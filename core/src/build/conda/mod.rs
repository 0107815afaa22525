//! Conda environments as modules: made by the user's own tool at the path where they will be seen, and packed.
//!
//! Conda writes the path of an environment into its files, so it must be made at `/cnt/NAME/VERSION`, which no user may write on
//! the host. So the tool runs in a container on the configured base, with a directory of ours as `/cnt` and itself brought along:
//! micromamba is one static program, conda and mamba are an installation that is shown at its own path. A user namespace of our
//! own on the host would need the same (a new root, for there is no `/cnt` to mount on), and then programs that packages run
//! while they are linked would find the host's libraries instead of those that the module will meet. Home is there, and with it
//! the tool's configuration and its cache of packages. The environment of a new workspace image, `/ext3/env`, is made in the same
//! way, and goes into the image when that is made: writing it through FUSE would take many times as long.
//!
//! The way: [`spec`] says what is wanted, [`yaml`] reads a file that says it. [`tool`] finds conda, [`command`] is the command line,
//! [`host`] what of the host it needs. [`mod@build`] runs it in a container, [`output`] tells in one line what it said, [`record`]
//! keeps what was made, and [`pack`] makes the layer.

mod build;
mod command;
pub(super) mod error;
mod host;
mod output;
mod pack;
mod record;
mod request;
pub(super) mod spec;
mod tool;
mod yaml;

pub use build::{Contents, build, contents, recorded};
pub use error::{CondaError, Failure};
pub use request::{Report, Request};
pub use spec::{Format, Spec, SpecFile};
