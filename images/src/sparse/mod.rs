//! Sparse files: where their data is (`data`), copies in which holes stay holes (`copy`), and giving back what holds
//! nothing but zeroes (`dig`).

mod copy;
mod data;
mod dig;

pub use copy::Copied;
pub(crate) use copy::{Tell, copy, copy_data, reflink};
pub(crate) use data::next_data;
pub(crate) use dig::dig;

#[cfg(test)]
mod tests;
