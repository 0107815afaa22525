//! Directories: their blocks, the entries of a block, and looking up a name.

mod blocks;
mod entry;
mod lookup;
mod names;

pub use blocks::{block_count, check_plain, read_block};
pub use entry::{Entries, Entry, code_of, put_name, put_type, remove_name, type_of};
pub use lookup::lookup;
pub use names::each_entry;
