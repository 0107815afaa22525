//! A request as it travels: from the submitting terminal to the node as one JSON value in one environment variable, so that repeated
//! options, `--export=NONE` and every Slurm release carry it alike.

use serde::{Deserialize, Serialize};

use crate::request::asked::Request;

/// The environment variable that carries a step's request. Names under `SLURM_` survive `--export`; it is not named
/// `SLURM_SPANK_*`, because prologs are shown those.
pub const VARIABLE: &str = "SLURM_CONDATAINER";

/// Where Slurm cannot prepend to a task's argv: the words that belong in front, as a JSON array of strings.
pub const ARGUMENTS_VARIABLE: &str = "SLURM_CONDATAINER_ARGUMENTS";

/// Bytes that an encoded request may have: one environment string of the kernel (`MAX_ARG_STRLEN`, 128 KiB) with room to spare.
pub const MAX_ENCODED: usize = 64 * 1024;

const VERSION: u32 = 1;

/// The request as it travels.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    v: u32,
    request: Request,
}

/// Why a request could not be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// `K=V` was expected.
    #[error("environment setting '{0}': write NAME=VALUE")]
    NotAnAssignment(String),
    /// More than fits into one environment variable.
    #[error(
        "the options are {0} bytes long, more than the {MAX_ENCODED} that reach a node: shorten the lists of layers, binds or variables"
    )]
    TooLong(usize),
    /// Not JSON, or not ours.
    #[error(
        "{VARIABLE} does not hold a condatainer request ({0}): submit again from a shell where it is not set by hand"
    )]
    Unreadable(#[source] serde_json::Error),
    /// Made by another release.
    #[error(
        "{VARIABLE} was written by another condatainer release (format {0}, this one reads {VERSION}): submit again"
    )]
    Version(u32),
}

impl Request {
    /// The request as one line of JSON.
    ///
    /// # Errors
    /// [`RequestError::TooLong`] above [`MAX_ENCODED`] bytes; paths that are not UTF-8.
    pub fn encode(&self) -> Result<String, RequestError> {
        let envelope = Envelope { v: VERSION, request: self.clone() };
        let text = serde_json::to_string(&envelope).map_err(RequestError::Unreadable)?;
        if text.len() > MAX_ENCODED { Err(RequestError::TooLong(text.len())) } else { Ok(text) }
    }

    /// Reads what [`Request::encode`] wrote.
    ///
    /// # Errors
    /// Anything that is not exactly that.
    pub fn decode(text: &str) -> Result<Self, RequestError> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let Version { v } = serde_json::from_str(text).map_err(RequestError::Unreadable)?;
        if v != VERSION {
            return Err(RequestError::Version(v));
        }
        let envelope: Envelope = serde_json::from_str(text).map_err(RequestError::Unreadable)?;
        Ok(envelope.request)
    }
}

/// Words as the value of [`ARGUMENTS_VARIABLE`].
#[must_use]
pub fn encode_words(words: &[&str]) -> String {
    serde_json::Value::from(words.to_vec()).to_string()
}

/// Reads what [`encode_words`] wrote.
///
/// # Errors
/// Anything else.
pub fn decode_words(text: &str) -> Result<Vec<String>, RequestError> {
    serde_json::from_str(text).map_err(RequestError::Unreadable)
}

/// Reads `NAME=VALUE`. The value is taken as it is: no quotes, no expansion.
///
/// # Errors
/// No `=`, an empty name, a NUL byte.
pub fn parse_assignment(text: &str) -> Result<(String, String), RequestError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !text.contains('\0') => Ok((name.into(), value.into())),
        _ => Err(RequestError::NotAnAssignment(text.replace('\0', "\\0"))),
    }
}
