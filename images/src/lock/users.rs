//! Who uses an image: the caller's own processes that hold it open, and loop devices that stand on it.
//!
//! The kernel does not tell who holds an open-file-description lock, so this is how a holder gets a name.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};

use crate::system::process::Process;
use condatainer_formats::ext::Window;

/// A process that holds an image open.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct User {
    /// Its process id on this machine.
    pub pid: u32,
    /// Its short name.
    pub comm: String,
}

/// A loop device on an image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Loop {
    /// Its name, as in `/dev`.
    pub name: String,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// How much of the file it covers, in bytes; 0 is all the rest.
    pub size: u64,
    /// Whether it cannot be written through.
    pub read_only: bool,
}

impl Loop {
    /// Whether any byte of `window` is reached through it.
    #[must_use]
    pub fn touches(&self, window: Window) -> bool {
        let end = if self.size == 0 { u64::MAX } else { self.offset.saturating_add(self.size) };
        self.offset < window.offset.saturating_add(window.size) && window.offset < end
    }
}

/// The processes, other than this one, that hold the file (`st_dev`, `st_ino`) open, as far as the caller may see.
#[must_use]
pub fn users(dev: u64, ino: u64) -> Vec<User> {
    users_where(|pid| !open_descriptors(pid, dev, ino).is_empty())
}

/// A program that another thread of ours is just starting holds all that we hold until its exec, and is told by the command
/// line that it still has from us.
fn is_being_started(pid: u32, own: u32) -> bool {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let parent = format!("\nPPid:\t{own}\n");
    let status = String::from_utf8_lossy(&read("status")).into_owned();
    status.contains(&parent) && fs::read("/proc/self/cmdline").is_ok_and(|ours| ours == read("cmdline"))
}

/// Those of [`users`] that can write through it.
#[must_use]
pub fn writers(dev: u64, ino: u64) -> Vec<User> {
    users_where(|pid| open_descriptors(pid, dev, ino).iter().any(|fd| is_writable(pid, fd)))
}

/// Those of [`users`] that hold a lock on it. Only their own user and root are told.
pub(super) fn holders(dev: u64, ino: u64) -> Vec<User> {
    users_where(|pid| open_descriptors(pid, dev, ino).iter().any(|fd| holds_lock(pid, fd)))
}

/// proc_pid_fdinfo(5) has a line for each lock that belongs to the open file.
fn holds_lock(pid: u32, fd: &str) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
    text.lines().any(|line| line.starts_with("lock:"))
}

fn users_where(uses: impl Fn(u32) -> bool) -> Vec<User> {
    let own = std::process::id();
    let pids = Process::all().filter_map(|process| process.pid()).map(|pid| pid.as_raw().cast_unsigned());
    // Asked twice: one whose exec came in between is no longer being started, and has closed what it had from us.
    let others = pids.filter(|&pid| pid != own && uses(pid) && !is_being_started(pid, own) && uses(pid));
    others.map(|pid| User { pid, comm: Process::numbered(pid).name() }).collect()
}

/// The numbers of the descriptors of a process that lead to a file.
fn open_descriptors(pid: u32, dev: u64, ino: u64) -> Vec<String> {
    let directory = format!("/proc/{pid}/fd");
    let all = names_in(Path::new(&directory)).into_iter();
    all.filter(|fd| is_file(&Path::new(&directory).join(fd), dev, ino)).collect()
}

/// Whether the flags of a descriptor (octal, in /proc) have O_WRONLY or O_RDWR.
fn is_writable(pid: u32, fd: &str) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(0);
    flags & nix::libc::O_ACCMODE != nix::libc::O_RDONLY
}

/// What the kernel knows of the file is enough: a file server that answers nobody must not keep those waiting who ask for another file, which a
/// process happens to hold open beside one of that server's.
fn is_file(path: &Path, dev: u64, ino: u64) -> bool {
    let says = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::INO);
    says.is_ok_and(|says| makedev(says.stx_dev_major, says.stx_dev_minor) == dev && says.stx_ino == ino)
}

