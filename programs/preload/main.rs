//! The preload: a library that the interposer loads into fuse-overlayfs (LD_PRELOAD), so that it changes only what it is asked to.
//!
//! fuse-overlayfs knows a file by device and inode number, so all names of a lower layer's file are one file to it. A write to one of
//! these hard links is then copied up under another name, and the next start shows the old content. The kernel's overlay copies up
//! the one name. Here statx(2) tells a number of its own for each such name, and fuse-overlayfs does the same. Names in the upper
//! directory stay as they are: those really are one file.
//!
//! fuse2fs before 1.47.4 ignores that a file is to be emptied when it is opened (O_TRUNC): its old end would come back when the image
//! is mounted again. Here the opened file is emptied by a call of its own, ftruncate(2).
//!
//! A directory that is copied up would lose its set-group-ID bit, which mkdir(2) does not take: here mkdirat(2) does.
//!
//! It has no memory functions of its own (`freestanding/library.rs`): those would take the place of the C library's.

#![no_std]
#![no_builtins]

mod ffi;
#[path = "../freestanding/mod.rs"]
mod freestanding;
mod name;
mod upper;

use core::ffi::{CStr, c_int};

use ffi::Statx;
use name::Name;

const IS_DIRECTORY: u16 = 0o040_000;
const KIND: u16 = 0o170_000;
/// setuid and set-group-ID.
const SET_ID: u32 = 0o6000;
/// Of an inode number that is told: 32-bit programs can read no larger one.
const LOW: u64 = 0x7fff_ffff;

/// Gives one of several names of a lower layer's file its own device and inode number. The device alone makes it unique; it is never
/// shown. The inode number is, and programs take two names with the same number for one file.
fn tell_apart(directory: c_int, path: &CStr, found: &mut Statx) {
    if found.links < 2 || found.mode & KIND == IS_DIRECTORY || !upper::is_known() {
        return;
    }
    let mut room = [0; name::MOST];
    let Some(name) = Name::of(directory, path, &mut room).filter(|name| !upper::holds(name)) else { return };
    let hash = name.hash();
    (found.device_major, found.device_minor) = ((hash >> 32) as u32, hash as u32);
    let inode = found.inode ^ (hash.rotate_left(17) & LOW);
    if inode != 0 {
        found.inode = inode;
    }
}
