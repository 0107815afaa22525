//! Who has decided a value: a key in a file, or a variable. A message about a value that nobody typed names it, because the option
//! that would set it was not given.

use std::fmt;

use serde::Serialize;

use super::source::Source;

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