/// The loop devices that stand on the file (`st_dev`, `st_ino`), those of other mount namespaces too where the caller may look
/// into them: the kernel names the file as the namespace that attached it does.
///
/// Root sees all of them. Anybody else misses a device of a namespace that is not his; to ask the device itself takes root, too.
#[must_use]
pub fn loops(dev: u64, ino: u64) -> Vec<Loop> {
    let block = Path::new("/sys/block");
    let mut elsewhere = None;
    loop_names().filter_map(|name| attached(&block.join(&name), name, dev, ino, &mut elsewhere)).collect()
}

/// Those that something is attached to: /proc/partitions leaves out what has no size, and a machine may have hundreds of such.
fn loop_names() -> impl Iterator<Item = String> {
    let all = match fs::read_to_string("/proc/partitions") {
        Ok(table) => table.lines().filter_map(|line| line.split_ascii_whitespace().nth(3)).map(String::from).collect(),
        Err(_) => names_in(Path::new("/sys/block")),
    };
    all.into_iter().filter(|name| name.starts_with("loop"))
}

/// `elsewhere` are the roots of other mount namespaces, looked up when the first one is needed.
fn attached(device: &Path, name: String, dev: u64, ino: u64, elsewhere: &mut Option<Vec<PathBuf>>) -> Option<Loop> {
    let backing = PathBuf::from(field(device, "loop/backing_file")?);
    let here = is_file(&backing, dev, ino);
    let found = here || elsewhere.get_or_insert_with(other_roots).iter().any(|root| is_under(root, &backing, dev, ino));
    found.then(|| Loop {
        name,
        offset: number(device, "loop/offset"),
        size: number(device, "loop/sizelimit"),
        read_only: field(device, "ro").as_deref() == Some("1"),
    })
}

fn is_under(root: &Path, path: &Path, dev: u64, ino: u64) -> bool {
    path.strip_prefix("/").is_ok_and(|inside| is_file(&root.join(inside), dev, ino))
}

/// One root directory of each mount namespace other than ours.
fn other_roots() -> Vec<PathBuf> {
    let mut seen: Vec<PathBuf> = Process::this().namespace_name("mnt").into_iter().collect();
    let mut roots = Vec::new();
    for process in Process::all() {
        match process.namespace_name("mnt") {
            Some(other) if !seen.contains(&other) => {
                seen.push(other);
                roots.push(process.directory().join("root"));
            }
            _ => {}
        }
    }
    roots
}

fn number(device: &Path, name: &str) -> u64 {
    field(device, name).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn field(device: &Path, name: &str) -> Option<String> {
    fs::read_to_string(device.join(name)).ok().map(|text| text.trim_end_matches('\n').to_owned())
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_that_holds_a_file_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let meta = file.as_file().metadata().unwrap();
        assert_eq!(users(meta.dev(), meta.ino()), []);
        let stdin = file.reopen().unwrap();
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::from(stdin)).spawn().unwrap();
        let found = users(meta.dev(), meta.ino());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.iter().map(|u| u.pid).collect::<Vec<_>>(), [child.id()]);
    }

    #[test]
    fn readers_and_writers_are_told_apart() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let meta = file.as_file().metadata().unwrap();
        for (stdin, writes) in [(fs::File::open(file.path()).unwrap(), 0), (file.reopen().unwrap(), 1)] {
            let mut child = Command::new("sleep").arg("60").stdin(Stdio::from(stdin)).spawn().unwrap();
            let found = (users(meta.dev(), meta.ino()).len(), writers(meta.dev(), meta.ino()).len());
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!(found, (1, writes));
        }
    }

    #[test]
    fn no_loop_device_on_a_fresh_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let meta = file.as_file().metadata().unwrap();
        assert_eq!(loops(meta.dev(), meta.ino()), []);
    }
}
