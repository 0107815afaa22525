//! The user namespace: whose ids exist in it, and how they are mapped.

use std::fs::{self, File};

use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

use super::{Cannot, cannot};

/// Who exists in the namespace; the last two are the kinds of fakeroot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Users {
    /// The caller is root and needs no user namespace.
    Everybody,
    /// The caller alone, as himself.
    Caller {
        /// The caller's effective ids.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// The caller alone, as root.
    RootMapped {
        /// The caller's effective ids.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// The caller as root, and his subordinate ids from 1 on.
    Subuid {
        /// The caller's effective ids.
        uid: u32,
        /// The group.
        gid: u32,
        /// The first subordinate user id, and how many there are.
        uids: (u32, u32),
        /// The same of groups.
        gids: (u32, u32),
    },
}

impl Users {
    /// The caller's ids inside.
    #[must_use]
    pub fn inside(&self) -> (u32, u32) {
        match self {
            Self::Everybody | Self::RootMapped { .. } | Self::Subuid { .. } => (0, 0),
            Self::Caller { uid, gid } => (*uid, *gid),
        }
    }

    /// Whether another process outside has to map the ids.
    #[must_use]
    pub(crate) fn need_help(&self) -> bool {
        matches!(self, Self::Subuid { .. })
    }

    /// Moves this process, which must have one thread only, into a user namespace of its own. Who needs help has no ids there yet.
    pub(crate) fn enter(&self) -> Result<(), Cannot> {
        if *self == Self::Everybody {
            return Ok(());
        }
        unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| {
            Cannot(format!(
                "a user namespace cannot be made: {}: see sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns",
                errno.desc()
            ))
        })?;
        match self {
            Self::Caller { uid, gid } => map_own((*uid, *uid), (*gid, *gid)),
            Self::RootMapped { uid, gid } => map_own((0, *uid), (0, *gid)),
            Self::Everybody | Self::Subuid { .. } => Ok(()),
        }
    }

    /// The namespace that this process has entered.
    pub(crate) fn namespace(&self) -> Result<Option<File>, Cannot> {
        if *self == Self::Everybody {
            return Ok(None);
        }
        File::open("/proc/self/ns/user").map(Some).map_err(|error| Cannot::because("/proc/self/ns/user", error))
    }

    /// The words for newuidmap and newgidmap that map a process: inside, outside and number of each range.
    #[must_use]
    pub(crate) fn ranges(&self, pid: u32) -> Option<[Vec<String>; 2]> {
        let Self::Subuid { uid, gid, uids, gids } = self else { return None };
        let words = |own: u32, (first, count): (u32, u32)| {
            [pid, 0, own, 1, 1, first, count].iter().map(ToString::to_string).collect()
        };
        Some([words(*uid, *uids), words(*gid, *gids)])
    }
}

/// Each id as it is inside and outside. The kernel lets nobody map a group who could leave groups by setgroups(2).
fn map_own(uid: (u32, u32), gid: (u32, u32)) -> Result<(), Cannot> {
    let files = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{} {} 1", uid.0, uid.1)),
        ("gid_map", format!("{} {} 1", gid.0, gid.1)),
    ];
    // Ubuntu's AppArmor lets the namespace be made, and then refuses everything in it.
    files.iter().try_for_each(|(name, text)| {
        fs::write(format!("/proc/self/{name}"), text).map_err(|error| {
            Cannot::because("the user cannot be mapped into a user namespace (does AppArmor restrict them?)", error)
        })
    })
}

/// Leaves the mount namespace for one of its own, which goes on getting what the host mounts, as automounters do.
pub(crate) fn own_mounts() -> Result<(), Cannot> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(cannot("a mount namespace cannot be made"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_begin_behind_the_caller() {
        let users = Users::Subuid { uid: 1001, gid: 1002, uids: (100_000, 65_536), gids: (200_000, 65_536) };
        let [uids, gids] = users.ranges(7).unwrap();
        assert_eq!(uids.join(" "), "7 0 1001 1 1 100000 65536");
        assert_eq!(gids.join(" "), "7 0 1002 1 1 200000 65536");
        assert_eq!((users.inside(), Users::Caller { uid: 5, gid: 6 }.inside()), ((0, 0), (5, 6)));
        let root = Users::RootMapped { uid: 5, gid: 6 };
        assert_eq!((root.inside(), root.need_help()), ((0, 0), false));
        assert_eq!([Users::Everybody.ranges(7), root.ranges(7)], [None, None]);
    }
}
