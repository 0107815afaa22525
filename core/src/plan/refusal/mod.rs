//! Why a start is refused: one sentence each, with the path, the reason and what to type next.
//!
//! The CLI, the plugin and the documentation use these same words.

mod limit;
mod words;

use std::path::{Path, PathBuf};

use crate::config::{Origin, drop_option};
use crate::machine::directories::ImageDirectory;
use crate::machine::engine::{Flavour, MissingEngine};
use crate::request::layer::Mode;
use condatainer_formats::size::Size;
use condatainer_images::acquire::holder::Holder;
use condatainer_images::system::fakeroot::Fakeroot;
use words::{closed, ext_base, instead_of_squashfs, on_disk, readers, wait, who, wrong_owner};

pub use limit::Limit;

/// A start that would not work, or would do harm.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    /// No container engine.
    NoEngine(MissingEngine),
    #[error(
        "user namespaces are switched off on this machine, and {0} needs them: set sysctl user.max_user_namespaces and kernel.unprivileged_userns_clone"
    )]
    /// The kernel's or the site's choice.
    NoUserNamespaces(Flavour),
    #[error("{}: an ext image cannot be the base: {}", path.display(), ext_base(origin.as_ref()))]
    /// Base and layer mixed up.
    ExtBase {
        /// The base.
        path: PathBuf,
        /// Who has named it, where it was no option.
        origin: Option<Origin>,
    },
    #[error(
        "-w: no layer is an image that can be written to (one with :ro does not count): name one, make one with 'condatainer o', or use --tmp (in Slurm: --condatainer-tmp), which needs none"
    )]
    /// `-w` without an image.
    NothingToWrite,
    #[error("working directory {}: it is one in the container: write its absolute path", path.display())]
    /// Relative to nothing.
    RelativeWorkdir {
        /// As written.
        path: PathBuf,
    },
    #[error("{}: the working directory cannot be shown in a container: {reason}: go to another, or name one of the container's with --pwd (in Slurm: --chdir, --condatainer-workdir)", path.display())]
    /// The command would start somewhere else.
    NoWorkingDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    #[error("{} and {}: only one layer can be written to: use :ro for the other", first.display(), second.display())]
    /// Two `:rw`.
    TwoWriters {
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    #[error("{} is :rw and {} is :tmp: writes can go to one place only: use :ro for one of them", rw.display(), tmp.display())]
    /// `:rw` together with `:tmp`.
    WriterAndTmp {
        /// The `:tmp` layer.
        tmp: PathBuf,
        /// The `:rw` layer.
        rw: PathBuf,
    },
    #[error("{}: it would be written to (-w, :rw), and --tmp (in Slurm: --condatainer-tmp) keeps all that is written elsewhere: leave one of them out", path.display())]
    /// `:rw` together with `--tmp`.
    WriterAndScratch {
        /// The `:rw` layer.
        path: PathBuf,
    },
    #[error("{} and {} are the same: what is written to must be named once", first.display(), second.display())]
    /// One layer under two names, or twice under one.
    Twice {
        /// As it was named first.
        first: PathBuf,
        /// As it was named again.
        second: PathBuf,
    },
    #[error("{reason}")]
    /// A file that would decide what runs is somebody's who is not believed.
    Distrusted {
        /// Which file, whose, and what to do.
        reason: String,
    },
    #[error("{}: a ':' in the path of a layer cannot be passed to {engine}: rename the file or use a symbolic link", path.display())]
    /// The engine splits at colons.
    ColonInPath {
        /// The layer.
        path: PathBuf,
        /// The engine.
        engine: Flavour,
    },
    #[error("{}: a squashfs layer is read-only and cannot be :{mode}: {}", path.display(), instead_of_squashfs(*mode))]
    /// `:rw` or `:tmp` on squashfs.
    SquashfsIsReadOnly {
        /// The layer.
        path: PathBuf,
        /// The mode that was asked for.
        mode: Mode,
    },
    #[error("{}: this SIF has no overlay partition, so it cannot be a layer: use it as the base (-b)", path.display())]
    /// A SIF without overlay.
    SifWithoutOverlay {
        /// The layer.
        path: PathBuf,
    },
    #[error("{}: you may not write this file, so it cannot be :rw: check its mode and that its file system is writable, or use :ro or :tmp", path.display())]
    /// No write permission.
    NotWritable {
        /// The layer.
        path: PathBuf,
    },
    #[error("{}: {engine} does not accept this image: {reason}; make one with 'condatainer o' and copy the files over", path.display())]
    /// Features that the engine does not know.
    EngineRefuses {
        /// The layer.
        path: PathBuf,
        /// The engine.
        engine: Flavour,
        /// Which ones.
        reason: String,
    },
    #[error("{}", closed(path, directory, cure))]
    /// A directory in it is closed to the caller.
    Closed {
        /// The layer.
        path: PathBuf,
        /// The directory.
        directory: ImageDirectory,
        /// What to do.
        cure: String,
    },
    #[error("{}: your limit on file sizes is {} and the image has {}; raise it (ulimit -f), or make the image smaller ('condatainer overlay resize -s')", path.display(), Size(*limit), Size(*size))]
    /// A write behind the limit would end fuse2fs.
    FileLimit {
        /// The layer.
        path: PathBuf,
        /// Where its file system ends, in bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
    #[error("{}: has no upper/ directory: if it had one, it is damaged, and 'condatainer overlay check {}' says so; if not, it is no overlay image, and 'condatainer o' makes one", path.display(), path.display())]
    /// An ext file system for something else.
    NoUpper {
        /// The layer.
        path: PathBuf,
    },
    #[error("{}: in use for writing by {}; {}", path.display(), who(path, holder.as_deref(), seen.as_deref()), wait(*mode))]
    /// A writer holds the lock.
    HasWriter {
        /// The layer.
        path: PathBuf,
        /// What was wanted.
        mode: Mode,
        /// The writer's note.
        holder: Option<Box<Holder>>,
        /// What the machine tells.
        seen: Option<String>,
    },
    #[error("{}: in use by readers, so it cannot be :rw now: wait until they end, or use :ro or :tmp; {}", path.display(), readers(path, seen.as_deref()))]
    /// Readers hold the lock.
    HasReaders {
        /// The layer.
        path: PathBuf,
        /// Who they are, as far as the machine tells.
        seen: Option<String>,
    },
    #[error("{}: this job's own batch script holds the image for writing: submit it with --condatainer-scope=steps, which leaves the image to the steps", path.display())]
    /// The step's own batch container holds it.
    HeldByOwnBatch {
        /// The layer.
        path: PathBuf,
    },
    #[error("{}: the container from which you start this uses it, and does not end before this does: start it from outside, or submit a batch script with --condatainer-scope=steps, which leaves the image to the steps", path.display())]
    /// Whoever waits for this start has the image, and it cannot be had beside him.
    HeldAround {
        /// The layer.
        path: PathBuf,
    },
    #[error("{}: the file system is marked as damaged: run 'condatainer overlay check --fix {}' and look at what it says", path.display(), path.display())]
    /// The error flag is set.
    Damaged {
        /// The layer.
        path: PathBuf,
    },
    #[error("{}: its journal was not replayed (a crash, or it is mounted elsewhere): unmount it there, or run 'condatainer overlay check --fix {}' as somebody who may write it", path.display(), path.display())]
    /// An unreplayed journal.
    NeedsRecovery {
        /// The layer.
        path: PathBuf,
    },
    #[error("{}: is not marked as clean, and this file system has no locks to tell whether somebody writes to it now, perhaps on another node: make sure that nobody does, then run 'condatainer overlay check --fix {}'", path.display(), path.display())]
    /// In use, or left by a killed writer; nobody can tell which.
    PerhapsInUse {
        /// The layer.
        path: PathBuf,
    },
    #[error("{}", wrong_owner(path, *owner, *caller, *fakeroot, *fakeroot_helps, *automatic, origin.as_ref()))]
    /// The upper's owner cannot be written as.
    WrongOwner {
        /// The layer.
        path: PathBuf,
        /// Owner of upper.
        owner: (u32, u32),
        /// The caller.
        caller: (u32, u32),
        /// The mode it would have run in.
        fakeroot: Option<Fakeroot>,
        /// Whether the fakeroot that there is for the caller can write it.
        fakeroot_helps: bool,
        /// Whether nobody has decided about fakeroot, so that the images did.
        automatic: bool,
        /// Who has decided about fakeroot, where it was no option.
        origin: Option<Origin>,
    },
    #[error("mounts = own: {why}: {}", drop_option("--mounts", "own", origin.as_ref()))]
    /// We are to mount the layers, and cannot.
    NotOurs {
        /// Why.
        why: String,
        /// Who has asked for it, where it was no option.
        origin: Option<Origin>,
    },
    #[error(
        "fakeroot: you have a subuid range, but newuidmap is not installed here: install the package uidmap (shadow-utils)"
    )]
    /// The range cannot be used.
    NoNewuidmap,
    #[error("scratch = memory: {}, which does not keep there what is written: {}", why.as_deref().map_or_else(|| "the engine mounts the layers".into(), |why| format!("{why}, so the engine mounts the layers")), on_disk(origin.as_ref()))]
    /// What is written for one run is to be kept in memory, and only we can do that.
    NotInMemory {
        /// Why we do not mount the layers, where we could have been asked to.
        why: Option<String>,
        /// Who has asked for memory, where it was no option.
        origin: Option<Origin>,
    },
    #[error("{}: cannot hold what :tmp layers write: {reason}: {cure}", path.display())]
    /// No scratch directory.
    NoTmpdir {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What to do.
        cure: String,
    },
    #[error(
        "{}: a setuid Apptainer may show again what is deleted in it, where no layer is written: use :tmp or :rw, or ask for an unprivileged installation",
        path.display()
    )]
    /// Apptainer forbids its own configuration to be chosen there.
    SetuidShowsDeleted {
        /// The layer, or the base that brings one along.
        path: PathBuf,
    },
    #[error(
        "{}: a setuid Apptainer stacks directories on a base directory by the kernel, which cannot do all of it: use a base in a file (.sif, .sqf), or ask for an unprivileged installation",
        base.display()
    )]
    /// The same, where nothing makes Apptainer take fuse-overlayfs by itself.
    SetuidWithDirectories {
        /// The base.
        base: PathBuf,
    },
    #[error("{}: {}", path.display(), limit.said_of(path))]
    /// What SingularityCE cannot do.
    SingularityCE {
        /// The image or directory.
        path: PathBuf,
        /// What, and the way out.
        limit: Limit,
    },
    #[error(
        "fakeroot: SingularityCE's needs a subuid range, and you have none in /etc/subuid: ask for one, or {}",
        drop_option("--fakeroot", "true", origin.as_ref())
    )]
    /// Apptainer would map root alone.
    NoSubuidRange {
        /// Who has decided about fakeroot, where it was no option.
        origin: Option<Origin>,
    },
}

