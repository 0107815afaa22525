//! What is known about the machine.

use std::path::PathBuf;

/// Something that was really done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    /// It worked.
    Worked,
    /// It did not; the system's words.
    Failed(String),
    /// It could not be tried here.
    No(String),
}

/// What the machine says.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// As uname(2) tells it.
    pub(super) kernel: String,
    /// `user.max_user_namespaces`
    pub(super) max_user_namespaces: Option<u64>,
    /// `kernel.unprivileged_userns_clone`, a switch of Debian's kernels.
    pub(super) userns_clone: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, a switch of Ubuntu's.
    pub(super) apparmor: Option<u64>,
    /// An AppArmor profile for condatainer or the engine.
    pub(super) profile: Option<PathBuf>,
    /// A user and a mount namespace, made by a user.
    pub(super) namespaces: Tried,
    /// An overlay mounted in them.
    pub(super) overlay: Tried,
    /// `/dev/fuse`, if it is there.
    pub(super) fuse: Option<Device>,
    /// `v1`, `v2`, `v1 and v2` or `none`.
    pub(super) cgroup: &'static str,
    /// Device nodes of GPUs.
    pub(super) gpus: Vec<&'static str>,
}

/// A device node.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// Its permission bits.
    pub(super) mode: u32,
    /// Its group.
    pub(super) gid: u32,
    /// Why the caller cannot open it for reading and writing.
    pub(super) problem: Option<String>,
}
