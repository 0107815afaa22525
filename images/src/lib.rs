//! How an image file is cared for, whatever it is used for later.
//!
//! [`image`] tells what a file is, [`trust`] whether it may be believed, [`lock`] who uses it, and [`module`]
//! what it brings to a container's environment. [`replace`] puts a changed copy in its
//! place, [`overlay`] knows the stack below it and what it deletes from that. [`tools`] runs e2fsprogs and mksquashfs.
//! The commands themselves are [`verbs`].

#![forbid(unsafe_code)]

pub mod image;
pub mod lock;
pub mod module;
pub mod overlay;
pub mod replace;
pub mod system;
pub mod tools;
pub mod trust;
pub mod verbs;
