//! What was asked: the layers, the base and the options, before anything is known about the machine.
//!
//! A request travels from the submitting terminal to the node as one JSON value in one environment variable, so that repeated
//! options, `--export=NONE` and every Slurm release carry it alike.

pub mod bind;
pub mod layer;
pub mod names;
pub mod script;
mod written;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::request::bind::Bind;
use crate::request::layer::Layer;

/// The environment variable that carries a step's request. Names under `SLURM_` survive `--export`; it is not named
/// `SLURM_SPANK_*`, because prologs are shown those.
pub const VARIABLE: &str = "SLURM_CONDATAINER";

/// Where Slurm cannot prepend to a task's argv: the words that belong in front, as a JSON array of strings.
pub const ARGUMENTS_VARIABLE: &str = "SLURM_CONDATAINER_ARGUMENTS";

/// Bytes that an encoded request may have: one environment string of the kernel (`MAX_ARG_STRLEN`, 128 KiB) with room to spare.
pub const MAX_ENCODED: usize = 64 * 1024;

const VERSION: u32 = 1;

/// Which parts of a job run in the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The batch script (or interactive shell) and every step.
    #[default]
    All,
    /// The batch script (or interactive shell) only.
    Batch,
    /// The steps only; the batch script stays on the host.
    Steps,
}

/// The part of a job that a process belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The batch script, or the shell of an interactive step.
    Batch,
    /// A step started by srun.
    Step,
}

impl Scope {
    /// Reads the value of `--condatainer-scope`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "all" => Some(Self::All),
            "batch" => Some(Self::Batch),
            "steps" => Some(Self::Steps),
            _ => None,
        }
    }

    /// Whether this scope puts that part of the job into the container.
    #[must_use]
    pub fn covers(self, part: Part) -> bool {
        match self {
            Self::All => true,
            Self::Batch => part == Part::Batch,
            Self::Steps => part == Part::Step,
        }
    }
}

/// What was asked for, with absolute paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// The layers in the order given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
    /// `-w`: the last image without a mode of its own is written to.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub write: bool,
    /// The base image; `None` where the configuration decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
    /// Whether a name led to the base; see [`Layer::named`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub base_named: bool,
    /// `Some(true)` for `--fakeroot`, `Some(false)` for `--no-fakeroot`, `None` for automatic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fakeroot: Option<bool>,
    /// Host paths to show in the container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bind: Vec<Bind>,
    /// Variables for the command, taken literally.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, String)>,
    /// Working directory inside the container; `None` for the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<PathBuf>,
    /// Which parts of a job are meant; of no consequence outside Slurm.
    #[serde(skip_serializing_if = "is_default")]
    pub scope: Scope,
    /// Where a batch job was submitted, its script's own lines were read: they are in here, or there are none, or they are not to
    /// count.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lines_read: bool,
}

