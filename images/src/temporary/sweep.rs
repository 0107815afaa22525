//! Taking away what killed makers have left: files with our kind of name that nobody holds locked.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc::{O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::Uid;
use rustix::fs::OFlags;

use super::draft_name::{is_draft_name, prefix};
use crate::lock::{self, Access};
use crate::trust::open_dir::OpenDir;

/// Removes the drafts in `directory` that a killed maker of the caller's left behind, and tells which. What cannot be proven to be
/// abandoned stays: where the file system has no locks, everything.
pub fn sweep(directory: &Path) -> Vec<PathBuf> {
    let Ok(place) = OpenDir::at(directory) else { return Vec::new() };
    let names = place.names().unwrap_or_default().into_iter().filter(|name| is_draft_name(name));
    names.filter(|name| remove_abandoned(&place, name).unwrap_or(false)).map(|name| directory.join(name)).collect()
}

/// The drafts of `target` in `directory` that somebody is making at this moment.
pub fn in_the_making(directory: &Path, target: &OsStr) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let prefix = prefix(target);
    let of_target = move |name: &OsStr| is_draft_name(name) && name.to_string_lossy().starts_with(&prefix);
    entries.filter(move |entry| of_target(&entry.file_name())).map(|entry| entry.path()).filter(|path| is_held(path))
}

fn is_held(path: &Path) -> bool {
    let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC).open(path);
    file.is_ok_and(|file| {
        matches!(lock::query(&file, lock::WHOLE_FILE, Access::Write), Ok(lock::Availability::Held(_)))
    })
}

/// Root's drafts of another's image belong to that other by the time of the kill, so root looks at all.
fn remove_abandoned(place: &OpenDir, name: &OsStr) -> io::Result<bool> {
    let file = place.open(name, OFlags::RDWR)?;
    let meta = file.metadata()?;
    let caller = Uid::effective();
    if !meta.is_file() || (meta.uid() != caller.as_raw() && !caller.is_root()) {
        return Ok(false);
    }
    match lock::take(&file, lock::WHOLE_FILE, Access::Write) {
        Ok(guard) if guard.unsupported.is_none() => place.remove_file(name, (meta.dev(), meta.ino())).map(|()| true),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::names;
    use super::*;
    use crate::temporary::{Draft, Kind};
    use std::fs;

    /// What a killed maker leaves.
    fn abandon(directory: &Path, target: &str, kind: Kind) -> PathBuf {
        Draft::new(directory, target.as_ref(), kind).unwrap().abandon()
    }

    #[test]
    fn only_live_drafts_are_in_the_making() {
        let dir = tempfile::tempdir().unwrap();
        let (live, _other) = ["a.sqf", "b.sqf"].map(|n| Draft::new(dir.path(), n.as_ref(), Kind::New).unwrap()).into();
        abandon(dir.path(), "a.sqf", Kind::New);
        let found: Vec<_> = in_the_making(dir.path(), "a.sqf".as_ref()).collect();
        assert_eq!(found.iter().map(|path| path.file_name()).collect::<Vec<_>>(), [live.path().file_name()]);
    }

    #[test]
    fn the_abandoned_are_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let live = Kind::ALL.map(|kind| Draft::new(dir.path(), "env.img".as_ref(), kind).unwrap());
        let live_names = live.each_ref().map(|live| live.path().file_name().unwrap().to_str().unwrap().to_owned());
        let mut expected = Vec::from(Kind::ALL.map(|kind| abandon(dir.path(), "env.img", kind)));
        expected.push(abandon(dir.path(), "other name", Kind::New));
        let innocent = [
            ".condatainer-abcdef.new",
            ".env.img.condatainer-abcde.new",
            ".env.img.condatainer-abcdef.other",
            ".env.img.condatainer-abc-ef.resizing",
            ".env.img.abcdef.new",
            ".env.img.backup.resizing",
            "env.img.condatainer-abcdef.check",
            "env.img",
        ];
        innocent.iter().for_each(|name| fs::write(dir.path().join(name), "precious").unwrap());
        let link = ".linked.condatainer-abcdef.new";
        std::os::unix::fs::symlink("env.img", dir.path().join(link)).unwrap();
        fs::create_dir(dir.path().join(".dir.condatainer-abcdef.new")).unwrap();

        let mut swept = sweep(dir.path());
        swept.sort();
        expected.sort();
        assert_eq!(swept, expected);
        let left = names(dir.path());
        assert_eq!(left.len(), innocent.len() + 2 + live.len(), "{left:?}");
        assert!(live_names.iter().all(|name| left.contains(name)) && left.contains(&link.to_owned()));
        drop(live);
        assert_eq!(names(dir.path()).len(), innocent.len() + 2);
    }
}
