//! The directory that takes the writes of `:tmp` layers and vanishes at the end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use nix::sys::statvfs::statvfs;
use nix::unistd::{getegid, geteuid};

use crate::argv::SCRATCH_IMAGE;
use crate::create::{self, Spec};
use crate::ext::Ids;
use crate::fakeroot::Fakeroot;
use crate::plan::{Overlay, Plan};
use crate::run::{RunError, system};

/// The largest image for `:tmp`, in bytes; empty, it takes some 25 MiB and 20 ms.
const LARGEST: u64 = 64 << 30;

/// A directory below the plan's tmpdir, or nothing where the plan needs none.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: Option<TempDir>,
    subuid: bool,
}

impl Scratch {
    /// Makes the directory if the plan has a `:tmp` layer.
    pub(crate) fn for_plan(plan: &Plan) -> Result<Self, RunError> {
        let wanted = |kind: fn(&Overlay) -> bool| plan.stack.iter().any(kind);
        let image = wanted(|overlay| matches!(overlay, Overlay::ScratchImage(_)));
        let directory = image || wanted(|overlay| matches!(overlay, Overlay::Scratch(_)));
        let make = || {
            let parent = plan.scratch_parent();
            let made = tempfile::Builder::new().prefix("condatainer-").tempdir_in(parent);
            made.map_err(system(format!("{}: cannot make a directory for :tmp", parent.display())))
        };
        let scratch = Self { dir: directory.then(make).transpose()?, subuid: plan.fakeroot == Some(Fakeroot::Subuid) };
        if image {
            make_image(scratch.path())?;
        }
        Ok(scratch)
    }

    /// Its path; empty where there is none.
    pub(crate) fn path(&self) -> &Path {
        self.dir.as_ref().map_or(Path::new(""), TempDir::path)
    }
}

impl Scratch {
    /// Removes the directory; the line to say where that failed.
    pub(crate) fn remove(mut self) -> Option<String> {
        self.clear()
    }

    fn clear(&mut self) -> Option<String> {
        let dir = self.dir.take()?;
        if self.subuid {
            remove_as_subordinate_ids(dir.path());
        }
        open_up(dir.path());
        let path = dir.path().display().to_string();
        dir.close().err().map(|error| format!("{path}: what :tmp layers wrote could not be removed: {error}"))
    }
}

/// As large as there is room, since its size is the limit of what can be written; it takes what is written and some MiB.
fn make_image(dir: &Path) -> Result<(), RunError> {
    let room = statvfs(dir).map_or(0, |stat| stat.blocks_available().saturating_mul(stat.fragment_size()));
    let size = (room / 10 * 9).clamp(create::MIN_SIZE, LARGEST);
    let owner = Ids { uid: geteuid().as_raw(), gid: getegid().as_raw() };
    let spec = Spec::new(dir.join(SCRATCH_IMAGE), size, owner);
    create::create(&spec, &mut |_, _| {}).map(drop).map_err(RunError::Scratch)
}

/// A start that failed has written nothing that anybody would miss.
impl Drop for Scratch {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What fakeroot wrote belongs to the caller's subordinate ids: only a user namespace with the same map may remove it.
fn remove_as_subordinate_ids(dir: &Path) {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--map-auto", "rm", "-rf", "--"])
        .arg(dir.join("upper"))
        .arg(dir.join("work"));
    let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// OverlayFS leaves a work directory of mode 0, which cannot be emptied before it is opened.
fn open_up(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700));
        open_up(&entry.path());
    }
}
