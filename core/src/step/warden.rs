//! The warden of a step's container: root's process that ends the keeper and all that it has started (`programs/warden/`).
//!
//! The plugin starts it, out of a memory file: so it is of the plugin's own release, and root runs no other file.

pub use condatainer_programs::WARDEN;

/// The exit code by which a keeper tells it that what was written last may be missing in the image.
pub const LOST: u8 = 3;

/// What it says of the end of a step's container, in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All ended by itself.
    Ended,
    /// It ended, but what was written last may be missing in the image.
    Lost,
    /// It did not end in time, and was killed.
    Late,
    /// Processes that were left behind were killed.
    Strays,
    /// Something is left that SIGKILL does not end.
    Stuck,
}

impl Verdict {
    /// By its byte.
    #[must_use]
    pub fn read(byte: u8) -> Option<Self> {
        match byte {
            b'E' => Some(Self::Ended),
            b'W' => Some(Self::Lost),
            b'K' => Some(Self::Late),
            b'S' => Some(Self::Strays),
            b'L' => Some(Self::Stuck),
            _ => None,
        }
    }
}
