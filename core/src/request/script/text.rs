//! The text of a script: a bounded part of a regular file, line by line.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc::{O_NOCTTY, O_NONBLOCK};

/// What is read of a file at most, in bytes: as much as the largest batch script that Slurm takes by default. What follows is an
/// archive inside the script and no lines of it.
const MOST_READ: u64 = 4 << 20;

/// The lines with their numbers. One with a NUL byte belongs to something that is no text.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    (1..).zip(lines).filter(|(_, line)| !line.contains(&0))
}

/// What the file holds.
pub(super) fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let is_file = |meta: Metadata| match meta.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "a script must be a regular file")),
    };
    // Opening a pipe would wait for its writer, and what is read from one is gone for the interpreter. It may have become one since.
    is_file(path.metadata()?)?;
    let file = File::options().read(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path)?;
    is_file(file.metadata()?)?;
    let mut text = Vec::new();
    file.take(MOST_READ).read_to_end(&mut text)?;
    Ok(text)
}
