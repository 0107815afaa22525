//! Why nothing was built, with the command that cures it.

use std::io;
use std::path::{Path, PathBuf};

use super::conda::error::CondaError;
use super::recipe::flaw::Flaw;
use super::work_dir::other_tmpdir;
use crate::config::Origin;
use crate::machine::engine::MissingEngine;
use condatainer_formats::size::Size;
use condatainer_images::image::ImageError;
use condatainer_images::trust::open_dir::directory_of;

/// Why there is no layer. Nothing is left at its path, and what was there is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is nothing at the path.
    #[error("{}: no such file or directory", path.display())]
    NoFile {
        /// As given.
        path: PathBuf,
    },
    /// It is there but cannot be read.
    #[error("{}: cannot be read: {error}", path.display())]
    Unreadable {
        /// As given.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
    /// Not a definition that Apptainer could build.
    #[error("{}: {}", path.display(), flaw.words())]
    Definition {
        /// The file, or the layer that it is recorded in.
        path: PathBuf,
        /// What is wrong.
        flaw: Flaw,
    },
    /// A file that says nothing about a layer.
    #[error("{}: is {what}; -f takes an Apptainer definition (.def, or a first line 'Bootstrap:') or an environment of conda (.yml, .yaml, .txt)", path.display())]
    NoRecipe {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Not a place that images come from.
    #[error("-s {asked}: {why}")]
    Source {
        /// As asked.
        asked: String,
        /// What is wrong.
        why: String,
    },
    /// The source, the layer or what Apptainer made is not usable as an image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An environment of conda was not made.
    #[error(transparent)]
    Conda(Box<CondaError>),
    /// The layer does not tell what it was made from.
    #[error("{}: has no definition recorded; say what to build with -f or -s", path.display())]
    NothingRecorded {
        /// The layer.
        path: PathBuf,
    },
    /// There is no layer whose definition could be used again.
    #[error("{}: is not there yet, so it has no definition to rebuild it from; say what to build with -f or -s", path.display())]
    NothingToRebuild {
        /// The layer.
        path: PathBuf,
    },
    /// Something is there already.
    #[error("{}: exists already; -u rebuilds it", path.display())]
    Exists {
        /// The layer.
        path: PathBuf,
    },
    /// A user's work is there.
    #[error("{}: is a workspace image, not a layer: -u would lose what you have in it; name another file with -n or -p", path.display())]
    IsWorkspace {
        /// The image.
        path: PathBuf,
    },
    /// A directory has the name.
    #[error("{}: is a directory; name a file", path.display())]
    IsDirectory {
        /// The layer.
        path: PathBuf,
    },
    /// The directory for it is not there.
    #[error("{}: the directory {} does not exist; make it first", path.display(), directory.display())]
    NoDirectory {
        /// The layer.
        path: PathBuf,
        /// What is missing.
        directory: PathBuf,
    },
    /// The caller may not write there.
    #[error("{}: you cannot write to the directory {}; name another place with -p", path.display(), directory.display())]
    NotWritable {
        /// The layer.
        path: PathBuf,
        /// The directory.
        directory: PathBuf,
    },
    /// Another one is at it.
    #[error("{}: another condatainer is building it at this moment (its draft is {}); wait until it is done", path.display(), draft.display())]
    InHand {
        /// The layer.
        path: PathBuf,
        /// The other's draft.
        draft: PathBuf,
    },
    /// Apptainer is missing.
    #[error(transparent)]
    NoEngine(#[from] MissingEngine),
    /// Apptainer could not be started.
    #[error("{}: cannot be started: {error}", program.display())]
    Start {
        /// Apptainer.
        program: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
    /// Apptainer cannot be told how to compress.
    #[error("{}: this release cannot be told how to compress; leave --compression out", program.display())]
    NoChoice {
        /// Apptainer.
        program: PathBuf,
    },
    /// Building from a definition needs root or fakeroot.
    #[error(
        "{}: only root builds from a definition without fakeroot; {}",
        path.display(),
        origin.as_ref().map_or_else(|| "leave --no-fakeroot out".into(), |origin| origin.instead_of_option("false"))
    )]
    NeedsRoot {
        /// The definition, or the layer that it is recorded in.
        path: PathBuf,
        /// Who has decided about fakeroot, where it was no option.
        origin: Option<Origin>,
    },
    /// The temporary directory cannot be used.
    #[error("{}: cannot be used for building: {why}; {}", path.display(), other_tmpdir(origin.as_ref()))]
    Tmpdir {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        why: String,
        /// Who has named it, where it was no option.
        origin: Option<Origin>,
    },
    /// A disk is full.
    #[error("{}: {}", path.display(), no_space(directory, *needed, *available))]
    NoSpace {
        /// The layer.
        path: PathBuf,
        /// The directory on the full disk.
        directory: PathBuf,
        /// In bytes, as far as that is known.
        needed: Option<u64>,
        /// In bytes.
        available: u64,
    },
    /// Apptainer failed.
    #[error("{}: apptainer build failed: {reason}{}", path.display(), advice.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default())]
    Failed {
        /// The layer.
        path: PathBuf,
        /// Apptainer's reason, in one line.
        reason: String,
        /// Apptainer's last lines.
        last_lines: Vec<String>,
        /// What helps.
        advice: Option<String>,
    },
    /// Apptainer made something that is no layer.
    #[error("{}: apptainer made {what}, of which no layer can be made; leave out what asks for that", path.display())]
    NotSquashfs {
        /// What it made.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// The caller does not want it any more.
    #[error("{}: interrupted; nothing is left of it", path.display())]
    Interrupted {
        /// The layer.
        path: PathBuf,
    },
    /// Any other answer of the operating system.
    #[error("{}: cannot be made: {error}", path.display())]
    Io {
        /// The layer.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
}

fn no_space(directory: &Path, needed: Option<u64>, available: u64) -> String {
    let directory = directory.display();
    match needed {
        Some(needed) => format!(
            "{} are needed in {directory}, {} are free; make room, or build elsewhere (--tmpdir for the work, -p for the layer)",
            Size(needed),
            Size(available)
        ),
        None => format!(
            "the disk of {directory} or your quota there is full; make room, or name another directory for the work with --tmpdir"
        ),
    }
}

impl From<CondaError> for BuildError {
    fn from(error: CondaError) -> Self {
        Self::Conda(Box::new(error))
    }
}

impl BuildError {
    pub(super) fn source(asked: &str, why: impl Into<String>) -> Self {
        Self::Source { asked: asked.into(), why: why.into() }
    }

    /// What the operating system said of the layer or its directory.
    #[must_use]
    pub fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                let directory = directory_of(&path).to_owned();
                Self::NotWritable { directory, path }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let directory = directory_of(&path).to_owned();
                Self::NoSpace { directory, needed: None, available: 0, path }
            }
            _ => Self::Io { path, error },
        }
    }

    /// Apptainer's own last words, where it was Apptainer that failed.
    #[must_use]
    pub fn last_lines(&self) -> &[String] {
        match self {
            Self::Failed { last_lines, .. } => last_lines,
            Self::Conda(error) => error.last_lines(),
            _ => &[],
        }
    }
}
