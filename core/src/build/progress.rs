//! What whoever has something built is told meanwhile, and how he breaks it off.

use std::ops::ControlFlow;

/// What happens meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News<'a> {
    /// A line that Apptainer says.
    Line(&'a str),
    /// The layer is being written: bytes done of bytes in all.
    Written(u64, u64),
    /// Nothing; a moment to break the work off.
    Nothing,
}

/// Is told what happens, and may break the work off.
pub type Watch<'a> = &'a mut dyn FnMut(News<'_>) -> ControlFlow<()>;
