//! Why a script cannot be used.

use std::io;
use std::path::PathBuf;

use crate::request::bind::BindError;
use crate::request::envelope::RequestError;
use crate::request::layer::LayerError;
use crate::request::names::{FindError, NameError};

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The file cannot be read.
    #[error("{}: cannot be read as a script: {source}", path.display())]
    Read {
        /// The script.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// One of our lines cannot be right.
    #[error("{}: line {number}: {why}", path.display())]
    Line {
        /// The script.
        path: PathBuf,
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        why: LineError,
    },
    /// What `#CNT` lines ask for together cannot be had.
    #[error("{}: #CNT: {why}", path.display())]
    Settings {
        /// The script.
        path: PathBuf,
        /// The reason.
        why: LineError,
    },
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// A layer that cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A name that cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A name that means no file.
    #[error(transparent)]
    Find(#[from] FindError),
    /// A bind that cannot be read.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// No `NAME=VALUE`.
    #[error(transparent)]
    Assignment(#[from] RequestError),
    /// Bytes that are no text.
    #[error("it is not UTF-8")]
    NotText,
    /// A quote that is never closed.
    #[error("a quote is not closed")]
    Quotes,
    /// A word that `#CNT` does not know.
    #[error(
        "#CNT does not know '{0}': write -w, --tmp, -f, --no-fakeroot, -b IMAGE, -o LAYER, --bind SOURCE:DEST, --env NAME=VALUE or --pwd DIR"
    )]
    Unknown(String),
    /// An option at the end of its line.
    #[error("#CNT {0} needs a value")]
    NoValue(String),
    /// A value for a flag.
    #[error("#CNT {0} takes no value")]
    NoFlag(String),
}
