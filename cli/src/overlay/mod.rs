//! Verbs that make and maintain overlay images, one file each.

pub(crate) mod check;
pub(crate) mod chown;
pub(crate) mod create;
pub(crate) mod diff;
pub(crate) mod info;
pub(crate) mod resize;
pub(crate) mod seal;
pub(crate) mod with_root;
