//! What the warden is told of a keeper's end, and what it tells of the container's. The same source in the warden, and in the library
//! for the keeper and the plugin.

/// The exit code by which a keeper says that what was written last may be missing in the image.
pub const KEEPER_LOST: u8 = 3;
/// The one by which it says that its layers could not be served to the end.
pub const KEEPER_UNSERVED: u8 = 4;

/// How a step's container has ended, in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// All that matters ended by itself.
    Ended = b'E',
    /// As `Ended`, but what was written last may be missing in the image.
    Lost = b'W',
    /// As `Ended`, but its layers could not be served to the end.
    Unserved = b'F',
    /// It did not end in time, and was killed.
    Late = b'K',
    /// The keeper ended, but left processes behind, which were killed.
    Strays = b'S',
    /// Something is left that SIGKILL does not end.
    Stuck = b'L',
}

impl Verdict {
    const ALL: [Self; 6] = [Self::Ended, Self::Lost, Self::Unserved, Self::Late, Self::Strays, Self::Stuck];

    /// By its byte.
    #[must_use]
    pub fn read(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| *verdict as u8 == byte)
    }
}
