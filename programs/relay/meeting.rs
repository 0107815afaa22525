//! How a relay and its keeper meet, and what the keeper says at the end. The same source in the relay, and in the library for the keeper.

/// The variable that has the keeper's address.
pub const VARIABLE: &str = "CONDATAINER_RELAY";
/// The keeper's first byte: the command has exited, and the second byte is its code.
pub const EXITED: u8 = b'X';
/// The keeper's first byte: the command was ended by the signal that the second byte names.
pub const SIGNALED: u8 = b'S';
