//! The directory that takes the writes of `:tmp` layers and vanishes at the end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::unistd::{getegid, geteuid};

use crate::plan::command_line::SCRATCH_IMAGE;
use crate::plan::{Overlay, Plan};
use crate::run::error::{RunError, system};
use condatainer_formats::ext::Ids;
use condatainer_images::temporary::private_dir::{self, PrivateDir};
use condatainer_images::trust::tmpdir;
use condatainer_images::verbs::create::{self, Spec};

/// Less than this, in bytes, is no room for anything.
pub(crate) const NOTHING: u64 = 64 << 10;
/// The largest image for `:tmp`, in bytes; empty, it takes some 25 MiB and 20 ms.
const LARGEST: u64 = 64 << 30;
const PREFIX: &str = "condatainer-";

/// A directory below the plan's tmpdir, or nothing where the plan needs none.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: Option<PrivateDir>,
    /// What the engine has to make or find in it.
    inside: &'static str,
}

impl Scratch {
    /// Makes the directory if the plan has a `:tmp` layer. What killed starts of the caller's have left there goes first; `say`
    /// is told of it.
    pub(crate) fn for_plan(plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<Self, RunError> {
        let wanted = |kind: fn(&Overlay) -> bool| plan.stack.iter().any(kind);
        let image = wanted(|overlay| matches!(overlay, Overlay::ScratchImage(_)));
        // What we mount ourselves is kept without a name.
        if plan.mounts.own().is_some() || !image && !wanted(|overlay| matches!(overlay, Overlay::Scratch(_))) {
            return Ok(Self { dir: None, inside: "" });
        }
        let parent = &real(plan.scratch_parent())?;
        for left in private_dir::sweep(parent, PREFIX) {
            say(&format!("{}: removed: a killed start had left it behind", left.display()));
        }
        let made = PrivateDir::new(parent, PREFIX);
        let dir = made.map_err(system(format!("{}: cannot make a directory for :tmp", parent.display())))?;
        if image {
            make_image(dir.path())?;
        }
        Ok(Self { dir: Some(dir), inside: if image { SCRATCH_IMAGE } else { "upper" } })
    }

    /// The line to say where its disk is full: fuse-overlayfs answers for what it has not written yet.
    pub(crate) fn told_full(&self) -> Option<String> {
        let dir = self.dir.as_ref()?.path();
        let free = create::free_space(dir)?;
        let name = dir.parent().unwrap_or(dir).display();
        let line = format!(
            "{name}: the disk is full: some of what the command wrote to its :tmp layer was lost meanwhile: make room, or set tmpdir"
        );
        (free < NOTHING).then_some(line)
    }

    /// Its path; empty where there is none.
    pub(super) fn path(&self) -> &Path {
        self.dir.as_ref().map_or(Path::new(""), PrivateDir::path)
    }

    /// The engine was given the path, and has used it by now: it must lead to our directory, and have led there then.
    pub(crate) fn is_in_place(&self) -> Result<(), RunError> {
        match &self.dir {
            Some(dir) if !dir.is_in_place() || !dir.has(self.inside) => {
                let what = "was replaced by somebody while the container was being started: start again";
                Err(system(dir.path().display().to_string())(io::Error::other(what)))
            }
            _ => Ok(()),
        }
    }

    /// Removes the directory; the line to say where that failed.
    pub(super) fn remove(self) -> Option<String> {
        let dir = self.dir?;
        let path = dir.path().display().to_string();
        dir.remove().err().map(|error| format!("{path}: what :tmp layers wrote could not be removed: {error}"))
    }
}

/// A link on the way may be somebody else's, so it is followed once, and where it leads is looked at.
fn real(parent: &Path) -> Result<PathBuf, RunError> {
    let refused = system(format!("{}: cannot hold what :tmp layers write", parent.display()));
    let real = fs::canonicalize(parent).and_then(|real| match tmpdir::fault(&real) {
        Some(fault) => Err(io::Error::other(fault.to_string())),
        None => Ok(real),
    });
    real.map_err(refused)
}

/// As large as there is room, since its size is the limit of what can be written; it takes what is written and some MiB.
fn make_image(dir: &Path) -> Result<(), RunError> {
    let room = statvfs(dir).map_or(0, |stat| stat.blocks_available().saturating_mul(stat.fragment_size()));
    let size = (room / 10 * 9).clamp(create::MIN_SIZE, LARGEST);
    let owner = Ids { uid: geteuid().as_raw(), gid: getegid().as_raw() };
    let spec = Spec::new(dir.join(SCRATCH_IMAGE), size, owner);
    create::create(&spec, &mut |_, _| {}).map(drop).map_err(RunError::Scratch)
}
