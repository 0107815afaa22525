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
    #[error("{name}: no such layer{}", cure(near, dirs))]
    NotFound {
        /// The name.
        name: String,
        /// Names that are like it, the nearest first.
        near: Vec<String>,
        /// Where it was looked for, each with the reason if it cannot be read.
        dirs: Vec<String>,
    },
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

fn cure(near: &[String], dirs: &[String]) -> String {
    match (near, dirs) {
        ([], []) => {
            ": no image directory is configured (image_dirs, CONDATAINER_IMAGE_DIRS) and HOME is not set".into()
        }
        ([], dirs) => {
            format!(" in {}: 'condatainer list' shows what there is; a file is written ./FILE", dirs.join(", "))
        }
        (near, _) => format!(": did you mean {}?", near.join(" or ")),
    }
}
