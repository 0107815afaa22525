//! Verbs about layers: what there is ([`list`], [`info`]), whether what scripts need is there ([`check`]), made ([`create`]) and taken
//! away ([`remove`]). What is shown while something is built stands in [`work`].

pub(crate) mod check;
pub(crate) mod create;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod work;
