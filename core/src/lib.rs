//! The overlay core: request → facts → plan → run.
//!
//! Everything that the CLI and the SPANK plugin have in common lives here, so that both say the same words and decide alike.
//! [`request`] is what was asked, [`survey`] finds the [`facts`], [`plan`] decides without looking at the machine, and [`run`]
//! carries the plan out. [`image`], [`ext`] and [`lock`] know the files themselves.

#![forbid(unsafe_code)]

// What the library shares with the shim names it so.
extern crate alloc;

#[cfg(feature = "lower")]
pub mod apt;
mod argv;
pub mod bind;
#[cfg(feature = "lower")]
pub mod build;
pub mod check;
pub mod chown;
pub mod config;
pub mod create;
#[cfg(feature = "lower")]
pub mod diff;
pub mod directory;
pub mod doctor;
mod draft;
pub mod e2fsprogs;
mod entry;
#[cfg(feature = "lower")]
pub mod env_script;
mod environment;
pub mod escape;
pub mod ext;
pub mod facts;
pub mod fakeroot;
pub mod file_limit;
#[cfg(feature = "lower")]
mod full;
pub mod hard_links;
pub mod held;
pub mod holder;
pub mod host;
pub mod image;
pub mod info;
pub mod job;
pub mod layer;
pub mod litter;
pub mod lock;
#[cfg(feature = "lower")]
pub mod lower;
pub mod memory;
pub mod missing_engine;
pub mod module;
pub mod names;
mod open_dir;
mod own_dir;
pub mod plan;
mod preen;
mod process;
pub mod programs;
mod quota;
pub mod refusal;
mod replace;
pub mod request;
pub mod resize;
pub mod run;
pub mod script;
#[cfg(feature = "lower")]
pub mod seal;
mod session;
mod setuid;
pub mod shown;
mod singularity;
mod sparse;
#[cfg(feature = "lower")]
pub mod squashfs;
pub mod startup;
pub mod step;
pub mod stop;
pub mod submission;
pub mod survey;
mod tmpdir;
pub mod trust;
pub mod user;
pub mod whiteout;
pub mod with_root;
