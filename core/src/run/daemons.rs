//! The engine's FUSE daemons: fuse2fs, fuse-overlayfs and squashfuse run as its children for as long as the container stands.
//!
//! They are in the command's step, so where Slurm signals every process of it (proctrack/linuxproc) `scancel --signal` or the
//! SIGTERM before a time limit reaches them too, and they would take the command's file system away while it is still saving its
//! work. A signal mask given to the
//! engine does not reach them (Apptainer's starter sets its own), so links with their names to our own program stand in front of
//! them in the engine's PATH: that program blocks the signals and becomes the daemon, which inherits the mask. An engine that
//! brings its own daemons in its libexec directory does not look at PATH, and its daemons stay as they are.

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::unistd::{Pid, execv};

use crate::programs;

/// What a daemon does not get to see. SIGHUP is not among them: it is how a daemon can still be asked to end.
pub(crate) const BLOCKED: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTERM,
    Signal::SIGALRM,
    Signal::SIGXCPU,
];

/// Names as the kernel keeps them (15 bytes), topmost mount first: a lower one cannot end before what stands on it.
pub(crate) const NAMES: [&str; 4] = ["fuse-overlayfs", "fuse2fs", "squashfuse_ll", "squashfuse"];

/// The directory with the links, as `make install` makes it beside the directory of our program.
pub(crate) fn interposers() -> Option<PathBuf> {
    let dir = std::env::current_exe().ok()?.parent()?.parent()?.join("libexec/condatainer");
    dir.join("fuse2fs").exists().then_some(dir)
}

/// PATH for the engine: the links in front of everything.
pub(crate) fn path_with(dir: &Path) -> OsString {
    let mut path = dir.as_os_str().to_owned();
    path.push(":");
    // An empty entry would stand for the working directory.
    let own = std::env::var_os("PATH").filter(|path| !path.is_empty());
    path.push(own.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into()));
    path
}

/// Whether this program was called through one of the links.
#[must_use]
pub fn is_interposer(program: &OsStr) -> bool {
    Path::new(program).file_name().and_then(OsStr::to_str).is_some_and(|name| NAMES.contains(&name))
}

/// Becomes the daemon that the link stands for; returns only the reason why that failed.
#[must_use]
pub fn become_daemon(arguments: Vec<OsString>) -> String {
    let name = arguments.first().and_then(|program| Path::new(program).file_name()).unwrap_or_default().to_owned();
    match exec_real(&name, arguments) {
        Err(errno) => format!("{}: cannot be started: {}", name.to_string_lossy(), errno.desc()),
        Ok(never) => match never {},
    }
}

fn exec_real(name: &OsStr, arguments: Vec<OsString>) -> Result<std::convert::Infallible, Errno> {
    let own = std::env::current_exe().ok();
    let real = programs::find_except(name.as_bytes(), own.as_deref()).ok_or(Errno::ENOENT)?;
    let string = |word: OsString| CString::new(word.into_vec()).map_err(|_| Errno::EINVAL);
    let real = string(real.into_os_string())?;
    let rest: Vec<CString> = arguments.into_iter().skip(1).map(string).collect::<Result<_, _>>()?;
    let arguments = [vec![real.clone()], rest].concat();
    let blocked: SigSet = BLOCKED.into_iter().collect();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None)?;
    execv(&real, &arguments)
}

/// Asks the daemons of this engine to unmount, sync and end.
pub(crate) fn ask_to_end(engine: Pid) {
    let daemons = children_of(engine);
    for name in NAMES {
        for (pid, _) in daemons.iter().filter(|(_, comm)| comm == name) {
            let _ = kill(*pid, Signal::SIGHUP);
        }
    }
}

fn children_of(parent: Pid) -> Vec<(Pid, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| stat(pid))
        .filter(|(_, _, ppid)| *ppid == parent)
        .map(|(pid, comm, _)| (pid, comm))
        .collect()
}

/// Process id, name and parent, from proc_pid_stat(5).
fn stat(pid: i32) -> Option<(Pid, String, Pid)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (front, rest) = text.rsplit_once(')')?;
    let comm = front.split_once('(')?.1;
    let parent = rest.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((Pid::from_raw(pid), comm.into(), Pid::from_raw(parent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_found_by_name() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = children_of(Pid::this());
        let pid = i32::try_from(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&(Pid::from_raw(pid), "sleep".into())), "{found:?}");
    }
}
