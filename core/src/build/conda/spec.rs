//! What an environment is to hold: packages that are named, or a file that names them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::CondaError;
use super::yaml;
use crate::request::names::Name;

/// More than this is no list of packages, in bytes.
const LONGEST: u64 = 1 << 20;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// As `numpy`, `python=3.11`, `bioconda::star>=2.7`.
    Packages(Vec<String>),
    /// A file that every tool of the family reads.
    File(SpecFile),
}

/// A file that names packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecFile {
    /// Its absolute path; of one that a layer has recorded, its name only.
    pub path: PathBuf,
    /// What it is written in.
    pub format: Format,
    /// Its content.
    pub text: String,
    /// The channels that it names.
    pub channels: Vec<String>,
    /// The channels that were named beside it, before those, when a layer recorded it.
    pub beside: Vec<String>,
}

/// What a file of packages is written in. The tools tell it by the name, and so do we.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `environment.yml`.
    Yaml,
    /// One package, or URL, per line.
    Text,
}

impl Spec {
    /// The packages of a command line.
    ///
    /// # Errors
    /// None, one that is named twice, one that is a file or a path.
    pub fn of_words(words: &[String]) -> Result<Self, CondaError> {
        let packages: Vec<String> = words.iter().map(|word| package(word)).collect::<Result<_, _>>()?;
        if packages.is_empty() {
            return Err(CondaError::NoPackages);
        }
        for (at, one) in packages.iter().enumerate() {
            if let Some(other) = packages.iter().skip(at + 1).find(|other| name_of(other) == name_of(one)) {
                return Err(CondaError::Twice { one: one.clone(), other: other.clone() });
            }
        }
        Ok(Self::Packages(packages))
    }

    /// The package that is called as the module: `samtools/1.22` is `samtools=1.22`, in a channel if one is named.
    ///
    /// # Errors
    /// A name without a version, or with more than one part before it.
    pub fn of_module(name: &str) -> Result<Self, CondaError> {
        let (_, module) = split_channel(name);
        let parsed = Name::parse(module).ok();
        match parsed.as_ref().map(|name| name.as_str().split('/').count()) {
            Some(2) => Self::of_words(&[name.replace("--", "=").replace('@', "=")]),
            _ => Err(CondaError::NoVersion { name: name.into() }),
        }
    }

    /// The packages of a file; `path` is absolute.
    ///
    /// # Errors
    /// It cannot be read, is not what its name says, or names no package.
    pub fn of_file(path: &Path) -> Result<Self, CondaError> {
        Self::of_bytes(path, read(path)?)
    }

    /// As [`Spec::of_file`], of the first bytes of a file, more than [`LONGEST`] where there are more.
    pub(crate) fn of_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, CondaError> {
        if bytes.len() as u64 > LONGEST {
            return Err(CondaError::TooLong { path: path.into() });
        }
        let unreadable = |_| io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8");
        let refused = |error| CondaError::Unreadable { path: path.into(), error };
        Self::of_text(path, String::from_utf8(bytes).map_err(unreadable).map_err(refused)?)
    }

    /// As [`Spec::of_file`], of a file that was read already.
    pub(super) fn of_text(path: &Path, text: String) -> Result<Self, CondaError> {
        let format = format(path);
        let channels = match format {
            Format::Yaml => yaml::channels(path, &text)?,
            Format::Text if text.lines().any(is_entry) => Vec::new(),
            Format::Text => return Err(CondaError::Empty { path: path.into() }),
        };
        Ok(Self::File(SpecFile { path: path.into(), format, text, channels, beside: Vec::new() }))
    }

    /// The same with channels that were named beside it.
    pub(super) fn with(self, beside: Vec<String>) -> Self {
        match self {
            Self::File(file) => Self::File(SpecFile { beside, ..file }),
            packages @ Self::Packages(_) => packages,
        }
    }

    /// The channels that it brings along besides those that it names itself.
    pub(super) fn beside(&self) -> &[String] {
        match self {
            Self::File(file) => &file.beside,
            Self::Packages(_) => &[],
        }
    }

    /// As a report names it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Packages(packages) => packages.join(" "),
            Self::File(file) => file.path.display().to_string(),
        }
    }
}

fn is_entry(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with(['#', '@'])
}

fn format(path: &Path) -> Format {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    if matches!(ending.as_deref(), Some("yml" | "yaml")) { Format::Yaml } else { Format::Text }
}

