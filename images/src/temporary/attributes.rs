//! What a file is besides its content: owner, mode, extended attributes and ACLs. A draft that takes another file's place must be
//! the same in all of that. Its time of modification is its own, as after any other change.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

use xattr::FileExt;

use crate::image::attributes::WHITEOUTS;

/// What could not be made equal, and why.
#[derive(Debug)]
pub(crate) struct Unequal {
    /// In words: "owner", the name of an attribute.
    pub(crate) what: String,
    pub(crate) error: io::Error,
}

impl Unequal {
    fn new(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self { what, error }
    }
}

impl fmt::Display for Unequal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it cannot have the same {}: {}", self.what, self.error)
    }
}

/// Gives `draft` the owner of `original`. First of all, for this is what may be forbidden.
pub(crate) fn take_user(original: &Metadata, draft: &File) -> Result<(), Unequal> {
    let uid = original.uid();
    let is_so = draft.metadata().map_err(Unequal::new("owner"))?.uid() == uid;
    if is_so { Ok(()) } else { fchown(draft, Some(uid), None).map_err(Unequal::new(format!("owner ({uid})"))) }
}

/// Gives `draft` the group of `original`, which may be one that the caller is not in.
pub(crate) fn take_group(original: &Metadata, draft: &File) -> Result<(), Unequal> {
    let gid = original.gid();
    let is_so = draft.metadata().map_err(Unequal::new("group"))?.gid() == gid;
    if is_so { Ok(()) } else { fchown(draft, None, Some(gid)).map_err(Unequal::new(format!("group ({gid})"))) }
}

/// Gives `draft` the mode, the ACL and the other extended attributes of `original`, once it has the owner.
pub(crate) fn take_rest(original: &File, draft: &File) -> Result<(), Unequal> {
    let wanted = names(original)?;
    for name in &wanted {
        let value = original.get_xattr(name).map_err(Unequal::new(shown(name)))?.unwrap_or_default();
        tolerate(name, set(draft, name, &value)).map_err(Unequal::new(shown(name)))?;
    }
    // A directory's default ACL has given the draft one of its own.
    for name in names(draft)?.difference(&wanted) {
        tolerate(name, draft.remove_xattr(name)).map_err(Unequal::new(shown(name)))?;
    }
    take_mode(original, draft).map_err(Unequal::new("mode"))
}

/// Whoever could read the file that `draft` replaces can read the new one, as far as its maker may arrange that.
pub(super) fn share_alike(original: &File, draft: &File) {
    if let Ok(meta) = original.metadata() {
        let _ = take_group(&meta, draft);
    }
    let _ = take_rest(original, draft);
}

/// Takes away what lets others write to the draft.
pub(crate) fn keep_from_writers(draft: &File) -> io::Result<()> {
    draft.set_permissions(Permissions::from_mode(draft.metadata()?.mode() & 0o7755))
}

fn take_mode(original: &File, draft: &File) -> io::Result<()> {
    let (original, now) = (original.metadata()?, draft.metadata()?);
    draft.set_permissions(Permissions::from_mode(mode_for(original.mode(), original.gid() == now.gid())))
}

/// Where the group is another one, the mode must not mean that.
fn mode_for(mode: u32, same_group: bool) -> u32 {
    mode & if same_group { 0o7777 } else { 0o7707 }
}

fn shown(name: &OsStr) -> String {
    name.to_string_lossy().escape_debug().to_string()
}

/// What is remembered of the whiteouts is valid for the superblock that it was made for only, so it is left behind.
fn names(file: &File) -> Result<BTreeSet<OsString>, Unequal> {
    match file.list_xattr() {
        Ok(names) => Ok(names.filter(|name| name != WHITEOUTS).collect()),
        // A file system without any.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(BTreeSet::new()),
        Err(error) => Err(Unequal::new("extended attributes")(error)),
    }
}

fn set(draft: &File, name: &OsStr, value: &[u8]) -> io::Result<()> {
    match draft.get_xattr(name) {
        Ok(Some(present)) if present == value => Ok(()),
        _ => draft.set_xattr(name, value),
    }
}

/// A user's own attributes and ACLs must be kept. Others are the system's: a security label or the striping of a parallel file
/// system, which the draft has got from its directory.
fn tolerate(name: &OsStr, result: io::Result<()>) -> io::Result<()> {
    let name = name.to_string_lossy();
    let is_the_users = name.starts_with("user.") || name.starts_with("system.posix_acl_");
    if is_the_users { result } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_kept_but_not_what_is_remembered_of_whiteouts() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let make = |name: &str| File::options().read(true).write(true).create_new(true).open(dir.path().join(name));
        let (original, draft) = (make("a").unwrap(), make("b").unwrap());
        original.set_xattr("user.note", b"remembered").unwrap();
        original.set_xattr(WHITEOUTS, b"{}").unwrap();
        draft.set_xattr("user.other", b"").unwrap();
        original.set_permissions(Permissions::from_mode(0o4751)).unwrap();
        take_rest(&original, &draft).unwrap();
        assert_eq!(draft.list_xattr().unwrap().collect::<Vec<_>>(), ["user.note"]);
        assert_eq!(draft.metadata().unwrap().mode() & 0o7777, 0o4751);
    }

    #[test]
    fn the_mode_never_means_another_group() {
        assert_eq!((mode_for(0o100_664, true), mode_for(0o100_664, false)), (0o664, 0o604));
        assert_eq!(mode_for(0o102_770, false), 0o2700);
    }
}
