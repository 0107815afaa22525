//! Why a name, or anything that was written down, means no file.

use crate::request::layer::LayerError;

/// Why a name means no file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It cannot be a name.
    #[error(
        "'{written}': neither a path nor a name: write PATH (with a '/' or an ending such as .sqf) or NAME[/VERSION][>=LEAST]"
    )]
    Malformed {
        /// As written.
        written: String,
    },
    /// Nothing is called so.
    #[error("{name}: no such {}{}", wanted.word(), cure(name, near, dirs, *wanted))]
    NotFound {
        /// The name.
        name: String,
        /// What it was to be.
        wanted: Wanted,
        /// Names that are like it, the nearest first.
        near: Vec<String>,
        /// Where it was looked for, each with the reason if it cannot be read.
        dirs: Vec<String>,
    },
}

/// What a name is looked for as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A layer.
    Layer,
    /// A base.
    Base,
}

impl Wanted {
    fn word(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Base => "base",
        }
    }
}

/// Why something that was written down means no file.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// It cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// No such name.
    #[error(transparent)]
    Name(#[from] NameError),
}

fn cure(name: &str, near: &[String], dirs: &[String], wanted: Wanted) -> String {
    let make = how_to_make(name, wanted);
    match (near, dirs) {
        ([], []) => {
            ": no image directory is configured (image_dirs, CONDATAINER_IMAGE_DIRS) and HOME is not set".into()
        }
        ([], dirs) => {
            let make = make.unwrap_or_else(|| "'condatainer create --help' says how to make one".into());
            let dirs = dirs.join(", ");
            format!(" in {dirs}: {make}; 'condatainer list' shows what there is; a file is written ./FILE")
        }
        // Of a program that is there this version may be missing; a misspelt one cannot be made.
        (near, _) => {
            let is_other_version = near.iter().any(|other| program(other) == program(name));
            let make = make.filter(|_| is_other_version).map(|make| format!(" {make}")).unwrap_or_default();
            format!(": did you mean {}?{make}", near.join(" or "))
        }
    }
}

fn program(name: &str) -> &str {
    name.split(['/', '>']).next().unwrap_or(name)
}

/// The command that makes what has this name: of the conda packages of this name and version, or of an image of a registry.
fn how_to_make(name: &str, wanted: Wanted) -> Option<String> {
    let full = name.split('>').next().unwrap_or(name);
    let (program, version) = full.split_once('/').or_else(|| name.split_once(">="))?;
    if version.contains('/') {
        return None;
    }
    Some(match wanted {
        Wanted::Layer => format!("'condatainer create {program}/{version} -c conda-forge -c bioconda' makes it"),
        Wanted::Base => format!("'condatainer create -s docker://{program}:{version} -n {program}/{version}' makes it"),
    })
}
