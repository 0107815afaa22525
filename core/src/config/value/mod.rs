//! Values that are words: who mounts ([`mounts`]), where what is written for one run is kept ([`scratch`]), and whether a start waits
//! ([`wait`]).

pub(super) mod mounts;
pub(super) mod scratch;
pub(super) mod wait;
