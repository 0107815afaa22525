//! Layers as users write them: `PATH|NAME[:ro|:rw|:tmp]`, alone or in a comma-separated list.
//!
//! One grammar serves the command line, `#SBATCH` lines and the plugin, so that a layer means the same everywhere.
//! Parsing is pure; whether the file exists is asked later, by [`crate::machine::survey`].

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::request::syntax::{absolute, escape, split, unescape, unescaped};

/// How a layer is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing is modified; any number of readers.
    Ro,
    /// Writes land in the image and persist; one writer at a time.
    Rw,
    /// Writes go to a node-local directory that vanishes at the end.
    Tmp,
}

impl Mode {
    fn from_suffix(suffix: &str) -> Option<Self> {
        match suffix {
            "ro" => Some(Self::Ro),
            "rw" => Some(Self::Rw),
            "tmp" => Some(Self::Tmp),
            _ => None,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ro => "ro",
            Self::Rw => "rw",
            Self::Tmp => "tmp",
        })
    }
}

/// One layer as it was asked for; `mode` is `None` where the user named none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Path of the image or directory, or a name; an absolute path once [`crate::request::names::Finder`] has seen it.
    pub path: PathBuf,
    /// The mode that the user wrote, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Whether a name led to it. The user has not written down which file it is, so in a directory that everybody can write to it
    /// must belong to somebody who is believed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub named: bool,
}

/// Why a layer or a list of layers could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// Nothing between two commas, or an empty argument.
    #[error("empty layer in '{0}': write PATH[:ro|:rw|:tmp], separated by single commas")]
    Empty(String),
    /// The text after the last colon is no mode.
    #[error(
        "layer '{layer}': unknown mode ':{mode}': use :ro, :rw or :tmp (a ':' that belongs to the path is written '\\:')"
    )]
    UnknownMode {
        /// The layer as written.
        layer: String,
        /// What stood after the colon.
        mode: String,
    },
    /// NUL bytes cannot be in a path.
    #[error("layer '{0}': a path cannot contain a NUL byte")]
    Nul(String),
    /// `~/` without a home directory to expand it.
    #[error("layer '{0}': cannot expand '~/': HOME is not set")]
    NoHome(String),
}

impl Layer {
    /// What lies at a path, or has a name; without a mode.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode: None, named: false }
    }

    /// Reads one layer. `\,` and `\:` stand for the characters themselves.
    ///
    /// # Errors
    /// An empty layer, an unknown mode, a NUL byte.
    pub fn parse(text: &str) -> Result<Self, LayerError> {
        if text.contains('\0') {
            return Err(LayerError::Nul(text.replace('\0', "\\0")));
        }
        let (path, mode) = match unescaped(text, ':').last() {
            None => (text, None),
            Some(at) => {
                let suffix = &text[at + 1..];
                let mode = Mode::from_suffix(suffix)
                    .ok_or_else(|| LayerError::UnknownMode { layer: text.into(), mode: suffix.into() })?;
                (&text[..at], Some(mode))
            }
        };
        if path.is_empty() {
            return Err(LayerError::Empty(text.into()));
        }
        Ok(Self { mode, ..Self::at(unescape(path)) })
    }

    /// Reads a comma-separated list of layers, lowest first.
    ///
    /// # Errors
    /// As [`Layer::parse`], for the first layer that cannot be read.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, LayerError> {
        split(text, ',')
            .map(|part| if part.is_empty() { Err(LayerError::Empty(text.into())) } else { Self::parse(part) })
            .collect()
    }

    /// The same layer with an absolute path: relative to `cwd`, `~/` to `home`.
    ///
    /// # Errors
    /// `~/` where there is no home.
    pub fn absolute(self, cwd: &Path, home: Option<&Path>) -> Result<Self, LayerError> {
        let path = absolute(&self.path, cwd, home);
        let path = path.ok_or_else(|| LayerError::NoHome(self.path.display().to_string()))?;
        // Without `.`; but what `..` means depends on symbolic links.
        Ok(Self { path: path.components().collect(), ..self })
    }
}

/// As it is written in a list.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.path))?;
        self.mode.map_or(Ok(()), |mode| write!(f, ":{mode}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layer(path: &str, mode: Option<Mode>) -> Layer {
        Layer { mode, ..Layer::at(path) }
    }

    #[test]
    fn modes_and_escapes() {
        assert_eq!(Layer::parse("env.img"), Ok(layer("env.img", None)));
        assert_eq!(Layer::parse("env.img:ro"), Ok(layer("env.img", Some(Mode::Ro))));
        assert_eq!(Layer::parse("/a/b.sqf:tmp"), Ok(layer("/a/b.sqf", Some(Mode::Tmp))));
        assert_eq!(Layer::parse(r"a\:b.img:rw"), Ok(layer("a:b.img", Some(Mode::Rw))));
        assert_eq!(Layer::parse(r"a\b.img"), Ok(layer(r"a\b.img", None)));
        assert_eq!(layer("a:b,c.img", Some(Mode::Rw)).to_string(), r"a\:b\,c.img:rw");
    }

    #[test]
    fn lists_split_at_unescaped_commas_only() {
        let parsed = Layer::parse_list(r"a.sqf,b\,c.sqf:ro,env.img:rw").unwrap();
        assert_eq!(parsed, [layer("a.sqf", None), layer("b,c.sqf", Some(Mode::Ro)), layer("env.img", Some(Mode::Rw))]);
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(
            Layer::parse("env.img:wr").unwrap_err().to_string(),
            "layer 'env.img:wr': unknown mode ':wr': use :ro, :rw or :tmp (a ':' that belongs to the path is written '\\:')"
        );
        for text in ["", ",", "a,,b", "a,", ":rw", "a,:ro"] {
            assert!(matches!(Layer::parse_list(text), Err(LayerError::Empty(_))), "{text}");
        }
        assert!(matches!(Layer::parse("a\0b"), Err(LayerError::Nul(_))));
    }

    #[test]
    fn paths_become_absolute() {
        let abs = |text: &str| Layer::parse(text).unwrap().absolute("/w/d".as_ref(), Some("/home/u".as_ref()));
        assert_eq!(abs("env.img").unwrap().path, Path::new("/w/d/env.img"));
        assert_eq!(abs("./x/./env.img").unwrap().path, Path::new("/w/d/x/env.img"));
        assert_eq!(abs("../env.img:rw").unwrap(), layer("/w/d/../env.img", Some(Mode::Rw)));
        assert_eq!(abs("~/env.img").unwrap().path, Path::new("/home/u/env.img"));
        assert_eq!(abs("~x.img").unwrap().path, Path::new("/w/d/~x.img"));
        assert!(Layer::parse("~/x").unwrap().absolute("/".as_ref(), None).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = Layer::parse_list(&text);
        }

        #[test]
        fn an_escaped_path_survives(paths in prop::collection::vec("[a-z,:. ]{1,12}", 1..4)) {
            let text = paths.iter().map(|path| layer(path, None).to_string()).collect::<Vec<_>>().join(",");
            let parsed: Vec<_> = Layer::parse_list(&text).unwrap().into_iter().map(|l| l.path).collect();
            prop_assert_eq!(parsed, paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        }
    }
}
