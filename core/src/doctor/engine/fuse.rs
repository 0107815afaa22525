//! The FUSE programs that the engine starts, and our links in front of them.

use std::path::PathBuf;

use super::facts::{Facts, Helper, Interposers};
use crate::doctor::check::Check;
use crate::machine::engine::Flavour;
use crate::machine::hard_links::{CONFUSED, Cause};
use crate::machine::version::Version;

/// Refuses an image that it may not write; 1.47.4 does not. Apptainer has had it patched since 1.4.4, when it brings its own.
const FUSE2FS_WRITES: Version = Version(1, 47, 3);
/// Before it, overlays of images that were made under SELinux say "No data available".
const SQUASHFUSE: Version = Version(0, 2, 0);

/// What a program is for, its package, and how bad it is without.
fn purpose(name: &str) -> (&'static str, &'static str) {
    match name {
        "fuse2fs" => ("ext3 images (env.img) do not mount", "fuse2fs (e2fsprogs)"),
        "fuse-overlayfs" => {
            ("nothing can be written, and images in which files were deleted do not start", "fuse-overlayfs")
        }
        _ => (".sif and .sqf do not mount", "squashfuse"),
    }
}

pub(super) fn helper(helper: &Helper, engine: Option<Flavour>, ours: &Interposers) -> Check {
    let id = helper.name;
    let (without, package) = purpose(id);
    let Some(path) = &helper.path else {
        if engine == Some(Flavour::SingularityCE) {
            return Check::skipped(id, "not installed; SingularityCE has the kernel mount image layers");
        }
        return Check::failed(id, format!("not installed: {without}"), format!("install the package {package}"));
    };
    let path = path.display();
    if id == "fuse-overlayfs"
        && let Some(cause) = Cause::of(ours.preload, helper.in_reach, helper.takes_preload)
    {
        return Check::warning(id, format!("{path}: {}: {CONFUSED}", cause.words()), cause.cure());
    }
    let Some(version) = helper.version else {
        return Check::ok(id, format!("{path}, of an unknown release"));
    };
    match id {
        "fuse2fs" if version == FUSE2FS_WRITES && !helper.bundled => Check::warning(
            id,
            format!("{version}, {path}: this release mounts no image that the user may not write"),
            "install e2fsprogs 1.47.4 or later",
        ),
        "squashfuse" if version < SQUASHFUSE => Check::warning(
            id,
            format!("{version}, {path}: images that were made under SELinux fail with 'No data available'"),
            format!("install squashfuse {SQUASHFUSE} or later"),
        ),
        _ => Check::ok(id, format!("{version}, {path}")),
    }
}

/// In its user namespace the engine may mount by itself: this program is for engines that mount outside.
pub(super) fn fusermount(found: Option<&(PathBuf, bool)>) -> Check {
    const ID: &str = "fusermount";
    match found {
        None => Check::skipped(ID, "not installed; an unprivileged engine does without"),
        Some((path, true)) => Check::ok(ID, format!("{}, setuid root", path.display())),
        Some((path, false)) => Check::warning(
            ID,
            format!("{} is not setuid root (an unprivileged engine does without)", path.display()),
            format!("as root: chmod u+s {}", path.display()),
        ),
    }
}

pub(super) fn interposers(facts: &Facts) -> Check {
    const ID: &str = "interposers";
    const CURE: &str = "as root: make install makes them in PREFIX/libexec/condatainer";
    const WITHOUT: &str =
        "signals to a step (scancel, a time limit) reach the FUSE programs too and take the file system away";
    let mut found = facts.helpers.iter().filter(|helper| helper.path.is_some()).peekable();
    if found.peek().is_none() {
        return Check::skipped(ID, "there are no FUSE programs to stand in front of");
    }
    if found.all(|helper| !helper.in_reach) {
        return Check::skipped(
            ID,
            "the engine brings its own FUSE programs, and starts cannot put others in front of them",
        );
    }
    match (&facts.interposers.directory, facts.interposers.missing.as_slice()) {
        (None, _) => Check::warning(ID, format!("there are no links libexec/condatainer: {WITHOUT}"), CURE),
        (Some(directory), []) => Check::ok(ID, directory.display().to_string()),
        (Some(directory), missing) => {
            let found = format!("{} has no working link {}: {WITHOUT}", directory.display(), missing.join(", "));
            Check::warning(ID, found, CURE)
        }
    }
}
