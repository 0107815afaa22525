//! Layers by name: `samtools/1.16` instead of a path to `samtools--1.16.sqf`.
//!
//! One look-up serves the command line, scripts and the plugin. A name is found in the image directories, first match first; what
//! is a path and what is a name follows from how it is written ([`is_path`]). Names and file names are those of the original
//! CondaTainer, so its modules are found as they are.
//!
//! A [`Finder`] takes what was written; a [`Name`] is looked up in the [`Library`], which are the directories that the configuration
//! names ([`ImageDir`]).

mod dirs;
mod error;
mod finder;
mod library;
mod name;
mod suffix;
mod version;

pub use dirs::{ImageDir, user_directory};
pub use error::{FindError, NameError, Wanted};
pub use finder::Finder;
pub use library::{Found, Library};
pub use name::Name;
pub use suffix::is_path;

#[cfg(test)]
mod tests;
