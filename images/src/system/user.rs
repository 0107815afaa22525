//! The caller: ids, home, and the subordinate id ranges that decide which kind of fakeroot this machine offers.

use std::io;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User};
use serde::Serialize;

/// Ids that a subuid and a subgid range must hold for a full user namespace (Apptainer maps 65,536).
pub const FULL_RANGE: u64 = 65_536;

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

/// The first subordinate user and group ids of a caller's widest ranges and their numbers, as far as a full namespace has use for them.
#[must_use]
pub fn subordinate_ids(caller: &Caller) -> Option<[(u32, u32); 2]> {
    let range = |path: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        let (first, count) = ranges(&text, &caller.name, caller.uid).max_by_key(|(_, count)| *count)?;
        Some((first, u32::try_from(count.min(FULL_RANGE)).ok()?))
    };
    Some([range("/etc/subuid")?, range("/etc/subgid")?])
}

fn has_range(path: &str, name: &str, uid: Uid) -> io::Result<bool> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(widest_range(&text, name, uid.as_raw()) >= FULL_RANGE),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(io::Error::new(e.kind(), format!("{path}: {e}"))),
    }
}

/// How many ids a subuid(5) file gives `name` (or its number) in one line at most.
pub fn widest_range(text: &str, name: &str, uid: u32) -> u64 {
    ranges(text, name, uid).map(|(_, count)| count).max().unwrap_or(0)
}

/// The first id and the number of each line that is the user's.
fn ranges<'a>(text: &'a str, name: &'a str, uid: u32) -> impl Iterator<Item = (u32, u64)> + 'a {
    let uid = uid.to_string();
    text.lines().filter_map(move |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next().unwrap_or_default();
        let start: u32 = fields.next().and_then(|s| s.parse().ok())?;
        let count: u64 = fields.next().and_then(|s| s.parse().ok())?;
        ((owner == name || owner == uid) && start > 0).then_some((start, count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subid_files() {
        let text = "# comment\nalice:100000:65536\n1002:200000:65536\ncarol:300000:1000\ndave:bad:65536\n";
        assert_eq!(widest_range(text, "alice", 1001), 65_536);
        assert_eq!(widest_range(text, "bob", 1002), 65_536);
        assert_eq!(widest_range(text, "carol", 1003), 1000);
        assert_eq!(widest_range(text, "dave", 1004), 0);
        assert_eq!(widest_range(text, "eve", 1005), 0);
    }
}
