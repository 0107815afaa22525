//! From a file's blocks to those of the disk: twelve pointers in the inode, and trees of one, two and three levels behind them.

mod find;
mod insert;
mod limit;
mod path;
mod punch;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use find::{block_of_directory, find, goal};
pub(crate) use insert::{grow_directory, insert, set_target};
pub(crate) use limit::longest;
pub(crate) use punch::punch;
pub(crate) use run::{Run, add_blocks, remove_blocks};
