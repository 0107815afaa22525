//! The device files of a machine: what users may open on a real node. One thread makes them, instead of one mknod(1) for each.

use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::machine::entry;

const CHARACTERS: [(&str, u32, u32, u32); 8] = [
    ("null", 0o666, 1, 3),
    ("zero", 0o666, 1, 5),
    ("full", 0o666, 1, 7),
    ("random", 0o666, 1, 8),
    ("urandom", 0o666, 1, 9),
    ("tty", 0o666, 5, 0),
    ("fuse", 0o666, 10, 229),
    ("loop-control", 0o600, 10, 237),
];
const LOOPS: u32 = 64;

/// Makes them in the /dev of the machine with this first process.
pub(crate) fn make(init: i32) -> Result<()> {
    entry::within(init, 0, || {
        for (name, mode, major, minor) in CHARACTERS {
            device(name, FileType::CharacterDevice, mode, major, minor)?;
        }
        (0..LOOPS).try_for_each(|number| device(&format!("loop{number}"), FileType::BlockDevice, 0o600, 7, number))
    })
}

fn device(name: &str, kind: FileType, mode: u32, major: u32, minor: u32) -> Result<()> {
    let path = Path::new("/dev").join(name);
    mknodat(CWD, &path, kind, Mode::from_raw_mode(mode), makedev(major, minor))
        .with_context(|| format!("cannot make {} of a machine", path.display()))
}
