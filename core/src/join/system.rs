//! What the job of a shim is told about the system: by a task once it is in the container, and by who stands outside.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc::O_NONBLOCK;

use condatainer_images::tools::memfd;
use condatainer_programs::command::{Files, Identity, System, Variables};
use condatainer_programs::errno::ENOENT;

/// As much as the kernel reads of a script.
const HEAD: u64 = 256;

/// This process's.
#[derive(Debug, Default)]
pub(crate) struct Own {
    pub(crate) startup: Option<OwnedFd>,
}

impl Files for Own {
    fn exists(&self, path: &[u8]) -> bool {
        Path::new(OsStr::from_bytes(path)).exists()
    }
}

/// Those below the root of another process. An absolute link leads astray: what it hides is taken for not there.
pub(crate) struct Below(pub(crate) PathBuf);

impl Files for Below {
    fn exists(&self, path: &[u8]) -> bool {
        self.0.join(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path))).exists()
    }
}

impl System for Own {
    fn enter(&self, directory: &[u8]) -> Result<Identity, i32> {
        let errno = |error: std::io::Error| error.raw_os_error().unwrap_or(ENOENT);
        std::env::set_current_dir(OsStr::from_bytes(directory)).map_err(errno)?;
        std::fs::metadata(".").map(|found| (found.dev(), found.ino())).map_err(errno)
    }

    /// Not by the system call alone: a Rust program has SIGPIPE ignored, and the command must not.
    fn ready(&self, arguments: &[Vec<u8>], variables: &Variables) -> impl Fn(&[u8]) -> i32 {
        |file| {
            let mut words = arguments.iter().map(|word| OsStr::from_bytes(word));
            let mut command = Command::new(OsStr::from_bytes(file));
            command.arg0(words.next().unwrap_or_default()).args(words).env_clear();
            command.envs(variables.iter().map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value))));
            command.exec().raw_os_error().unwrap_or(ENOENT)
        }
    }

    fn head(&self, path: &[u8]) -> Vec<u8> {
        let mut head = Vec::new();
        let mut options = File::options();
        let file = options.read(true).custom_flags(O_NONBLOCK).open(OsStr::from_bytes(path));
        let _ = file.and_then(|file| file.take(HEAD).read_to_end(&mut head));
        head
    }

    fn has_terminal(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    fn document(&self, text: impl FnOnce(usize) -> Vec<u8>) -> Option<Vec<u8>> {
        let mut file = File::from(memfd::data(c"condatainer-shell", b"", memfd::Flags::empty()).ok()?);
        file.write_all(&text(usize::try_from(file.as_raw_fd()).ok()?)).ok()?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into_bytes();
        // The command's from now on.
        let _ = file.into_raw_fd();
        self.exists(&path).then_some(path)
    }

    fn startup(&self) -> Option<Vec<u8>> {
        let directory = self.startup.as_ref()?;
        fcntl(directory, FcntlArg::F_SETFD(FdFlag::empty())).ok()?;
        Some(format!("/proc/self/fd/{}", directory.as_raw_fd()).into_bytes())
    }
}
