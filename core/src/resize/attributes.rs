//! What a file is besides its content: owner, mode, extended attributes and ACLs. The resized copy takes the original's place,
//! so it must be the same in all of that. Its time of modification is that of the resize, as after any other change.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

use xattr::FileExt;

/// What could not be made equal, in words.
pub(super) type Failed = (String, io::Error);

/// Gives `copy` the owner and group of `original`. First of all, for this is what may be forbidden.
pub(super) fn take_owner(original: &Metadata, copy: &File) -> Result<(), Failed> {
    let now = copy.metadata().map_err(|e| ("owner".into(), e))?;
    let uid = (now.uid() != original.uid()).then_some(original.uid());
    let gid = (now.gid() != original.gid()).then_some(original.gid());
    match (uid, gid) {
        (None, None) => Ok(()),
        _ => fchown(copy, uid, gid).map_err(|e| (format!("owner ({}:{})", original.uid(), original.gid()), e)),
    }
}

/// Gives `copy` the mode, the ACL and the other extended attributes of `original`.
pub(super) fn take_rest(original: &File, copy: &File) -> Result<(), Failed> {
    let wanted = names(original)?;
    for name in &wanted {
        let failed = |error| (name.to_string_lossy().escape_debug().to_string(), error);
        let value = original.get_xattr(name).map_err(failed)?.unwrap_or_default();
        tolerate(name, set(copy, name, &value)).map_err(failed)?;
    }
    // A directory's default ACL has given the copy one of its own.
    for name in names(copy)?.difference(&wanted) {
        tolerate(name, copy.remove_xattr(name)).map_err(|e| (name.to_string_lossy().escape_debug().to_string(), e))?;
    }
    let mode = original.metadata().map(|meta| meta.mode() & 0o7777);
    mode.and_then(|mode| copy.set_permissions(Permissions::from_mode(mode))).map_err(|e| ("mode".into(), e))
}

fn names(file: &File) -> Result<BTreeSet<OsString>, Failed> {
    match file.list_xattr() {
        Ok(names) => Ok(names.collect()),
        // A file system without any.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(BTreeSet::new()),
        Err(error) => Err(("extended attributes".into(), error)),
    }
}

fn set(copy: &File, name: &OsStr, value: &[u8]) -> io::Result<()> {
    match copy.get_xattr(name) {
        Ok(Some(present)) if present == value => Ok(()),
        _ => copy.set_xattr(name, value),
    }
}

/// A user's own attributes and ACLs must be kept. Others are the system's: a security label or the striping of a parallel file
/// system, which the copy has got from its directory.
fn tolerate(name: &OsStr, result: io::Result<()>) -> io::Result<()> {
    let name = name.to_string_lossy();
    let is_the_users = name.starts_with("user.") || name.starts_with("system.posix_acl_");
    if is_the_users { result } else { Ok(()) }
}
