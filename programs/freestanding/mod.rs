//! What the programs without a C library share: the kernel's calls and their numbers, files, processes, messages, signals, waiting,
//! paths, error numbers, exit codes, and a line of complaint. `start.rs` and `library.rs` stand beside it: what is loaded into another program takes neither of them.

#![allow(dead_code, reason = "no program needs all of it")]

pub(crate) mod call;
pub(crate) mod complain;
#[path = "../src/errno.rs"]
pub(crate) mod errno;
#[path = "../src/exit_code.rs"]
pub(crate) mod exit_code;
pub(crate) mod file;
pub(crate) mod message;
pub(crate) mod numbers;
pub(crate) mod path;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod signals;
