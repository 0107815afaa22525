//! What can be done with an image, one module for each command of `condatainer overlay`.
//!
//! [`create`], [`check`] and [`with_root`] stand on [`chown`], [`info`] on [`with_root`], and [`resize`] knows the smallest size of
//! [`create`]; the others stand by themselves.

pub mod check;
pub mod chown;
pub mod create;
pub mod diff;
pub mod info;
pub mod resize;
pub mod seal;
pub mod with_root;
