//! Directories: the entries of a block, and the index over them (`dir_index`).

pub mod dir;
pub mod dirhash;
pub mod htree;
