//! Verbs about layers. [`list`] and [`info`] show them, [`check`] tells whether a script's layers exist, [`create`] builds one,
//! [`remove`] deletes. `table` shows the images of a directory, [`work`] a build's progress.

pub(crate) mod check;
pub(crate) mod create;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod remove;
mod table;
pub(crate) mod work;
