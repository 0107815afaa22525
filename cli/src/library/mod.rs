//! Verbs about layers. [`list`] and [`info`] show them, [`check`] tells whether a script's layers exist, [`create`] builds one,
//! [`remove`] deletes. [`work`] shows a build's progress.

pub(crate) mod check;
pub(crate) mod create;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod work;
