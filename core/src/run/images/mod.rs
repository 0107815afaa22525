//! The images of a start, before and after its command: repaired ([`repair`]), looked at again under the engine's lock ([`recheck`]),
//! what is known about their whiteouts kept through a start ([`scan_cache`]). After a writer, its deletions become the kernel's
//! whiteouts ([`after_write`]), and how our server has left it is written down ([`server_end`]).

pub(crate) mod after_write;
pub(super) mod recheck;
pub(super) mod repair;
pub(super) mod scan_cache;
pub(crate) mod server_end;
