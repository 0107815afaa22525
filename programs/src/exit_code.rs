//! Exit codes that say why there is no code of the command's own, as those of env(1), nohup(1) and shells do. The same source in the
//! small programs, and in the library for everybody else.

/// The command was not started.
pub const NOT_STARTED: u8 = 125;
/// The command is there but cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// There is no such command.
pub const NOT_FOUND: u8 = 127;
/// The command has succeeded, but what it wrote may be lost.
pub const WRITES_LOST: u8 = 1;