fn read(path: &Path) -> Result<Vec<u8>, CondaError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| CondaError::Unreadable { path: path.into(), error })
}

/// `samtools/1.22` is written `samtools=1.22` for the tool.
fn package(word: &str) -> Result<String, CondaError> {
    let word = word.trim();
    let is_url = word.contains("://");
    let (channel, package) = split_channel(word);
    let lower = package.to_ascii_lowercase();
    let is_file = !is_url && [".yml", ".yaml", ".txt"].iter().any(|ending| lower.ends_with(ending));
    match () {
        () if word.is_empty() || word.starts_with('-') || word.contains(char::is_control) => {
            Err(CondaError::NotAPackage { word: word.escape_debug().to_string() })
        }
        () if is_file => Err(CondaError::IsFile { word: word.into() }),
        () if is_url => Ok(word.into()),
        // In the container it would be nowhere, and nobody could make the module again from it.
        () if package.starts_with(['/', '.', '~']) => Err(CondaError::IsPath { word: word.into() }),
        () => Ok(format!("{channel}{}", package.replace('/', "="))),
    }
}

/// A channel with the `::` after it, and the rest.
fn split_channel(word: &str) -> (&str, &str) {
    word.rfind("::").map_or(("", word), |at| word.split_at(at + 2))
}

/// What a package is called, without channel, version and build.
fn name_of(package: &str) -> String {
    let (_, package) = split_channel(package);
    if package.contains("://") {
        return package.into();
    }
    let end = package.find(|c: char| "=<>!~ [".contains(c)).unwrap_or(package.len());
    package.get(..end).unwrap_or(package).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(words: &[&str]) -> Result<Vec<String>, String> {
        let words: Vec<String> = words.iter().map(|word| String::from(*word)).collect();
        match Spec::of_words(&words).map_err(|error| error.to_string())? {
            Spec::Packages(packages) => Ok(packages),
            Spec::File(_) => unreachable!("no file was named"),
        }
    }

    #[test]
    fn packages_are_written_as_the_tools_read_them() {
        let words =
            ["samtools/1.22", "python >=3.11", "conda-forge/linux-64::numpy/2.1", "https://x.org/a/b-1-0.conda"];
        let expected =
            ["samtools=1.22", "python >=3.11", "conda-forge/linux-64::numpy=2.1", "https://x.org/a/b-1-0.conda"];
        assert_eq!(packages(&words).unwrap(), expected);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(packages(&[]).unwrap_err().contains("no package"));
        assert!(packages(&["samtools", "Samtools=1.22"]).unwrap_err().starts_with("samtools and Samtools=1.22: "));
        assert!(packages(&["bioconda::star", "star>2"]).is_err());
        assert!(packages(&["environment.yml"]).unwrap_err().contains("-f environment.yml"));
        for path in ["./x-1-0.conda", "/d/x-1-0.conda", "~/x-1-0.tar.bz2", "../x"] {
            assert!(packages(&[path]).unwrap_err().starts_with(&format!("{path}: is a path, ")), "{path}");
        }
        assert!(packages(&["-x"]).is_err() && packages(&["a\nb"]).is_err());
    }

    #[test]
    fn a_module_may_say_its_package() {
        let of = |name: &str| Spec::of_module(name).ok();
        assert_eq!(of("samtools/1.22"), Some(Spec::Packages(vec!["samtools=1.22".into()])));
        assert_eq!(of("bioconda::star=2.7"), Some(Spec::Packages(vec!["bioconda::star=2.7".into()])));
        assert_eq!((of("samtools"), of("grch38/gtf/47"), of("../x")), (None, None, None));
    }

    #[test]
    fn files() {
        let dir = tempfile::tempdir().unwrap();
        let of = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Spec::of_file(&path).map_err(|error| error.to_string())
        };
        assert!(
            matches!(of("a.TXT", "@EXPLICIT\nhttps://x/y-1-0.conda\n"), Ok(Spec::File(f)) if f.format == Format::Text)
        );
        assert!(of("b.txt", "# nothing\n@EXPLICIT\n").unwrap_err().contains("names no package"));
        assert!(of("c.yaml", "dependencies: [a]\nchannels: [x, y]\n").is_ok());
        assert!(Spec::of_file(Path::new("/nowhere/e.yml")).unwrap_err().to_string().contains("No such file"));
    }
}
