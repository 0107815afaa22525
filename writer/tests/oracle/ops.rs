//! What can be done, on either side.

use std::sync::LazyLock;

use nix::errno::Errno;
use proptest::prelude::*;

/// Names in a path, from the root on; as places in [`NAMES`].
pub type Path = Vec<usize>;

/// One of them is as long as can be, and one looks like a mark of fuse-overlayfs.
pub const NAMES: [&str; 7] = [
    "a",
    "b",
    "dir",
    ".wh.a",
    "\u{e9}t\u{e9}",
    "a name with spaces",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];

/// An operation.
#[derive(Debug, Clone)]
pub enum Op {
    Create(Path, u16),
    Directory(Path, u16),
    Link(Path, Path),
    Symlink(Path, usize),
    Device(Path, u32),
    Fifo(Path),
    Unlink(Path),
    RemoveDirectory(Path),
    Rename(Path, Path, u32),
    Many(Path, usize),
    Fewer(Path, usize),
    Write(Path, u64, usize),
    Truncate(Path, u64),
    Punch(Path, u64, u64),
    Mode(Path, u16),
    Owner(Path, u32, u32),
    SetXattr(Path, usize, usize),
    RemoveXattr(Path, usize),
    List(Path),
}

/// What it came to.
pub type Said = Result<u64, Errno>;

/// One of the two that are compared.
pub trait Side {
    fn apply(&mut self, op: &Op) -> Said;
}

fn path() -> impl Strategy<Value = Path> {
    prop::collection::vec(0..NAMES.len(), 1..4)
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..200_u64, 4 => 0..70_000_u64, 2 => 0..2_000_000_u64, 1 => 0..90_000_000_u64]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1..300_usize, 3 => 1..9_000_usize, 1 => 1..300_000_usize]
}

pub fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (path(), 0..0o1000_u16).prop_map(|(path, mode)| Op::Create(path, mode)),
        8 => (path(), 0..0o1000_u16).prop_map(|(path, mode)| Op::Directory(path, mode | 0o700)),
        3 => (path(), path()).prop_map(|(from, to)| Op::Link(from, to)),
        2 => (path(), 1..300_usize).prop_map(|(path, length)| Op::Symlink(path, length)),
        1 => (path(), 0..70_000_u32).prop_map(|(path, number)| Op::Device(path, number)),
        1 => path().prop_map(Op::Fifo),
        4 => path().prop_map(Op::Unlink),
        3 => path().prop_map(Op::RemoveDirectory),
        8 => (path(), path(), 0..4_u32).prop_map(|(from, to, how)| Op::Rename(from, to, how)),
        1 => (path(), 1..400_usize).prop_map(|(path, count)| Op::Many(path, count)),
        1 => (path(), 1..400_usize).prop_map(|(path, count)| Op::Fewer(path, count)),
        10 => (path(), offset(), length()).prop_map(|(path, offset, length)| Op::Write(path, offset, length)),
        4 => (path(), offset()).prop_map(|(path, size)| Op::Truncate(path, size)),
        2 => (path(), offset(), 1..200_000_u64).prop_map(|(path, offset, length)| Op::Punch(path, offset, length)),
        2 => (path(), 0..0o1000_u16).prop_map(|(path, mode)| Op::Mode(path, mode)),
        2 => (path(), 0..100_000_u32, 0..100_000_u32).prop_map(|(path, uid, gid)| Op::Owner(path, uid, gid)),
        4 => (path(), 0..5_usize, 0..3_000_usize).prop_map(|(path, name, length)| Op::SetXattr(path, name, length)),
        2 => (path(), 0..5_usize).prop_map(|(path, name)| Op::RemoveXattr(path, name)),
        1 => path().prop_map(Op::List),
    ]
}

/// Bytes that say where they belong.
pub fn content(offset: u64, length: usize) -> Vec<u8> {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| (0..301_000_u64).map(|at| (at * 31 % 251) as u8).collect());
    let from = (offset % 251) as usize;
    BYTES[from..from + length].to_vec()
}

/// The name of one file among many.
pub fn numbered(number: usize) -> String {
    format!("file-{number:05}-{}", "y".repeat(number % 40))
}

/// The name of an attribute.
pub fn attribute(number: usize) -> String {
    format!("user.{}", "n".repeat(number * 3 + 1))
}
