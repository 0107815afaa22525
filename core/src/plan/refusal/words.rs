//! The parts of the sentences that depend on more than one thing.

use std::path::Path;

use crate::config::{Origin, drop_option};
use crate::machine::directories::ImageDirectory;
use crate::request::layer::Mode;
use condatainer_formats::ext::Owner;
use condatainer_images::acquire::holder::Holder;
use condatainer_images::lock::who::unknown;
use condatainer_images::system::fakeroot::Fakeroot;

/// What is closed, in words.
pub(super) fn closed(path: &Path, directory: &ImageDirectory, cure: &str) -> String {
    let Owner { uid, gid, mode } = directory.owner;
    let what = match directory.path.as_str() {
        "/" => "its upper, which becomes the container's root directory,".to_string(),
        name => format!("the directory {name} in it, and so its programs,"),
    };
    let path = path.display();
    format!("{path}: {what} cannot be entered by you: it belongs to {uid}:{gid} and has mode {mode:04o}: {cure}")
}

pub(super) fn who(path: &Path, holder: Option<&Holder>, seen: Option<&str>) -> String {
    match (holder, seen) {
        (Some(holder), _) => holder.to_string(),
        (None, Some(seen)) => seen.into(),
        (None, None) => unknown(path),
    }
}

pub(super) fn readers(path: &Path, seen: Option<&str>) -> String {
    match seen {
        Some(seen) => format!("held by {seen}"),
        None => format!("held by {}", unknown(path)),
    }
}

pub(super) fn wait(mode: Mode) -> &'static str {
    match mode {
        Mode::Rw => "one writer at a time: wait until it ends",
        Mode::Ro | Mode::Tmp => "it cannot be read meanwhile: wait until it ends",
    }
}

pub(super) fn instead_of_squashfs(mode: Mode) -> &'static str {
    match mode {
        Mode::Tmp => "use --tmp (in Slurm: --condatainer-tmp), which makes all that is shown writable for one run",
        Mode::Rw | Mode::Ro => "use an ext3 image ('condatainer o') to write",
    }
}

pub(super) fn on_disk(origin: Option<&Origin>) -> String {
    let instead = drop_option("--scratch", "memory", origin);
    match origin {
        Some(origin) if !origin.is_fixed() => {
            format!("use --scratch=disk (in Slurm: CONDATAINER_SCRATCH=disk), or {instead}")
        }
        _ => instead,
    }
}

pub(super) fn ext_base(origin: Option<&Origin>) -> String {
    const RIGHT: &str = "a .sif, a .sqf or a directory";
    match origin {
        None => format!("give it as a layer (-o), and {RIGHT} as base"),
        Some(origin) => format!("that is {RIGHT}: {}", origin.cure(", or name another with -b")),
    }
}

pub(super) fn wrong_owner(
    path: &Path,
    owner: (u32, u32),
    caller: (u32, u32),
    fakeroot: Option<Fakeroot>,
    fakeroot_helps: bool,
    automatic: bool,
    origin: Option<&Origin>,
) -> String {
    let (path, (uid, gid)) = (path.display(), owner);
    match fakeroot {
        None => {
            let (my_uid, my_gid) = caller;
            let or = match (fakeroot_helps, owner, origin) {
                (false, ..) => String::new(),
                (true, (0, 0), _) => format!(", or {}", drop_option("--no-fakeroot", "false", origin)),
                (true, _, Some(origin)) if origin.is_fixed() => {
                    format!(", or {}", origin.instead_of_option("false"))
                }
                (true, ..) => ", or use --fakeroot".into(),
            };
            format!(
                "{path}: its upper belongs to {uid}:{gid} and you are {my_uid}:{my_gid}, so plain mode cannot write it: run 'condatainer overlay chown {path}'{or}"
            )
        }
        Some(Fakeroot::RootMapped) => format!(
            "{path}: its upper belongs to {uid}:{gid}, and fakeroot without a subuid range can write as root only: run 'condatainer overlay chown --root {path}', or {}",
            if automatic { "use --no-fakeroot".into() } else { drop_option("--fakeroot", "true", origin) }
        ),
        Some(_) => format!(
            "{path}: its upper belongs to {uid}:{gid}, an id that fakeroot does not map: run 'condatainer overlay chown --root {path}'"
        ),
    }
}
