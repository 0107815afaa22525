//! Who is believed: root always, and those who are named; and a group that is nobody but its user.

use nix::unistd::{Gid, Group, Uid, User};

/// What the kernel shows for owners that a user namespace does not map (proc_sys_kernel(5), overflowuid).
pub(super) const OVERFLOW_UID: u32 = 65_534;

/// Users whose files are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owners(Vec<u32>);

impl Owners {
    /// Of links: none is followed.
    pub(super) fn nobody() -> Self {
        Self(Vec::new())
    }

    /// Root alone.
    #[must_use]
    pub fn root() -> Self {
        Self(vec![0])
    }

    /// Root and the calling user.
    #[must_use]
    pub fn root_and_caller() -> Self {
        Self::root().and(Uid::effective().as_raw())
    }

    /// This one as well.
    #[must_use]
    pub fn and(mut self, uid: u32) -> Self {
        if !self.0.contains(&uid) {
            self.0.push(uid);
        }
        self
    }

    /// Whether this user is one of them.
    #[must_use]
    pub fn has(&self, uid: u32) -> bool {
        self.0.contains(&uid)
    }

    /// In words: `root, you or bob`.
    pub(super) fn in_words(&self) -> String {
        let me = Uid::effective().as_raw();
        let word = |uid: &u32| if *uid == me && *uid != 0 { "you".to_owned() } else { name_of(*uid) };
        let words: Vec<String> = self.0.iter().map(word).collect();
        match words.as_slice() {
            [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
            _ => words.concat(),
        }
    }
}

/// The login name of a user, or its number.
#[must_use]
pub fn name_of(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| format!("uid {uid}"), |user| user.name)
}

pub(crate) fn name_of_group(gid: u32) -> String {
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    group.map_or_else(|| format!("gid {gid}"), |group| group.name)
}

/// Whether a group has nobody in it but this user: many systems give each user a group of his own, and a umask of 002.
pub fn is_private(gid: u32, uid: u32) -> bool {
    let (Ok(Some(user)), Ok(Some(group))) = (User::from_uid(Uid::from_raw(uid)), Group::from_gid(Gid::from_raw(gid)))
    else {
        return false;
    };
    user.gid == group.gid && user.name == group.name && group.mem.iter().all(|member| *member == user.name)
}

/// Whether nobody can tell whose this is: inside a user namespace without root, as in a container, files of root appear to belong
/// to the overflow uid, and so do those of everybody else who is not mapped.
pub(crate) fn is_unmapped(uid: u32) -> bool {
    uid == OVERFLOW_UID && !root_is_mapped()
}

pub(super) fn root_is_mapped() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().any(|line| line.split_ascii_whitespace().nth(1) == Some("0"))
}
