//! Writes a line, and waits for nobody: a log that cannot be written stops nothing.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::entry::Entry;
use crate::config::Log;
use condatainer_images::system::file_size_limit;

/// How long a directory may take, which may be on a file server.
const PATIENCE: Duration = Duration::from_secs(2);
const SYSLOG: &str = "/dev/log";
const JOURNAL: &str = "/run/systemd/journal/socket";
/// syslog(3): LOG_USER and LOG_INFO.
const PRIORITY: u8 = 8 | 6;

pub(super) fn write(log: &Log, entry: &Entry) {
    let Ok(line) = serde_json::to_string(entry) else { return };
    // Nobody at a prompt could do anything about it; `doctor` looks whether it works.
    let _ = match log {
        Log::Syslog => send(SYSLOG, &format!("<{PRIORITY}>condatainer[{}]: {line}", std::process::id())),
        Log::Journal => send(JOURNAL, &format!("MESSAGE={line}\nSYSLOG_IDENTIFIER=condatainer\nPRIORITY=6\n")),
        Log::Directory(directory) => in_time(directory.clone(), entry.head().uid, entry.head().host.clone(), line),
    };
}

fn send(socket: &str, message: &str) -> io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    datagram.set_nonblocking(true)?;
    datagram.send_to(message.as_bytes(), socket).map(drop)
}

/// A file server that does not answer keeps this thread, and nobody else.
fn in_time(directory: PathBuf, uid: u32, host: String, line: String) -> io::Result<()> {
    let (done, wait) = mpsc::channel();
    let work = move || {
        let _ = done.send(append(&directory, uid, &host, &line));
    };
    thread::Builder::new().name("record".into()).spawn(work)?;
    wait.recv_timeout(PATIENCE).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Each user has a file for each host. Where somebody else has taken its name, another name serves as well.
fn append(directory: &Path, uid: u32, host: &str, line: &str) -> io::Result<()> {
    let directory = openat(CWD, directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let directory = File::from(directory);
    let host = host.replace('/', "_");
    let names = [format!("{uid}.{host}.jsonl"), format!("{uid}.{host}.{}.jsonl", std::process::id())];
    let mut file =
        names.iter().find_map(|name| open_own(&directory, name, uid).ok()).ok_or(io::ErrorKind::PermissionDenied)?;
    let line = format!("{line}\n");
    // Behind the limit a signal ends the process.
    let end = file.metadata()?.size().saturating_add(line.len() as u64);
    if file_size_limit::get().is_some_and(|limit| end > limit) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    // In one piece, so that lines of several processes do not mix.
    file.write_all(line.as_bytes())
}

fn open_own(directory: &File, name: &str, uid: u32) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = openat(directory, name, flags | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
    let file = File::from(file);
    let meta = file.metadata()?;
    let is_own = meta.is_file() && meta.uid() == uid && meta.nlink() == 1;
    if is_own { Ok(file) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn me() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    #[test]
    fn a_user_appends_to_his_own_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(format!("{}.{name}", me()));
        append(dir.path(), me(), "n1", "{}").unwrap();
        append(dir.path(), me(), "n1", "[]").unwrap();
        assert_eq!(fs::read_to_string(at("n1.jsonl")).unwrap(), "{}\n[]\n");
        assert_eq!(fs::metadata(at("n1.jsonl")).unwrap().mode() & 0o777, 0o600);
        // What others have put there in time: a link, a fifo, a second name of a file.
        let victim = dir.path().join("victim");
        fs::write(&victim, "").unwrap();
        symlink(&victim, at("n2.jsonl")).unwrap();
        nix::unistd::mkfifo(&at("n3.jsonl"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::hard_link(&victim, at("n4.jsonl")).unwrap();
        for host in ["n2", "n3", "n4"] {
            append(dir.path(), me(), host, "{}").unwrap();
            assert_eq!(fs::read_to_string(at(&format!("{host}.{}.jsonl", std::process::id()))).unwrap(), "{}\n");
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "");
        assert!(append(&dir.path().join("none"), me(), "n1", "{}").is_err());
    }

    #[test]
    fn a_socket_gets_one_message_and_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let path = path.to_str().unwrap();
        assert!(send(path, "x").is_err());
        let socket = UnixDatagram::bind(path).unwrap();
        send(path, "<14>condatainer[1]: {}").unwrap();
        let mut buffer = [0; 64];
        let read = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..read], b"<14>condatainer[1]: {}");
        while send(path, "full").is_ok() {}
    }
}
