//! The way into a machine: a thread of ours joins the machine's namespaces, becomes the user and starts the command there.
//!
//! The suite types thousands of commands, and each would wait for nsenter, setpriv and a shell in front of it.

use std::fs::{self, File};
use std::process::{Child, Command};
use std::sync::{PoisonError, RwLock};
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::Mode;
use rustix::process::{Gid, Uid};

use crate::machine::users::{Account, groups_of};

/// In this order: the last one takes /proc of the host away.
const NAMESPACES: [(&str, CloneFlags); 5] = [
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("net", CloneFlags::CLONE_NEWNET),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// Shared by those who start a process, and held alone by who writes a file. What is just being started has all open files of ours until it
/// becomes another program, and a script that is open to be written anywhere cannot be run ("Text file busy").
static STARTS: RwLock<()> = RwLock::new(());

/// Starts a command, while no file is being written.
pub(crate) fn start(command: &mut Command) -> Result<Child> {
    let _shared = STARTS.read().unwrap_or_else(PoisonError::into_inner);
    command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))
}

/// Does this while no process is being started.
pub(crate) fn between_starts<T>(act: impl FnOnce() -> T) -> T {
    let _alone = STARTS.write().unwrap_or_else(PoisonError::into_inner);
    act()
}

/// Starts a command as a user in the namespaces of a process, with the umask 022.
pub(crate) fn spawn(init: i32, account: &Account, command: &mut Command) -> Result<Child> {
    as_user(init, account, || start(command))
}

/// Does this in the namespaces of a process as a user, with the umask 022.
pub(crate) fn as_user<T: Send>(init: i32, account: &Account, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    within(init, 0o022, || become_user(account).and_then(|()| act()))
}

/// Does this in the namespaces of a process, with this umask. What the thread becomes ends with it; the threads beside it stay
/// what they are.
pub(crate) fn within<T: Send>(init: i32, umask: u32, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let enter_and_act = || {
        enter(init)?;
        rustix::process::umask(Mode::from_raw_mode(umask));
        act()
    };
    let result = thread::scope(|scope| scope.spawn(enter_and_act).join());
    result.map_err(|_| anyhow!("a thread stopped half-way in a machine"))?
}

fn enter(init: i32) -> Result<()> {
    let open = |(name, kind)| {
        let path = format!("/proc/{init}/ns/{name}");
        File::open(&path).map(|file| (file, kind)).with_context(|| format!("cannot open {path}"))
    };
    let namespaces = NAMESPACES.into_iter().map(open).collect::<Result<Vec<_>>>()?;
    // Root, working directory and umask are shared with the other threads until then.
    unshare(CloneFlags::CLONE_FS).context("cannot part with the other threads' root directory")?;
    namespaces.into_iter().try_for_each(|(file, kind)| setns(file, kind).context("cannot enter a namespace"))
}

/// By the kernel's own calls, which concern one thread; the C library's concern all.
fn become_user(account: &Account) -> Result<()> {
    if account.uid == 0 {
        return Ok(());
    }
    let file = fs::read_to_string("/etc/group").context("cannot read /etc/group")?;
    let groups: Vec<Gid> = groups_of(account, &file).into_iter().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    rustix::thread::set_thread_groups(&groups).context("cannot take the user's groups")?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).context("cannot take the user's group")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).with_context(|| format!("cannot become {}", account.name))
}
