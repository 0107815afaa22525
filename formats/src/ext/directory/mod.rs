//! Directories: their blocks, the entries of a block, and the index over them (`dir_index`).

mod blocks;
mod dirhash;
mod entry;
mod htree;
mod lookup;
mod names;

pub use blocks::{block_count, check_plain, read_block};
pub use entry::{Entries, Entry, put_name, put_type, remove_name};
pub(crate) use lookup::lookup;
pub use lookup::scan;
pub use names::each_entry;
