//! What the bytes of an image mean. Bytes and offsets go in, values come out: no path, no process, no clock.
//!
//! [`source`] reads a window of a file, and nothing outside of it. [`kind`] tells what a file is, [`foreign`] what it is instead of an
//! image. [`ext`] is the file system of a workspace image, [`jbd2`] its journal, [`squashfs`] that of a layer, [`sif`] the container file around one.
//! [`overlayfs`] knows the marks that an upper directory has for what is deleted. [`size`] says bytes as people read them.

#![forbid(unsafe_code)]

mod bytes;
pub mod ext;
mod file;
pub mod foreign;
pub mod jbd2;
pub mod kind;
pub mod overlayfs;
pub mod sif;
pub mod size;
pub mod source;
pub mod squashfs;
