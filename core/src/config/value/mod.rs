//! Values that are words: who mounts ([`mounts`]), where what is written for one run is kept ([`scratch`]), and whether a start waits
//! ([`wait`]). And one that is a table: what a site lets its users start ([`policy`]). Where the record of use
//! is kept ([`log`]) is a word or a path.

pub(super) mod log;
pub(super) mod mounts;
pub(super) mod policy;
pub(super) mod scratch;
pub(super) mod wait;
