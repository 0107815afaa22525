//! Bind mounts as users write them: `SOURCE[:DESTINATION[:ro|:rw]]`, alone or in a comma-separated list.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::request::syntax::{absolute, escape, split, unescape};

/// A host path that is to appear inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// Path on the host; absolute.
    pub source: PathBuf,
    /// Path in the container; always absolute.
    pub destination: PathBuf,
    /// Whether the container may only read it.
    #[serde(default)]
    pub read_only: bool,
}

/// Why a bind could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bind '{text}': {why}: write SOURCE[:DESTINATION[:ro|:rw]]")]
pub struct BindError {
    text: String,
    why: &'static str,
}

impl Bind {
    /// Reads a comma-separated list of binds. A relative source is taken from `cwd`, `~/` from `home`.
    ///
    /// # Errors
    /// Empty parts, a relative destination, an unknown option, `~/` without a home.
    pub fn parse_list(text: &str, cwd: &Path, home: Option<&Path>) -> Result<Vec<Self>, BindError> {
        split(text, ',').map(|part| Self::parse(part, cwd, home)).collect()
    }

    fn parse(text: &str, cwd: &Path, home: Option<&Path>) -> Result<Self, BindError> {
        let refuse = |why| BindError { text: text.replace('\0', "\\0"), why };
        if text.contains('\0') {
            return Err(refuse("a path cannot contain a NUL byte"));
        }
        let mut parts = split(text, ':').map(unescape);
        let written = parts.next().filter(|s| !s.is_empty()).ok_or_else(|| refuse("no source"))?;
        let source =
            absolute(Path::new(&written), cwd, home).ok_or_else(|| refuse("cannot expand '~/': HOME is not set"))?;
        let destination = parts.next().map_or_else(|| source.clone(), PathBuf::from);
        if !destination.is_absolute() {
            return Err(refuse("the destination is not absolute"));
        }
        let read_only = match parts.next().as_deref() {
            None | Some("rw") => false,
            Some("ro") => true,
            Some(_) => return Err(refuse("the option is neither 'ro' nor 'rw'")),
        };
        match parts.next() {
            None => Ok(Self { source, destination, read_only }),
            Some(_) => Err(refuse("too many ':'")),
        }
    }
}

/// As it is written in a list.
impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.read_only { ":ro" } else { "" };
        write!(f, "{}:{}{mode}", escape(&self.source), escape(&self.destination))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Bind>, BindError> {
        Bind::parse_list(text, Path::new("/w"), Some(Path::new("/home/u")))
    }

    fn bind(source: &str, destination: &str, read_only: bool) -> Bind {
        Bind { source: source.into(), destination: destination.into(), read_only }
    }

    #[test]
    fn forms() {
        assert_eq!(parse("/a").unwrap(), [bind("/a", "/a", false)]);
        assert_eq!(parse("a:/b:ro,~/c").unwrap(), [bind("/w/a", "/b", true), bind("/home/u/c", "/home/u/c", false)]);
        assert_eq!(parse(r"/a\,b:/c\:d:rw").unwrap(), [bind("/a,b", "/c:d", false)]);
        assert_eq!(bind("/a,b", "/c:d", true).to_string(), r"/a\,b:/c\:d:ro");
    }

    #[test]
    fn mistakes_are_named() {
        for text in ["", ":/a", "/a:b", "/a:/b:wo", "/a:/b:ro:x", "/a,", "/a\0"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!(
            parse("/a:b").unwrap_err().to_string(),
            "bind '/a:b': the destination is not absolute: write SOURCE[:DESTINATION[:ro|:rw]]"
        );
    }
}
