//! The images of a start, before and after its command: repaired ([`repair`]), compared with what was planned ([`as_planned`]) when nobody
//! else of us is about to let an engine lock them ([`turn`]) and again under the engine's lock ([`recheck`]), what is known about their whiteouts kept through a start ([`scan_cache`]). After a writer, its deletions become the kernel's
//! whiteouts ([`after_write`]), and how our server has left it is written down ([`server_end`]).

pub(crate) mod after_write;
pub(super) mod as_planned;
pub(super) mod recheck;
pub(super) mod repair;
pub(super) mod scan_cache;
pub(crate) mod server_end;
pub(super) mod turn;
