//! `apptainer build` as a child: its command line, its process group, and what it says when it fails.

pub mod command;
pub mod process;
pub mod verdict;
