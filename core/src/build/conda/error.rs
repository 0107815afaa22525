//! Why there is no module, with what to type next.

use std::io;
use std::path::{Path, PathBuf};

use super::output::Trouble;
use crate::build::work_dir::other_tmpdir;
use crate::config::Origin;
use crate::machine::survey::SurveyError;
use crate::plan::refusal::Refusal;
use condatainer_images::tools::ToolError;
use condatainer_images::trust::open_dir::directory_of;

/// See the module. Nothing is left at the layer's path then, and what was there before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CondaError {
    /// There is no micromamba, mamba or conda.
    #[error(
        "no conda found: micromamba, mamba and conda are not in PATH, and MAMBA_EXE and CONDA_EXE name none: name one with --conda PATH, CONDATAINER_CONDA or 'conda' in the configuration; this gets one into ./bin: curl -Ls https://micro.mamba.pm/api/micromamba/{}/latest | tar -xj bin/micromamba",
        platform()
    )]
    NoTool,
    /// The one that was named, or found, cannot be used.
    #[error("{}: {what}; {}", program.display(), other_tool(origin.as_ref()))]
    NotATool {
        /// As named.
        program: PathBuf,
        /// Who has named it, where it was no option.
        origin: Option<Origin>,
        /// What is wrong.
        what: String,
    },
    /// Nothing was asked for.
    #[error("no package is named: write them after -n NAME, or name a file with -f environment.yml")]
    NoPackages,
    /// The same package twice.
    #[error("{one} and {other}: the same package is named twice; leave one out")]
    Twice {
        /// As written.
        one: String,
        /// As written.
        other: String,
    },
    /// It cannot be a package.
    #[error("'{word}': is no package; write NAME, NAME=VERSION or CHANNEL::NAME")]
    NotAPackage {
        /// As written.
        word: String,
    },
    /// A file where packages are named.
    #[error("{word}: is a file; name it with -f {word}")]
    IsFile {
        /// As written.
        word: String,
    },
    /// A package as a file.
    #[error(
        "{word}: is a path, and packages are named: put the file into a channel (DIR/noarch or DIR/linux-64, then 'conda index DIR'), and name that with -c DIR"
    )]
    IsPath {
        /// As written.
        word: String,
    },
    /// A module's name does not tell its package.
    #[error("{name}: does not tell which package: write NAME/VERSION, or -n {name} PACKAGE...")]
    NoVersion {
        /// As written.
        name: String,
    },
    /// The name would be a prefix that no program can live with.
    #[error("{}: a module's file is NAME.sqf or NAME--VERSION.sqf, without a space or a colon, since its name stands in PATH; name it otherwise with -n or -p", path.display())]
    AwkwardName {
        /// The layer.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{}: cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
    /// The file is too long to be a list of packages.
    #[error("{}: is longer than 1 MiB, so it is no list of packages", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file is no environment.yml.
    #[error("{}: {what}; write it as 'conda env export' does", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        what: String,
    },
    /// The file names nothing.
    #[error("{}: names no package; there is nothing to make", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A channel that cannot be one.
    #[error("channel '{channel}': {what}")]
    Channel {
        /// As written.
        channel: String,
        /// What is wrong.
        what: String,
    },
    /// No base, or it cannot be read.
    #[error("{0}; the environment is made in a container on it")]
    Base(#[from] SurveyError),
    /// No container can be started here.
    #[error(transparent)]
    Container(#[from] Refusal),
    /// The container or the tool could not be started.
    #[error("{}: cannot be started: {error}", program.display())]
    Start {
        /// The engine.
        program: PathBuf,
        /// As the system said it.
        error: io::Error,
    },
    /// The temporary directory cannot be used.
    #[error("{}: cannot be used for building: {error}; {}", path.display(), other_tmpdir(origin.as_ref()))]
    Tmpdir {
        /// The directory.
        path: PathBuf,
        /// Who has named it, where it was no option.
        origin: Option<Origin>,
        /// As the system said it.
        error: io::Error,
    },
    /// The tool failed.
    #[error("{}: {tool} failed: {reason}{}", path.display(), advice(*trouble, tmpdir))]
    Failed {
        /// The layer.
        path: PathBuf,
        /// What it is called.
        tool: String,
        /// Its reason, in one line.
        reason: String,
        /// Its last lines.
        last_lines: Vec<String>,
        /// What that means.
        trouble: Failure,
        /// Where the work was done.
        tmpdir: PathBuf,
    },
    /// The tool says that it succeeded, and nothing is there.
    #[error("{}: {tool} has installed nothing; there is nothing to pack: name packages", path.display())]
    NothingInstalled {
        /// The layer.
        path: PathBuf,
        /// What it is called.
        tool: String,
    },
    /// mksquashfs is missing, or failed.
    #[error("{}: {error}", path.display())]
    Pack {
        /// The layer.
        path: PathBuf,
        /// What it said.
        error: ToolError,
    },
    /// A disk is full.
    #[error("{}: the disk of {} or your quota there is full; make room, or name another place with -p", path.display(), directory.display())]
    NoSpace {
        /// What is written.
        path: PathBuf,
        /// On which disk.
        directory: PathBuf,
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

/// What a failure of the tool means; for the message only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure(pub(super) Trouble);

/// This machine, as conda's channels call it.
fn platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "64",
        "powerpc64" => "ppc64le",
        other => other,
    };
    format!("linux-{arch}")
}

fn advice(failure: Failure, tmpdir: &Path) -> String {
    match failure.0 {
        Trouble::Full => format!(
            "; a disk or your quota is full: make room in {} and in the tool's cache of packages, or name another directory for the work with --tmpdir",
            tmpdir.display()
        ),
        Trouble::Unreachable => "; this machine does not reach the channel: build where it can be reached (a login node), set https_proxy, or name another channel with -c".into(),
        Trouble::Unsolvable => "; check names and versions, or name the channel that has them with -c".into(),
        Trouble::NotInBase => "; the base image lacks what the tool needs: use micromamba, which needs nothing, or another base (-b)".into(),
        Trouble::Other => String::new(),
    }
}

fn other_tool(origin: Option<&Origin>) -> String {
    const BY_OPTION: &str = "name micromamba, mamba or conda with --conda PATH";
    origin.map_or_else(|| BY_OPTION.into(), |origin| origin.cure(&format!(", or {BY_OPTION}")))
}

impl CondaError {
    /// What the operating system said of the layer.
    #[must_use]
    pub fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { directory: directory_of(&path).to_owned(), path }
            }
            _ => Self::Io { path, error },
        }
    }

    /// The same, of a program that was named by no option but by this key or variable.
    pub(super) fn named_by(self, origin: Option<Origin>) -> Self {
        match self {
            Self::NotATool { program, what, .. } => Self::NotATool { program, what, origin },
            other => other,
        }
    }

    /// The tool's own last words, where it was the tool that failed.
    #[must_use]
    pub fn last_lines(&self) -> &[String] {
        match self {
            Self::Failed { last_lines, .. } => last_lines,
            _ => &[],
        }
    }
}
