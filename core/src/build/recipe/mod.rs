//! What a layer is made from, told by what was asked and by the file's own words.

mod archive;
pub(super) mod definition;
pub(super) mod flaw;
pub(super) mod source;

use std::path::{Path, PathBuf};

use crate::build::conda::spec::Spec;
use crate::build::error::BuildError;
use source::Source;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipe {
    /// An Apptainer definition.
    Definition {
        /// The file, as it was named.
        path: PathBuf,
        /// Its content.
        text: Vec<u8>,
    },
    /// An image from elsewhere.
    Source(Source),
}

/// What a file tells to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A layer.
    Layer(Recipe),
    /// An environment of conda.
    Environment(Spec),
}

impl Told {
    /// What the file at `path`, from `cwd`, tells. It is read once, so it may be a pipe.
    ///
    /// # Errors
    /// It cannot be read, or tells neither.
    pub fn by_file(path: &Path, cwd: &Path) -> Result<Self, BuildError> {
        if path.is_dir() {
            return Err(BuildError::NoRecipe { path: path.into(), what: "a directory" });
        }
        let text = definition::read(path)?;
        match kind(path, &text) {
            Some(Kind::Definition) => Ok(Self::Layer(Recipe::Definition { path: path.into(), text })),
            Some(Kind::Conda) => Ok(Self::Environment(Spec::of_bytes(&cwd.join(path), text)?)),
            None => Err(BuildError::NoRecipe { path: path.into(), what: "neither" }),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Definition,
    Conda,
}

/// A name that says it is believed; otherwise the first words count.
fn kind(path: &Path, text: &[u8]) -> Option<Kind> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("def") => Some(Kind::Definition),
        _ if definition::begins_with_bootstrap(text) => Some(Kind::Definition),
        Some("yml" | "yaml" | "txt") => Some(Kind::Conda),
        // An image and a Dockerfile get their own words from the definition's check.
        _ if definition::check(text).is_err_and(|flaw| flaw.is_something_else()) => Some(Kind::Definition),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let kind = |name: &str, text: &str| kind(Path::new(name), text.as_bytes());
        assert_eq!(kind("a.def", ""), Some(Kind::Definition));
        assert_eq!(kind("recipe", "# mine\n\n  bootstrap : docker\n"), Some(Kind::Definition));
        assert_eq!(kind("a.txt", "Bootstrap: docker\n"), Some(Kind::Definition));
        assert_eq!(kind("environment.YML", "name: x\n"), Some(Kind::Conda));
        assert_eq!(kind("list.txt", "numpy\n"), Some(Kind::Conda));
        assert_eq!(kind("build.sh", "#!/bin/bash\n"), None);
        assert_eq!(kind("Dockerfile", "FROM debian\n"), Some(Kind::Definition));
        assert_eq!(kind("a.sif", "\0\0"), Some(Kind::Definition));
    }
}
