//! The images of a start, whoever mounts them: repaired before it ([`repair`]), compared with what was planned ([`as_planned`]), and
//! looked at after their writer ([`lost`]); how our server has left one is written down ([`server_end`]).

pub(super) mod as_planned;
pub(crate) mod lost;
pub(super) mod repair;
pub(crate) mod server_end;
