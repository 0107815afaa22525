//! The caller: ids, home, and the subordinate id ranges that decide which kind of fakeroot this machine offers.

use std::io;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User};
use serde::Serialize;

/// Ids that a subuid and a subgid range must hold for a full user namespace (Apptainer maps 65,536).
const FULL_RANGE: u64 = 65_536;

/// Who runs the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Caller {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Login name; the number where the uid has none.
    pub name: String,
    /// Home directory of the account.
    pub home: Option<PathBuf>,
    /// Login shell of the account.
    pub shell: Option<PathBuf>,
    /// Whether `/etc/subuid` and `/etc/subgid` give the user a full range.
    pub has_subids: bool,
}

impl Caller {
    /// Asks the system about the calling process.
    ///
    /// # Errors
    /// The account database or `/etc/subuid` cannot be read.
    pub fn current() -> io::Result<Self> {
        let (uid, gid) = (Uid::effective(), Gid::effective());
        let user = User::from_uid(uid)?;
        let name = user.as_ref().map_or_else(|| uid.to_string(), |u| u.name.clone());
        let has_subids = has_range("/etc/subuid", &name, uid)? && has_range("/etc/subgid", &name, uid)?;
        Ok(Self {
            uid: uid.as_raw(),
            gid: gid.as_raw(),
            home: user.as_ref().map(|u| u.dir.clone()),
            shell: user.map(|u| u.shell),
            name,
            has_subids,
        })
    }
}

fn has_range(path: &str, name: &str, uid: Uid) -> io::Result<bool> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(lists_full_range(&text, name, uid.as_raw())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(io::Error::new(e.kind(), format!("{path}: {e}"))),
    }
}

/// Whether a subuid(5) file gives `name` (or its number) at least [`FULL_RANGE`] ids in one line.
fn lists_full_range(text: &str, name: &str, uid: u32) -> bool {
    let uid = uid.to_string();
    text.lines().any(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next().unwrap_or_default();
        let start: Option<u32> = fields.next().and_then(|s| s.parse().ok());
        let count: Option<u64> = fields.next().and_then(|s| s.parse().ok());
        (owner == name || owner == uid) && start.is_some_and(|s| s > 0) && count.is_some_and(|c| c >= FULL_RANGE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subid_files() {
        let text = "# comment\nalice:100000:65536\n1002:200000:65536\ncarol:300000:1000\ndave:bad:65536\n";
        assert!(lists_full_range(text, "alice", 1001));
        assert!(lists_full_range(text, "bob", 1002));
        assert!(!lists_full_range(text, "carol", 1003));
        assert!(!lists_full_range(text, "dave", 1004));
        assert!(!lists_full_range(text, "eve", 1005));
    }
}
