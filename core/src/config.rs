//! The configuration: `/etc/condatainer/config.toml` of the site, then the user's own, then `CONDATAINER_…` variables.
//!
//! Unknown keys are errors, so that a misspelt key never silently does nothing. Keys of the site's `[fixed]` table win over
//! everything; where a program is found is decided by the site alone, since the plugin starts it for every user.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where the site's configuration lies unless plugstack.conf says otherwise.
pub const SYSTEM_FILE: &str = "/etc/condatainer/config.toml";

/// Settings that a user may choose too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The base image where none is named.
    pub base: Option<PathBuf>,
    /// Node-local directory for `:tmp` layers.
    pub tmpdir: Option<PathBuf>,
    /// `true`: always fakeroot; `false`: never, also not automatically.
    pub fakeroot: Option<bool>,
}

/// The site's file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SystemFile {
    base: Option<PathBuf>,
    tmpdir: Option<PathBuf>,
    fakeroot: Option<bool>,
    apptainer: Option<PathBuf>,
    node_paths: Vec<PathBuf>,
    fixed: Settings,
}

/// The configuration in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Config {
    /// What flags, environment, user and site decide together (flags are applied by the caller).
    pub settings: Settings,
    /// What the site has fixed; wins over flags.
    pub fixed: Settings,
    /// The container engine; `None`: `apptainer` from PATH.
    pub apptainer: Option<PathBuf>,
    /// Directories that exist on compute nodes only: a file below them may be missing where a job is submitted.
    pub node_paths: Vec<PathBuf>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file exists but cannot be read.
    #[error("{}: cannot read the configuration: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, a value of the wrong kind.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, key and what was expected.
        message: String,
    },
    /// Somebody but root could change what every user runs.
    #[error("{0}: must belong to root and be writable by nobody else: chown root {0} && chmod go-w {0}", path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
    },
    /// Paths must not depend on where the reader stands.
    #[error("{origin}: {key} = '{}' is not an absolute path", path.display())]
    Relative {
        /// File or variable.
        origin: String,
        /// The key.
        key: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// A variable holds something else than its key allows.
    #[error("{variable}: '{value}' is not one of: true, false")]
    NotABool {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
}

impl Config {
    /// Reads the site's file alone, as the plugin and the wrapper of a step do. A missing file is an empty one.
    ///
    /// # Errors
    /// Unreadable, misspelt, or not safely owned by root.
    pub fn system(path: &Path) -> Result<Self, ConfigError> {
        let Some(text) = read_optional(path)? else { return Ok(Self::default()) };
        require_root_owned(path)?;
        let file: SystemFile = parse(path, &text)?;
        let origin = path.display().to_string();
        let settings = Settings { base: file.base, tmpdir: file.tmpdir, fakeroot: file.fakeroot };
        settings.require_absolute(&origin)?;
        file.fixed.require_absolute(&origin)?;
        absolute(&origin, "apptainer", file.apptainer.as_ref())?;
        for path in &file.node_paths {
            absolute(&origin, "node_paths", Some(path))?;
        }
        Ok(Self { settings, fixed: file.fixed, apptainer: file.apptainer, node_paths: file.node_paths })
    }

    /// Adds the user's own file and variables on top of the site's configuration.
    ///
    /// # Errors
    /// An unreadable or misspelt user file, a variable with a value that its key does not allow.
    pub fn with_user(mut self, file: Option<&Path>, env: &HashMap<String, String>) -> Result<Self, ConfigError> {
        if let Some(path) = file
            && let Some(text) = read_optional(path)?
        {
            let user: Settings = parse(path, &text)?;
            user.require_absolute(&path.display().to_string())?;
            self.settings = user.or(self.settings);
        }
        self.settings = Settings::from_env(env)?.or(self.settings);
        Ok(self)
    }

    /// The value in force: fixed by the site, else the flag, else environment, user and site in this order.
    #[must_use]
    pub fn base(&self, flag: Option<PathBuf>) -> Option<PathBuf> {
        self.fixed.base.clone().or(flag).or_else(|| self.settings.base.clone())
    }

    /// As [`Config::base`], for fakeroot; `None` is automatic.
    #[must_use]
    pub fn fakeroot(&self, flag: Option<bool>) -> Option<bool> {
        self.fixed.fakeroot.or(flag).or(self.settings.fakeroot)
    }

    /// The directory for `:tmp` layers where the site or user named one.
    #[must_use]
    pub fn tmpdir(&self) -> Option<PathBuf> {
        self.fixed.tmpdir.clone().or_else(|| self.settings.tmpdir.clone())
    }

    /// Whether a path lies below a node-local directory.
    #[must_use]
    pub fn is_node_path(&self, path: &Path) -> bool {
        self.node_paths.iter().any(|dir| path.starts_with(dir))
    }
}

impl Settings {
    fn or(self, other: Self) -> Self {
        Self {
            base: self.base.or(other.base),
            tmpdir: self.tmpdir.or(other.tmpdir),
            fakeroot: self.fakeroot.or(other.fakeroot),
        }
    }

    fn from_env(env: &HashMap<String, String>) -> Result<Self, ConfigError> {
        let path = |name: &str| env.get(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let fakeroot = env.get("CONDATAINER_FAKEROOT").filter(|v| !v.is_empty());
        let settings = Self {
            base: path("CONDATAINER_BASE"),
            tmpdir: path("CONDATAINER_TMPDIR"),
            fakeroot: fakeroot.map(|value| parse_bool("CONDATAINER_FAKEROOT", value)).transpose()?,
        };
        absolute("CONDATAINER_TMPDIR", "tmpdir", settings.tmpdir.as_ref())?;
        Ok(settings)
    }

    fn require_absolute(&self, origin: &str) -> Result<(), ConfigError> {
        absolute(origin, "base", self.base.as_ref())?;
        absolute(origin, "tmpdir", self.tmpdir.as_ref())
    }
}

/// The user's file: `$XDG_CONFIG_HOME/condatainer/config.toml`, else below `~/.config`.
#[must_use]
pub fn user_file(env: &HashMap<String, String>) -> Option<PathBuf> {
    let xdg = env.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let dir = xdg.or_else(|| env.get("HOME").map(|home| Path::new(home).join(".config")))?;
    Some(dir.join("condatainer/config.toml"))
}

fn parse_bool(variable: &'static str, value: &str) -> Result<bool, ConfigError> {
    value.parse().map_err(|_| ConfigError::NotABool { variable, value: value.into() })
}

fn absolute(origin: &str, key: &'static str, path: Option<&PathBuf>) -> Result<(), ConfigError> {
    match path {
        Some(path) if !path.is_absolute() => {
            Err(ConfigError::Relative { origin: origin.into(), key, path: path.clone() })
        }
        _ => Ok(()),
    }
}

fn read_optional(path: &Path) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(ConfigError::Read { path: path.into(), source }),
    }
}

/// What the kernel shows for owners that a user namespace does not map (proc_sys_kernel(5), overflowuid).
const OVERFLOW_UID: u32 = 65_534;

/// Inside a user namespace without root, as in a container, files of root appear to belong to the overflow uid.
fn root_is_mapped() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().any(|line| line.split_ascii_whitespace().nth(1) == Some("0"))
}

fn require_root_owned(path: &Path) -> Result<(), ConfigError> {
    let stat = std::fs::metadata(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
    let owned_by_root = stat.uid() == 0 || (stat.uid() == OVERFLOW_UID && !root_is_mapped());
    if owned_by_root && stat.mode() & 0o022 == 0 { Ok(()) } else { Err(ConfigError::Untrusted { path: path.into() }) }
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
        let message = e.message().lines().next().unwrap_or_default();
        ConfigError::Syntax { path: path.into(), message: format!("line {line}: {message}") }
    })
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
