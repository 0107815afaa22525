//! Why whiteouts were not translated, or not all.

use std::io;

use condatainer_formats::ext::ExtError;

/// Why a translation ended early. Running it again completes it, after `e2fsck -p` where it had begun.
#[derive(Debug, thiserror::Error)]
pub enum TranslateError {
    /// Something that is not understood, or damaged.
    #[error(transparent)]
    Ext(#[from] ExtError),
    /// A write failed.
    #[error("cannot be written: {0}; nothing is lost, run the same command again")]
    Write(#[from] io::Error),
}
