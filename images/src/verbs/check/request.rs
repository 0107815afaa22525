//! What is to be checked and repaired, and for whom.

use crate::system::user::Caller;

/// What may be repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fix {
    /// Nothing; the image is only read.
    #[default]
    No,
    /// What loses nothing.
    Safe,
    /// Everything, also where data may be lost; the image as it was is kept beside.
    Force,
}

/// What is to be done, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What may be repaired.
    pub fix: Fix,
    /// Who wants to use the image.
    pub caller: Caller,
}
