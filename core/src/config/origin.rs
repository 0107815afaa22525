//! Who has decided a value: a key in a file, or a variable. A message about a value that nobody typed names it, because the option
//! that would set it was not given.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::de::{DeTable, DeValue};

use super::{Config, Settings, Source};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The key in the file.
    pub key: &'static str,
    /// Whose it is.
    pub source: Source,
    /// Its line in the file.
    pub line: Option<usize>,
}

impl Origin {
    /// A variable that is no key of ours.
    #[must_use]
    pub fn variable(name: &'static str) -> Self {
        Self { key: name, source: Source::Environment(name.into()), line: None }
    }

    /// Whether only the administrator can change it.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        matches!(self.source, Source::Fixed(_))
    }

    /// What to do about the value; `or` is what helps where the site has not fixed it.
    #[must_use]
    pub fn cure(&self, or: &str) -> String {
        match self.source {
            Source::Fixed(_) => format!("it is {self}, which only your administrator can change"),
            _ => format!("it is {self}: correct it{or}"),
        }
    }

    /// What to do in place of leaving out the option that sets the same.
    #[must_use]
    pub fn instead_of_option(&self, value: &str) -> String {
        match self.source {
            Source::Fixed(_) => format!("ask your administrator about {self}, which is {value}"),
            Source::Environment(_) => format!("unset {self}, which is {value}"),
            _ => format!("change {self}, which is {value}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key;
        match &self.source {
            Source::Fixed(path) => write!(f, "'{key}' under [fixed] in {}", path.display())?,
            Source::User(path) | Source::Site(path) => write!(f, "'{key}' in {}", path.display())?,
            Source::Environment(name) => write!(f, "{name}")?,
            Source::Default => write!(f, "the default of '{key}'")?,
        }
        self.line.map_or(Ok(()), |line| write!(f, ", line {line}"))
    }
}

/// How messages leave an option out: `drop --fakeroot`, unless nobody has given it.
pub(crate) fn drop_option(option: &str, value: &str, origin: Option<&Origin>) -> String {
    origin.map_or_else(|| format!("drop {option}"), |origin| origin.instead_of_option(value))
}

/// The line of each key in a file; those under `[fixed]` as `fixed.KEY`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines(BTreeMap<String, usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let mut lines = BTreeMap::new();
        let line = |start: usize| text.get(..start).unwrap_or_default().matches('\n').count() + 1;
        let Ok(table) = DeTable::parse(text) else { return Self::default() };
        for (key, value) in table.get_ref() {
            lines.insert(key.get_ref().to_string(), line(key.span().start));
            if let DeValue::Table(inner) = value.get_ref() {
                let inner = inner
                    .iter()
                    .map(|(below, _)| (format!("{}.{}", key.get_ref(), below.get_ref()), line(below.span().start)));
                lines.extend(inner);
            }
        }
        Self(lines)
    }

    fn line(&self, key: &str) -> Option<usize> {
        self.0.get(key).copied()
    }
}

impl Config {
    /// The source of a key's value where no option is given, if it has `value` from there.
    fn origin<T: PartialEq>(
        &self,
        key: &'static str,
        variable: &str,
        get: impl Fn(&Settings) -> Option<T>,
        value: &T,
    ) -> Option<Origin> {
        let file = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
        let fixed_line = self.site_lines.line(&format!("fixed.{key}"));
        let sources = [
            (&self.fixed, Source::Fixed(file(&self.site_file)), fixed_line),
            (&self.environment, Source::Environment(variable.into()), None),
            (&self.user, Source::User(file(&self.user_file)), self.user_lines.line(key)),
            (&self.site, Source::Site(file(&self.site_file)), self.site_lines.line(key)),
        ];
        let mut set = sources.into_iter().filter_map(|(settings, source, line)| Some((get(settings)?, source, line)));
        let (found, source, line) = set.next()?;
        (found == *value).then_some(Origin { key, source, line })
    }

    /// Who has named this base, unless it was an option.
    #[must_use]
    pub fn origin_of_base(&self, base: &Path) -> Option<Origin> {
        self.origin("base", "CONDATAINER_BASE", |settings| settings.base.clone(), &base.to_owned())
    }

    /// Who has decided about fakeroot, unless it was an option.
    #[must_use]
    pub fn origin_of_fakeroot(&self, fakeroot: bool) -> Option<Origin> {
        self.origin("fakeroot", "CONDATAINER_FAKEROOT", |settings| settings.fakeroot, &fakeroot)
    }

    /// Who has named this directory, unless it was an option or another variable.
    #[must_use]
    pub fn origin_of_tmpdir(&self, tmpdir: &Path) -> Option<Origin> {
        self.origin("tmpdir", "CONDATAINER_TMPDIR", |settings| settings.tmpdir.clone(), &tmpdir.to_owned())
    }

    /// Who has named this program for Conda environments, unless it was an option.
    #[must_use]
    pub fn origin_of_conda(&self, conda: &Path) -> Option<Origin> {
        self.origin("conda", "CONDATAINER_CONDA", |settings| settings.conda.clone(), &conda.to_owned())
    }

    /// The key that names the engine.
    #[must_use]
    pub fn origin_of_apptainer(&self) -> Option<Origin> {
        self.apptainer.as_ref()?;
        let source = Source::Site(self.site_file.clone().unwrap_or_default());
        Some(Origin { key: "apptainer", source, line: self.site_lines.line("apptainer") })
    }
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
