//! The keys, as one file or the environment sets them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use super::error::ConfigError;
use super::value::log::Log;
use super::value::mounts::{self, Mounts};
use super::value::policy::Policy;
use super::value::scratch::{self, Scratch};
use super::value::wait::{self, Wait};

/// What one source sets; `None` where it is silent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    /// The base image where none is named.
    pub base: Option<PathBuf>,
    /// The layers where none are named, each as an option takes it.
    pub overlay: Option<Vec<String>>,
    /// Node-local directory for `:tmp` layers.
    pub tmpdir: Option<PathBuf>,
    /// Where what `:tmp` and `--tmp` write is kept.
    pub scratch: Option<Scratch>,
    /// `true`: always fakeroot; `false`: never, also not automatically.
    pub fakeroot: Option<bool>,
    /// Who mounts the layers.
    pub mounts: Option<Mounts>,
    /// Whether a start waits for an image that somebody else uses.
    pub wait: Option<Wait>,
    /// Directories in which layers are found by name, first match first. `{user}` stands for the caller's name, `{group}` for each
    /// of the caller's groups.
    pub image_dirs: Option<Vec<PathBuf>>,
    /// Directories of the host that every container shows where they exist; `$NAME` stands for a variable.
    pub bind_dirs: Option<Vec<String>>,
    /// The first part that may be left out of a layer's name: with `debian13`, `git` also finds `debian13/git`.
    pub default_distro: Option<String>,
    /// The program that makes Conda environments; without it micromamba, mamba or conda from PATH.
    pub conda: Option<PathBuf>,
    /// Site only: the container engine; without it what is found in PATH.
    pub apptainer: Option<PathBuf>,
    /// Site only: directories that exist on compute nodes only.
    pub node_paths: Option<Vec<PathBuf>>,
    /// Site only: where the record of use is kept.
    pub log: Option<Log>,
    /// Site only: what users may start.
    pub policy: Option<Policy>,
    /// Site only: what wins over everything.
    pub fixed: Option<Box<Settings>>,
}

/// Names layers where nobody else does.
pub const OVERLAY_VARIABLE: &str = "CONDATAINER_OVERLAY";

impl Settings {
    /// What the `CONDATAINER_…` variables say.
    pub(super) fn from_env(env: &HashMap<String, String>) -> Result<Self, ConfigError> {
        let text = |name: &str| set(env, name);
        let path = |name: &str| text(name).map(PathBuf::from);
        let settings = Self {
            base: path("CONDATAINER_BASE"),
            overlay: text(OVERLAY_VARIABLE).map(|list| vec![list.clone()]),
            tmpdir: path("CONDATAINER_TMPDIR"),
            scratch: word(env, "CONDATAINER_SCRATCH", scratch::ALLOWED)?,
            fakeroot: word(env, "CONDATAINER_FAKEROOT", "true, false")?,
            mounts: word(env, "CONDATAINER_MOUNTS", mounts::ALLOWED)?,
            wait: word(env, "CONDATAINER_WAIT", wait::ALLOWED)?,
            image_dirs: text("CONDATAINER_IMAGE_DIRS").map(|list| std::env::split_paths(list).collect()),
            bind_dirs: text("CONDATAINER_BIND_DIRS").map(|list| list.split(':').map(String::from).collect()),
            default_distro: text("CONDATAINER_DEFAULT_DISTRO").cloned(),
            conda: path("CONDATAINER_CONDA"),
            ..Self::default()
        };
        absolute("CONDATAINER_BASE", "base", &settings.base)?;
        absolute("CONDATAINER_TMPDIR", "tmpdir", &settings.tmpdir)?;
        absolute("CONDATAINER_IMAGE_DIRS", "image_dirs", settings.image_dirs.iter().flatten())?;
        absolute_or_variable("CONDATAINER_BIND_DIRS", settings.bind_dirs.iter().flatten())?;
        Ok(settings)
    }

    /// Whether the values can be used by whoever reads them.
    pub(super) fn check(&self, origin: &str) -> Result<(), ConfigError> {
        absolute(origin, "base", &self.base)?;
        absolute(origin, "tmpdir", &self.tmpdir)?;
        absolute(origin, "conda", &self.conda)?;
        absolute_or_variable(origin, self.bind_dirs.iter().flatten())?;
        absolute(origin, "image_dirs", self.image_dirs.iter().flatten())
    }

    /// What users name themselves, so that a site can name it for those who do not, and cannot fix it.
    pub(super) fn refuse_overlay(&self, path: &Path) -> Result<(), ConfigError> {
        match self.overlay {
            Some(_) => Err(ConfigError::SiteOnly { path: path.into(), key: "overlay", whose: NOT_FIXED }),
            None => Ok(()),
        }
    }

    /// A key that this source sets although it belongs to the site, or to its first level.
    pub(super) fn refuse_site_keys(&self, path: &Path, whose: &'static str) -> Result<(), ConfigError> {
        let keys = [
            ("apptainer", self.apptainer.is_some()),
            ("node_paths", self.node_paths.is_some()),
            ("log", self.log.is_some()),
            ("[policy]", self.policy.is_some()),
            ("[fixed]", self.fixed.is_some()),
        ];
        match keys.into_iter().find(|(_, set)| *set) {
            Some((key, _)) => Err(ConfigError::SiteOnly { path: path.into(), key, whose }),
            None => Ok(()),
        }
    }
}

/// Said of a key that is in `[fixed]` and must not be.
pub(super) const NOT_FIXED: &str = "cannot be under [fixed]: write it above the first table";

/// A variable's value. An empty one is as good as none.
fn set<'a>(env: &'a HashMap<String, String>, name: &str) -> Option<&'a String> {
    env.get(name).filter(|value| !value.is_empty())
}

/// The value of a variable that allows these words.
fn word<T: FromStr>(
    env: &HashMap<String, String>,
    variable: &'static str,
    allowed: &'static str,
) -> Result<Option<T>, ConfigError> {
    let read =
        |value: &String| value.parse().map_err(|_| ConfigError::NotAllowed { variable, value: value.clone(), allowed });
    set(env, variable).map(read).transpose()
}

/// Refuses the first path that would depend on where somebody is.
pub(super) fn absolute<'a>(
    origin: &str,
    key: &'static str,
    paths: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<(), ConfigError> {
    match paths.into_iter().find(|path| !path.is_absolute()) {
        Some(path) => Err(ConfigError::Relative { origin: origin.into(), key, path: path.clone() }),
        None => Ok(()),
    }
}

/// Of `bind_dirs`: a variable in front has to bring the slash.
fn absolute_or_variable<'a>(origin: &str, texts: impl IntoIterator<Item = &'a String>) -> Result<(), ConfigError> {
    match texts.into_iter().find(|text| !text.starts_with(['/', '$'])) {
        Some(text) => Err(ConfigError::Relative { origin: origin.into(), key: "bind_dirs", path: text.into() }),
        None => Ok(()),
    }
}