impl Refusal {
    /// The same, said of the engine that is really used.
    #[must_use]
    pub fn of(self, engine: Flavour) -> Self {
        match self {
            Self::EngineRefuses { path, reason, .. } => Self::EngineRefuses { path, reason, engine },
            Self::ColonInPath { path, .. } => Self::ColonInPath { path, engine },
            other => other,
        }
    }

    /// The image that somebody uses, where that is the reason.
    #[must_use]
    pub fn image_in_use(&self) -> Option<&Path> {
        match self {
            Self::HasWriter { path, .. } | Self::HasReaders { path, .. } => Some(path),
            _ => None,
        }
    }

    /// What is waited for by who waits until the image is free, where somebody uses it.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        let (path, what) = match self {
            Self::HasWriter { path, holder, seen, .. } => {
                let who = who(path, holder.as_deref(), seen.as_deref());
                (path, format!("in use for writing by {who}: waiting until it ends"))
            }
            Self::HasReaders { path, .. } => (path, "in use by readers: waiting until they end".into()),
            _ => return None,
        };
        Some(format!("{}: {what}", path.display()))
    }

    /// The image that somebody writes to, where that is the reason.
    #[must_use]
    pub fn image_written_to(&self) -> Option<&Path> {
        match self {
            Self::HasWriter { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Whether the reason may be gone in a moment: the image is locked, and its holder has not left a note, or does work that is
    /// soon over (a chown).
    #[must_use]
    pub fn may_be_momentary(&self) -> bool {
        match self {
            Self::HasWriter { holder, .. } => holder.as_ref().is_none_or(|holder| holder.verb.is_some()),
            _ => false,
        }
    }
}
