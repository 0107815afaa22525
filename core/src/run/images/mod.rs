//! The images of a start, before and after its command: repaired, looked at again, and their whiteouts put into the kernel's language.

pub mod knowledge;
pub mod look_again;
pub mod repair;
pub mod tidy;
