//! The configuration as `condatainer config` shows it: every key, the value in force, and where it comes from.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use super::in_force::Config;
use super::settings::{OVERLAY_VARIABLE, Settings};
use super::source::Source;

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Its name in the file.
    pub key: &'static str,
    /// The variable that sets it, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<&'static str>,
    /// The value in force; null where nobody has set it.
    pub value: Value,
    /// Where it comes from.
    pub source: Source,
}

type Get = fn(&Settings) -> Value;

/// Every key that users may set too, with its variable.
const KEYS: [(&str, &str, Get); 11] = [
    ("base", "CONDATAINER_BASE", |settings| json!(settings.base)),
    ("overlay", OVERLAY_VARIABLE, |settings| json!(settings.overlay)),
    ("tmpdir", "CONDATAINER_TMPDIR", |settings| json!(settings.tmpdir)),
    ("scratch", "CONDATAINER_SCRATCH", |settings| json!(settings.scratch)),
    ("fakeroot", "CONDATAINER_FAKEROOT", |settings| json!(settings.fakeroot)),
    ("mounts", "CONDATAINER_MOUNTS", |settings| json!(settings.mounts)),
    ("wait", "CONDATAINER_WAIT", |settings| json!(settings.wait)),
    ("image_dirs", "CONDATAINER_IMAGE_DIRS", |settings| json!(settings.image_dirs)),
    ("bind_dirs", "CONDATAINER_BIND_DIRS", |settings| json!(settings.bind_dirs)),
    ("default_distro", "CONDATAINER_DEFAULT_DISTRO", |settings| json!(settings.default_distro)),
    ("conda", "CONDATAINER_CONDA", |settings| json!(settings.conda)),
];

impl Config {
    /// Every key with the value in force. Of `image_dirs` and `bind_dirs` it is the first source's; those of all of them count.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        let everybodys = KEYS.into_iter().map(|(key, variable, get)| self.everybodys(key, variable, get));
        let site = self.site_file.clone().map_or(Source::Default, Source::Site);
        let own = |key, value: Value| {
            let source = if value.is_null() { Source::Default } else { site.clone() };
            Key { key, variable: None, value, source }
        };
        let node_paths = if self.node_paths.is_empty() { Value::Null } else { json!(self.node_paths) };
        let policy = if self.policy.is_empty() { Value::Null } else { json!(self.policy) };
        let sites = [
            own("apptainer", json!(self.apptainer)),
            own("node_paths", node_paths),
            own("log", json!(self.log)),
            own("policy", policy),
        ];
        everybodys.chain(sites).collect()
    }

    fn everybodys(&self, key: &'static str, variable: &'static str, get: Get) -> Key {
        let values = self.sources(key, variable).into_iter().map(|(settings, origin)| (get(settings), origin.source));
        let set = values.into_iter().find(|(value, _)| !value.is_null());
        let (value, source) = set.unwrap_or((Value::Null, Source::Default));
        Key { key, variable: Some(variable), value, source }
    }

    /// The files that were read: the site's and the user's, where they exist.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.site_file.iter().chain(&self.user_file).cloned().collect()
    }
}
