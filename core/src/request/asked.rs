//! What was asked for, as data.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{Mounts, Policy, Scratch, Wait};
use crate::request::bind::Bind;
use crate::request::layer::{Layer, Mode};

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
    /// `--tmp`: whatever the layers are, writes go where those of `:tmp` go.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tmp: bool,
    /// The base image; `None` where the configuration decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<PathBuf>,
    /// Whether a name led to the base; see [`Layer::named`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub base_named: bool,
    /// `Some(true)` for `--fakeroot`, `Some(false)` for `--no-fakeroot`, `None` for automatic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fakeroot: Option<bool>,
    /// Who mounts the layers; `None` where the configuration decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Mounts>,
    /// Where what is written for one run is kept; `None` where the configuration decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scratch: Option<Scratch>,
    /// Whether an image that somebody else uses is waited for; `None` where the configuration decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
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

impl Request {
    /// The layers that the site gives to everybody and that are not named anyway, lowest first.
    #[must_use]
    pub fn site_layers(&self, policy: &Policy) -> Vec<Layer> {
        let is_named = |path: &PathBuf| self.layers.iter().any(|layer| layer.path == *path);
        let layer = |path: &PathBuf| Layer { path: path.clone(), mode: Some(Mode::Ro), named: false };
        policy.always.iter().filter(|path| !is_named(path)).map(layer).collect()
    }

    /// The request as it is started: on top of the layers that everybody gets.
    #[must_use]
    pub fn on_site_layers(mut self, policy: &Policy) -> Self {
        self.layers.splice(0..0, self.site_layers(policy));
        self
    }

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
            tmp: self.tmp || later.tmp,
            base_named: if later.base.is_some() { later.base_named } else { self.base_named },
            base: later.base.or(self.base),
            fakeroot: later.fakeroot.or(self.fakeroot),
            mounts: later.mounts.or(self.mounts),
            scratch: later.scratch.or(self.scratch),
            wait: later.wait.or(self.wait),
            workdir: later.workdir.or(self.workdir),
            scope: later.scope,
            lines_read: self.lines_read || later.lines_read,
            ..self
        }
    }
}
