//! Whether a directory can hold what others must not replace: what `:tmp` layers write, the files of a build.
//!
//! Engines are given such places by path. Whoever may rename what lies in the directory could put a directory of his own there, and
//! it would be written to and run from. So a shared one needs the sticky bit, as /tmp has it.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Gid, Uid, access};

use super::mode::{STICKY, WRITABLE_BY_ALL, WRITABLE_BY_GROUP};
use super::owners::{OVERFLOW_UID, is_private, is_unmapped, name_of, name_of_group};

/// Why a directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In words, after the name of the directory.
    pub why: String,
    /// What to do about the directory itself; another one always helps.
    pub cure: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cure {
            Some(cure) => write!(f, "{} ({cure})", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// One directory of a path.
#[derive(Clone, Debug)]
struct Looked {
    path: PathBuf,
    uid: u32,
    gid: u32,
    mode: u32,
}

/// As whom it would be used.
#[derive(Clone, Copy, Debug)]
struct Me {
    uid: u32,
    /// A group in which nobody else is.
    own_group: Option<u32>,
    /// In a container, where the owner of the host's /tmp is not known.
    in_namespace: bool,
}

/// What is wrong with the directory, if anything is.
pub fn fault(dir: &Path) -> Option<Fault> {
    let plain = |why: String| Some(Fault { why, cure: None });
    let real = match fs::canonicalize(dir) {
        Ok(real) if real.is_dir() => real,
        Ok(_) => return plain("it is not a directory".into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return plain("no such directory".into()),
        Err(error) => return plain(error.to_string()),
    };
    if let Err(errno) = access(&real, AccessFlags::W_OK | AccessFlags::X_OK) {
        return plain(errno.desc().into());
    }
    let (uid, gid) = (Uid::effective().as_raw(), Gid::effective().as_raw());
    let me = Me { uid, own_group: is_private(gid, uid).then_some(gid), in_namespace: in_namespace() };
    let looked: io::Result<Vec<_>> = real.ancestors().map(look).collect();
    match looked {
        Ok(looked) => judge(&looked, me),
        Err(error) => plain(error.to_string()),
    }
}

fn in_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_ascii_whitespace().nth(2) != Some("4294967295")
}

fn look(path: &Path) -> io::Result<Looked> {
    let meta = fs::metadata(path)?;
    Ok(Looked { path: path.into(), uid: meta.uid(), gid: meta.gid(), mode: meta.mode() })
}

/// The directory itself comes first, then those above it. There only everybody counts: a user has chosen whom to live among.
fn judge(looked: &[Looked], me: Me) -> Option<Fault> {
    let first = looked.first()?;
    if first.uid != me.uid
        && first.uid != 0
        && !is_unmapped(first.uid)
        && !(first.uid == OVERFLOW_UID && me.in_namespace)
    {
        let owner = name_of(first.uid);
        return Some(Fault { why: format!("it belongs to {owner}, {REPLACE}"), cure: None });
    }
    if let Some(open) = looked.iter().find(|dir| dir.mode & WRITABLE_BY_ALL != 0 && dir.mode & STICKY == 0) {
        let path = open.path.display();
        let what = if open.path == first.path { "it".into() } else { path.to_string() };
        let by = if open.uid == me.uid { "" } else { "as root: " };
        let why = format!("{what} can be written to by everybody and has no sticky bit, {REPLACE}");
        return Some(Fault { why, cure: Some(format!("{by}chmod +t {path}")) });
    }
    let of_group = first.mode & WRITABLE_BY_GROUP != 0 && first.mode & STICKY == 0 && Some(first.gid) != me.own_group;
    of_group.then(|| Fault {
        why: format!("it can be written to by group {} and has no sticky bit, {REPLACE}", name_of_group(first.gid)),
        cure: None,
    })
}

const REPLACE: &str = "so somebody else could replace what is in there";

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Me = Me { uid: 1001, own_group: Some(1001), in_namespace: false };

    fn why(dirs: &[(&str, u32, u32, u32)]) -> Option<(String, Option<String>)> {
        let looked = |&(path, uid, gid, mode): &(&str, u32, u32, u32)| Looked { path: path.into(), uid, gid, mode };
        let looked: Vec<_> = dirs.iter().map(looked).collect();
        judge(&looked, ME).map(|fault| (fault.why, fault.cure))
    }

    #[test]
    fn places_that_others_cannot_rename_in() {
        let root = ("/", 0, 0, 0o755);
        for dir in [
            ("/tmp", 0, 0, 0o41777),
            ("/local/7", 1001, 1001, 0o40700),
            ("/local/7", 1001, 1001, 0o40775),
            ("/project", 0, 50, 0o43770),
        ] {
            assert_eq!(why(&[dir, root]), None, "{dir:?}");
        }
        assert_eq!(why(&[("/tmp/mine", 1001, 1001, 0o755), ("/tmp", 0, 0, 0o1777), root]), None);
        assert_eq!(why(&[("/project/mine", 1001, 1001, 0o755), ("/project", 0, 50, 0o2770), root]), None);
    }

    #[test]
    fn places_that_others_can_rename_in() {
        let root = ("/", 0, 0, 0o755);
        let (open, cure) = why(&[("/local", 0, 0, 0o40777), root]).unwrap();
        assert_eq!(
            open,
            "it can be written to by everybody and has no sticky bit, so somebody else could replace what is in there"
        );
        assert_eq!(cure.as_deref(), Some("as root: chmod +t /local"));
        let (_, cure) = why(&[("/mine", 1001, 1001, 0o40777), root]).unwrap();
        assert_eq!(cure.as_deref(), Some("chmod +t /mine"));
        let (above, _) = why(&[("/local/mine", 1001, 1001, 0o700), ("/local", 0, 0, 0o777), root]).unwrap();
        assert!(above.starts_with("/local can be written to by everybody"), "{above}");
        let (group, _) = why(&[("/project", 0, 4_000_000, 0o2770), root]).unwrap();
        assert!(group.starts_with("it can be written to by group gid 4000000 "), "{group}");
        let (owner, _) = why(&[("/tmp/bobs", 4_000_000, 50, 0o1777), root]).unwrap();
        assert!(owner.starts_with("it belongs to uid 4000000, "), "{owner}");
    }

    #[test]
    fn what_cannot_be_used_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(fault(&file).unwrap().why, "it is not a directory");
        assert_eq!(fault(&dir.path().join("none")).unwrap().why, "no such directory");
        assert_eq!(fault(dir.path()), None);
    }
}
