//! The warden of a step's container: root's process that ends the keeper and all that it has started (`programs/warden/`).
//!
//! The plugin starts it, out of a memory file: so it is of the plugin's own release, and root runs no other file.

pub use condatainer_programs::WARDEN;
/// What it says of the end of a step's container, in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All ended by itself.
    Ended,
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
            b'K' => Some(Self::Late),
            b'S' => Some(Self::Strays),
            b'L' => Some(Self::Stuck),
            _ => None,
        }
    }
}