fn is_default(scope: &Scope) -> bool {
    *scope == Scope::default()
}

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
    /// Whether the request asks for a container at all.
    #[must_use]
    pub fn is_container(&self) -> bool {
        !self.layers.is_empty() || self.base.is_some()
    }

    /// A request of a batch job to stay on the host, whatever its script says.
    #[must_use]
    pub fn off() -> Self {
        Self { lines_read: true, ..Self::default() }
    }

    /// Whether this is [`Request::off`].
    #[must_use]
    pub fn is_off(&self) -> bool {
        !self.is_container() && self.lines_read
    }

    /// The same request with what was asked for afterwards: lists grow at their end, all else is replaced. A layer that is named
    /// again, perhaps with another mode, lies where it is named last.
    #[must_use]
    pub fn overridden_by(mut self, later: Self) -> Self {
        self.layers.retain(|layer| later.layers.iter().all(|other| other.path != layer.path));
        self.layers.extend(later.layers);
        self.bind.extend(later.bind);
        self.env.extend(later.env);
        Self {
            write: self.write || later.write,
            base_named: if later.base.is_some() { later.base_named } else { self.base_named },
            base: later.base.or(self.base),
            fakeroot: later.fakeroot.or(self.fakeroot),
            workdir: later.workdir.or(self.workdir),
            scope: later.scope,
            lines_read: self.lines_read || later.lines_read,
            ..self
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::layer::Mode;
    use proptest::prelude::*;

    fn example() -> Request {
        Request {
            layers: vec![
                Layer { mode: Some(Mode::Rw), ..Layer::at("/d/env.img") },
                Layer { named: true, ..Layer::at("/a,b.sqf") },
            ],
            base: Some("/base.sqf".into()),
            base_named: true,
            fakeroot: Some(false),
            bind: vec![Bind { source: "/a".into(), destination: "/b".into(), read_only: true }],
            env: vec![("A".into(), "$(x) 'y'\n".into())],
            workdir: Some("/w".into()),
            scope: Scope::Steps,
            write: false,
            lines_read: true,
        }
    }

    #[test]
    fn survives_the_journey() {
        let request = example();
        assert_eq!(Request::decode(&request.encode().unwrap()).unwrap(), request);
        assert_eq!(Request::default().encode().unwrap(), r#"{"v":1,"request":{}}"#);
        assert!(Request::off().is_off() && !Request::default().is_off() && !example().is_off());
    }

    #[test]
    fn what_is_asked_later_wins_and_adds() {
        let layer = |path: &str, mode| Layer { mode, ..Layer::at(path) };
        let later = Request {
            layers: vec![layer("/c.sqf", None), layer("/d/env.img", None)],
            env: vec![("B".into(), "2".into())],
            fakeroot: Some(true),
            write: true,
            ..Request::default()
        };
        let both = example().overridden_by(later);
        let named = Layer { named: true, ..Layer::at("/a,b.sqf") };
        assert_eq!(both.layers, [named, layer("/c.sqf", None), layer("/d/env.img", None)]);
        assert_eq!((both.env.len(), both.env[1].1.as_str(), both.bind.len()), (2, "2", 1));
        assert_eq!((both.fakeroot, both.write, both.scope), (Some(true), true, Scope::All));
        assert!(both.base_named);
        assert_eq!((both.base.as_deref(), both.workdir.as_deref()), (Some("/base.sqf".as_ref()), Some("/w".as_ref())));
        assert_eq!(example().overridden_by(Request { scope: Scope::Steps, ..Request::default() }), example());
    }

    #[test]
    fn strangers_are_refused() {
        assert!(matches!(Request::decode("env.img"), Err(RequestError::Unreadable(_))));
        assert!(matches!(Request::decode(r#"{"v":2,"request":{"new":1}}"#), Err(RequestError::Version(2))));
        assert!(matches!(Request::decode(r#"{"v":1,"request":{"new":1}}"#), Err(RequestError::Unreadable(_))));
    }

    #[test]
    fn oversize_is_refused() {
        let request = Request { env: vec![("A".into(), "x".repeat(MAX_ENCODED))], ..Request::default() };
        assert!(matches!(request.encode(), Err(RequestError::TooLong(_))));
    }

    #[test]
    fn assignments_are_literal() {
        assert_eq!(parse_assignment("A=b=c $x").unwrap(), ("A".into(), "b=c $x".into()));
        assert_eq!(parse_assignment("A=").unwrap(), ("A".into(), String::new()));
        assert!(parse_assignment("A").is_err());
        assert!(parse_assignment("=x").is_err());
    }

    #[test]
    fn scopes() {
        assert!(Scope::All.covers(Part::Batch) && Scope::All.covers(Part::Step));
        assert!(Scope::Batch.covers(Part::Batch) && !Scope::Batch.covers(Part::Step));
        assert!(!Scope::Steps.covers(Part::Batch) && Scope::Steps.covers(Part::Step));
    }

    proptest! {
        #[test]
        fn decoding_never_panics(text in "\\PC{0,80}") {
            let _ = Request::decode(&text);
        }
    }
}
