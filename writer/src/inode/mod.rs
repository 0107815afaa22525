//! One inode: its record, read from its table and written back.

mod make;
mod node;
mod says;
#[cfg(test)]
mod tests;

pub(crate) use make::{New, make};
pub(crate) use node::Node;
