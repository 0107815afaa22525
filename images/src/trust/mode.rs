//! Bits of a mode that decide whom to trust.

/// Anybody may write.
pub const WRITABLE_BY_ALL: u32 = 0o002;
/// The group may write.
pub const WRITABLE_BY_GROUP: u32 = 0o020;
/// Of a directory: who may write in it may still rename and remove only what is his own.
pub const STICKY: u32 = 0o1000;
/// Of a program: it runs as its owner.
pub const SETUID: u32 = 0o4000;
