//! What a file is, told from its first bytes and never from its name.

use std::io;

use crate::ext::{self, ExtError};
use crate::foreign;
use crate::sif::{self, Sif, SifError};
use crate::source::{ReadAt, Window, read_exact_at};
use crate::squashfs::SquashfsError;
use crate::squashfs::superblock::{self as squashfs, Superblock};

/// Enough for every magic number: a superblock of ext ends at 2048, and a launch line may stand in front of it.
const HEAD: usize = 4096;
/// The end of the line that old SIF-less images begin with, so that they could be run as programs.
const LAUNCH: &[u8] = b" run-singularity";

/// What kind of image a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An ext2, ext3 or ext4 file system; the number says which.
    Ext(u8),
    /// A squashfs.
    Squashfs,
    /// A SIF with its partitions.
    Sif(Sif),
}

/// Why a file is not an image.
#[derive(Debug, thiserror::Error)]
pub enum KindError {
    /// The operating system refused a read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It has no content at all.
    #[error("is empty")]
    Empty,
    /// Its content is none that is known here; what it is, where that is easily told: "a gzip archive".
    #[error("is {}", .0.unwrap_or("of an unknown kind"))]
    Unknown(Option<&'static str>),
    /// A SIF that is not in order.
    #[error(transparent)]
    Sif(#[from] SifError),
    /// A squashfs that is not in order.
    #[error(transparent)]
    Squashfs(#[from] SquashfsError),
    /// An ext file system that is not in order.
    #[error(transparent)]
    Ext(#[from] ExtError),
}

/// Tells what a file of `size` bytes is, and where in it the image itself lies: behind the launch line of some old images, else all of it.
///
/// # Errors
/// It is not an image, or one that contradicts itself.
pub fn kind_of(reader: &dyn ReadAt, size: u64) -> Result<(Kind, Window), KindError> {
    let head = read_head(reader, size)?;
    if head.is_empty() {
        return Err(KindError::Empty);
    }
    if sif::has_magic(&head) {
        return Ok((Kind::Sif(read_sif(reader, &head, size)?), Window::whole(size)));
    }
    let skip = launch_line(&head);
    let content = Window { offset: skip as u64, size: size.saturating_sub(skip as u64) };
    let head = head.get(skip..).unwrap_or_default();
    if squashfs::has_magic(head) {
        Superblock::from_bytes(head, content.size)?;
        return Ok((Kind::Squashfs, content));
    }
    if ext::has_magic(head) {
        return Ok((Kind::Ext(ext::features(reader, content)?.version()), content));
    }
    Err(KindError::Unknown(foreign::recognise(head)))
}

/// Whether a file of `size` bytes begins as one that people write to: a SIF, or an ext file system. It may be damaged.
///
/// # Errors
/// It cannot be read.
pub fn resembles_writable(reader: &dyn ReadAt, size: u64) -> io::Result<bool> {
    let head = read_head(reader, size)?;
    Ok(sif::has_magic(&head) || ext::has_magic(head.get(launch_line(&head)..).unwrap_or_default()))
}

fn read_head(reader: &dyn ReadAt, size: u64) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD.min(usize::try_from(size).unwrap_or(HEAD))];
    read_exact_at(reader, &mut head, 0)?;
    Ok(head)
}

/// The length of a launch line in front of the content; it ends with the first newline behind its marker.
fn launch_line(head: &[u8]) -> usize {
    let marker = head.windows(LAUNCH.len()).position(|w| w == LAUNCH);
    marker.filter(|&at| at > 0 && head.starts_with(b"#!")).map_or(0, |at| at + LAUNCH.len() + 1)
}

fn read_sif(reader: &dyn ReadAt, head: &[u8], size: u64) -> Result<Sif, KindError> {
    let window = sif::descriptor_table(head, size)?;
    // Bounded: the table was found to lie in the file and to have a believable number of entries.
    let mut table = vec![0; usize::try_from(window.size).unwrap_or(0)];
    read_exact_at(reader, &mut table, window.offset)?;
    Ok(sif::partitions(&table, size)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launch_lines_are_skipped() {
        assert_eq!(launch_line(b"#!/usr/bin/env run-singularity\nhsqs"), 31);
        assert_eq!(launch_line(b"hsqs run-singularity\n"), 0);
        assert_eq!(launch_line(b""), 0);
    }

    #[test]
    fn what_is_no_image_is_told() {
        let told = |bytes: &[u8]| kind_of(&bytes.to_vec(), bytes.len() as u64).unwrap_err().to_string();
        assert_eq!(told(b""), "is empty");
        assert_eq!(told(b"#!/bin/sh\n"), "is a script");
        assert_eq!(told(b"\x01\x02"), "is of an unknown kind");
    }
}
