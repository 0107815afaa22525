//! Who mounts the layers of a start.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What can be written.
pub(crate) const ALLOWED: &str = "auto, own, engine";

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mounts {
    /// We do where we can, else the engine does.
    Auto,
    /// We do, or nothing starts.
    Own,
    /// The engine does.
    Engine,
}

impl Mounts {
    /// Where nobody has said anything.
    pub const DEFAULT: Self = Self::Auto;

    /// As users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Own => "own",
            Self::Engine => "engine",
        }
    }
}

impl FromStr for Mounts {
    /// What can be written.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Auto, Self::Own, Self::Engine];
        all.into_iter().find(|one| one.name() == text).ok_or(ALLOWED)
    }
}
