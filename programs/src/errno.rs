//! Error numbers of the kernel, the same on both architectures (errno(3)). The same source in the small programs, and in the library for
//! everybody else.

/// There is no such file.
pub const ENOENT: i32 = 2;
/// A signal came first.
pub const EINTR: i32 = 4;
/// The file is no program.
pub const ENOEXEC: i32 = 8;
/// It is not allowed.
pub const EACCES: i32 = 13;
/// There is no such device.
pub const ENODEV: i32 = 19;
/// A part of the path is no directory.
pub const ENOTDIR: i32 = 20;
/// The file is there, but what it names as its interpreter is not.
pub const ELIBBAD: i32 = 80;
/// Nobody has answered in time.
pub const ETIMEDOUT: i32 = 110;
/// The server does not know the file any more.
pub const ESTALE: i32 = 116;
