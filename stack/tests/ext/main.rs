//! ext images as layers, with the kernel's own mount as the oracle: everything that stat(2), read(2), lseek(2), readlink(2), getdents(2)
//! and listxattr(2) tell, of every kind of file, on every kind of file system.

// A failing preparation is a failing test.
#![allow(unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crafted;
mod dirty;
mod fill;
mod kernel;
mod layer;
mod matrix;
mod seen;
#[path = "../../../images/tests/support/tool.rs"]
mod tool;
