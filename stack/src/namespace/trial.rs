//! Whether this machine lets a user mount: tried in a process of its own, which leaves nothing behind. What versions and settings say
//! is no answer: distributions add restrictions of their own.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use nix::mount::{MsFlags, mount};
use nix::unistd::{getegid, geteuid};
use serde::{Deserialize, Serialize};

use super::mounts::{self, LOWER, UPPER, WORK};
use super::user::{Users, own_mounts};
use super::{Cannot, cannot};

/// The verb by which our program tries.
pub const VERB: &str = "try-stack";

/// What was found. Both are `None` where it can be done, else the reason in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Why nothing can be mounted.
    pub fuse: Option<String>,
    /// Why nothing can be written, where the rest works.
    pub overlay: Option<String>,
}

/// What root borrows to try it as a user.
const NOBODY: u32 = 65_534;

/// A process that tries it. It takes some milliseconds, in which its caller may do something else.
#[derive(Debug)]
pub struct Trial(io::Result<Child>);

impl Trial {
    /// Starts a process of this program's, by `program` and [`VERB`], that tries it at `place`; `as_user` where root asks for users.
    #[must_use]
    pub fn start(program: &Path, place: &Path, as_user: bool) -> Self {
        let mut command = Command::new(program);
        command.arg(VERB).arg(place).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        if as_user {
            command.uid(NOBODY).gid(NOBODY);
        }
        Self(command.spawn())
    }

    /// What it has found. That is known before its mounts are gone, and with them the process.
    #[must_use]
    pub fn found(&mut self) -> Found {
        let failed = |why: String| Found { fuse: Some(why), overlay: None };
        let process = match &mut self.0 {
            Ok(process) => process,
            Err(error) => return failed(format!("the process that tries it cannot be started: {error}")),
        };
        let mut said = Vec::new();
        let read = process.stdout.take().map(|mut out| out.read_to_end(&mut said));
        match (read, serde_json::from_slice(&said)) {
            (Some(Ok(_)), Ok(found)) => found,
            _ => failed(match process.wait() {
                Ok(status) => format!("the process that tries it has ended: {status}"),
                Err(error) => format!("the process that tries it: {error}"),
            }),
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // It ends by itself.
        let _ = self.0.as_mut().map(Child::wait);
    }
}

/// That process: what it finds is written to standard output.
#[must_use]
pub fn tried(place: &Path) -> ExitCode {
    let found = Found { fuse: fuse(place).err().map(|error| error.to_string()), overlay: None };
    let overlay = if found.fuse.is_none() { overlay(place).err().map(|error| error.to_string()) } else { None };
    let text = serde_json::to_vec(&Found { overlay, ..found }).unwrap_or_default();
    match io::stdout().write_all(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fuse(place: &Path) -> Result<(), Cannot> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let users = if uid == 0 { Users::Everybody } else { Users::Caller { uid, gid } };
    users.enter()?;
    own_mounts()?;
    mounts::keep_to_ourselves()?;
    // Its end ends the mount: nobody serves it.
    mounts::fuse(place, &users, false).map(drop)
}

/// On directories of a tmpfs: whether our server's are good enough is no question of the machine.
fn overlay(place: &Path) -> Result<(), Cannot> {
    mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), None::<&str>)
        .map_err(cannot(&format!("{}: a tmpfs cannot be mounted", place.display())))?;
    for name in [LOWER, UPPER, WORK] {
        fs::create_dir(place.join(name)).map_err(|error| Cannot::because(name, error))?;
    }
    mounts::lay(place, &place.display().to_string())
}
