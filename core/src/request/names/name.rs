//! A name as users write it: `name`, `name/version`, `assembly/datatype/version`, with `/`, `--`, `=` or `@` between the parts, and
//! perhaps a least version: `samtools/1.21>=1.16`.

use std::fmt;

use super::error::NameError;
use super::suffix::PATH_SUFFIXES;
use super::version;

/// A name, its parts joined by `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    text: String,
    least: Option<Least>,
}

/// The least version that will do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Least {
    version: String,
    /// `>`: not this one itself.
    exclusive: bool,
}

impl Name {
    /// Reads a name.
    ///
    /// # Errors
    /// An empty part, one that begins with a dot, a character that no file name here has.
    pub fn parse(written: &str) -> Result<Self, NameError> {
        let refuse = || NameError::Malformed { written: written.replace('\0', "\\0") };
        let trimmed = written.trim();
        let (name, least) = match trimmed.split_once('>') {
            None => (trimmed, None),
            Some((name, rest)) => (name, Some(least(rest).ok_or_else(refuse)?)),
        };
        let text = name.trim().replace(['=', '@'], "/").replace("--", "/");
        if text.split('/').all(is_sound) { Ok(Self { text, least }) } else { Err(refuse()) }
    }

    /// The name of the module in a file called `file_name`; `None` where it is no layer's.
    #[must_use]
    pub fn of_file(file_name: &str) -> Option<Self> {
        let (stem, suffix) = file_name.rsplit_once('.')?;
        let is_layer = PATH_SUFFIXES.contains(&suffix.to_ascii_lowercase().as_str());
        let name = Self { text: stem.replace("--", "/"), least: None };
        let readable = || !stem.contains(['=', '@', '>']) && name.text.split('/').all(is_sound) && stem.trim() == stem;
        (is_layer && readable()).then_some(name)
    }

    /// Name and version with `/` between the parts, without a least version.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What its file is called, without the suffix.
    #[must_use]
    pub fn file_stem(&self) -> String {
        self.text.replace('/', "--")
    }

    /// The same name below a distro.
    pub(super) fn below(&self, distro: &str) -> Self {
        Self { text: format!("{distro}/{}", self.text), least: self.least.clone() }
    }

    /// The first part.
    pub(super) fn program(&self) -> &str {
        self.text.split('/').next().unwrap_or_default()
    }

    /// Whether a range of versions is asked for.
    pub(super) fn is_range(&self) -> bool {
        self.least.is_some()
    }

    /// The version of `other`, if it will do for this name: between the least one and the one that is named.
    pub(super) fn version_within<'a>(&self, other: &'a Name) -> Option<&'a str> {
        let least = self.least.as_ref()?;
        let (program, named) = self.text.rsplit_once('/').map_or((self.text.as_str(), None), |(p, v)| (p, Some(v)));
        let version = other.text.strip_prefix(program)?.strip_prefix('/')?;
        let order = version::numeric(version, &least.version);
        let enough = if least.exclusive { order.is_gt() } else { order.is_ge() };
        let not_newer = named.is_none_or(|named| version::numeric(version, named).is_le());
        (enough && not_newer && !version.contains('/')).then_some(version)
    }
}

/// A part of a name. A dash at its edge would run into the two that join parts in a file's name.
fn is_sound(part: &str) -> bool {
    let at_the_edge = part.starts_with(['.', '-']) || part.ends_with('-');
    !part.is_empty() && !at_the_edge && !part.contains(|c: char| c.is_control())
}

fn least(rest: &str) -> Option<Least> {
    let (version, exclusive) = rest.strip_prefix('=').map_or((rest, true), |version| (version, false));
    let version = version.trim();
    let sound = version.starts_with(|c: char| c.is_ascii_digit()) && !version.contains(['/', '>', '=', '<']);
    sound.then(|| Least { version: version.into(), exclusive })
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.least {
            Some(least) => write!(f, "{}{}", if least.exclusive { ">" } else { ">=" }, least.version),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn four_delimiters_are_one() {
        for written in ["samtools/1.16", "samtools=1.16", "samtools@1.16", "samtools--1.16", " samtools/1.16 "] {
            let name = Name::parse(written).unwrap();
            assert_eq!((name.as_str(), name.file_stem().as_str()), ("samtools/1.16", "samtools--1.16"), "{written}");
        }
        assert_eq!(Name::parse("grch38/gtf-gencode/47").unwrap().file_stem(), "grch38--gtf-gencode--47");
    }

    #[test]
    fn ranges() {
        let version = |range: &str, file: &str| {
            let range = Name::parse(range).unwrap();
            range.version_within(&Name::of_file(file).unwrap()).map(String::from)
        };
        assert_eq!(version("samtools/1.21>=1.16", "samtools--1.16.sqf"), Some("1.16".into()));
        assert_eq!(version("samtools/1.21>1.16", "samtools--1.16.sqf"), None);
        assert_eq!(version("samtools=1.21>=1.16", "samtools--1.22.sqf"), None);
        assert_eq!(version("samtools>=1.16", "samtools--9.sqf"), Some("9".into()));
        assert_eq!(version("samtools/1.21>=1.16", "samtoolsx--1.17.sqf"), None);
        assert_eq!(version("samtools/1.21", "samtools--1.21.sqf"), None);
        assert_eq!(Name::parse("a/1.2>=1").unwrap().to_string(), "a/1.2>=1");
    }

    #[test]
    fn what_is_no_name() {
        for written in [
            "", " ", "a//b", "a/", "/a", "a/../b", ".hidden", "a-/b", "a/-b", "a>", "a>=", "a>=x", "a>=1>2", "a\0b",
            "a\n",
        ] {
            // A line break at the end is trimmed away like a blank.
            assert!(Name::parse(written).is_err() || written == "a\n", "{written:?}");
        }
        for file in ["x.txt", "noending", ".sqf", "a=b.sqf"] {
            assert_eq!(Name::of_file(file), None, "{file}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,30}") {
            if let Ok(name) = Name::parse(&text) {
                prop_assert_eq!(Name::parse(&name.to_string()).unwrap(), name.clone());
                let file = Name::of_file(&format!("{}.sqf", name.file_stem())).unwrap();
                prop_assert_eq!(file.as_str(), name.as_str());
            }
        }
    }
}
