//! The scratch tree on the real kernel: over a FUSE mount of its own, and below the kernel's OverlayFS, in a user namespace without any
//! privilege and as root. The kernel's own file system is the oracle.
//!
//! This program is also the server and what enters the namespaces, as condatainer is; what runs in there is a shell, or this program again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "../support/chance.rs"]
mod chance;
mod host;
mod inside;
mod model;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use condatainer_formats::ext::Ids;
use condatainer_stack::layer::Time;
use condatainer_stack::namespace::{mounts, user::Users};
use condatainer_stack::process::entry::enter;
use condatainer_stack::process::server::{Serve, serve};
use condatainer_stack::process::start::{Entrance, Patience, Server};
use condatainer_stack::process::{ENTER, Entry, Format, Image, SERVE, Stack};
use condatainer_stack::scratch::{Backing, Scratch};
use condatainer_stack::serve::{self, Options, Requests, Top};
use libtest_mimic::{Arguments, Failed, Trial};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{getegid, geteuid};

const START: &str = "start";
const INSIDE: &str = "inside";
const NOBODY: u32 = 64_998;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    match words.get(1).and_then(|verb| verb.to_str()) {
        Some(SERVE) => serve(|opened, _| {
            let (_, settings) = opened.images.into_iter().next().unwrap();
            Ok(Box::new(Both::new(&io::read_to_string(settings)?)?))
        }),
        Some(ENTER) => enter(&words[2..]),
        Some(START) => start(&words[2..]),
        Some(INSIDE) => {
            inside::run(words[2].to_str().unwrap(), Path::new(&std::env::var_os("D").unwrap()));
            ExitCode::SUCCESS
        }
        _ => {
            let tests = inside::TESTS.iter().map(|test| {
                Trial::test(format!("{}::{}", test.how.name(), test.name), move || {
                    Place::new().run(test).map_err(Failed::from)
                })
            });
            libtest_mimic::run(&Arguments::from_args(), tests.collect()).exit_code()
        }
    }
}

/// What the server serves: a directory of the host's as the lower tree, and a scratch.
struct Both(Requests);

impl Both {
    /// The server inherits no environment; its only image says where everything is, and how much there is room for.
    fn new(settings: &str) -> io::Result<Self> {
        let (limit, place) = settings.split_once(' ').unwrap();
        let place = Path::new(place);
        let ids = Ids { uid: geteuid().as_raw(), gid: getegid().as_raw() };
        let lower = host::Host::new(&place.join("lower"));
        let limit = limit.parse().ok();
        let backing = Backing::beneath(File::open(place.join("tmp"))?.as_fd())?;
        let scratch = Scratch::new(backing, limit, ids, 0o755);
        let tops = vec![Top { name: "upper", node: scratch.upper() }, Top { name: "work", node: scratch.work() }];
        let root = lower.root();
        Ok(Self(Requests::new((Arc::new(lower), root), Some((Arc::new(scratch), tops)), ids, Time::default())))
    }
}

impl Serve for Both {
    fn serve(self: Box<Self>, mount: OwnedFd, ready: &mut dyn FnMut()) -> io::Result<()> {
        serve::run(self.0, mount, Options { threads: 4, acls: true }, ready)
    }
}

/// Runs a command in the namespaces; `$D` is the overlay, or the directory `upper` of the bare mount.
fn start(words: &[OsString]) -> ExitCode {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let users = if uid == 0 { Users::Everybody } else { Users::Caller { uid, gid } };
    let overlay = std::env::var_os("BARE").is_none();
    let program = std::env::current_exe().unwrap();
    let place = PathBuf::from(std::env::var_os("PLACE").unwrap()).join("place");
    let stack = Stack { users: users.clone(), points: Vec::new(), memory: None };
    let settings = File::open(place.with_file_name("settings")).unwrap();
    let image = Image { format: Format::Squashfs, offset: 0, size: 0, path: place.clone() };
    let server = Server::start(&program, [(image, settings.as_fd())], &stack, None).unwrap();
    let (entrance, stdin) = Entrance::pair().unwrap();
    let entry = Entry { users, place: place.clone(), is_written: true, is_overlaid: overlay, is_laid: false };
    let mut command = Command::new(&program);
    command.arg(ENTER).args(words).stdin(Stdio::from(stdin));
    command.env("D", if overlay { mounts::merged(&place, true) } else { place.join("upper") });
    let mut engine = command.spawn().unwrap();
    drop(command);
    let led = entrance.lead(engine.id(), &entry, io::stdin().as_fd(), &server);
    let status = engine.wait().unwrap();
    led.expect("the namespaces and mounts");
    assert!(server.end(Patience::Short).lines.is_empty());
    ExitCode::from(u8::try_from(status.code().unwrap_or(99)).unwrap())
}

/// Who runs a test, and on what.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// Root, on the FUSE mount itself.
    RootBare,
    /// A user in his own namespace, on the FUSE mount itself.
    UserBare,
    /// A user in his own namespace, on the kernel's OverlayFS.
    UserOverlay,
}

impl How {
    fn name(self) -> &'static str {
        match self {
            Self::RootBare => "root_bare",
            Self::UserBare => "user_bare",
            Self::UserOverlay => "user_overlay",
        }
    }
}

/// One test: what is prepared outside, and what runs inside, which is a shell script or a function of [`inside`].
struct Test {
    name: &'static str,
    how: How,
    limit: Option<u64>,
    /// A disk of so many bytes instead of the host's.
    disk: Option<u64>,
    lower: fn(&Path),
    script: Option<&'static str>,
}

/// A directory for one test, with a copy of this program that every user may run.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["place", "lower", "tmp", "oracle"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        // A process of its own writes it, so that no other test can have it open for writing when it is started.
        let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(dir.path().join("program")).status();
        assert!(copied.unwrap().success());
        Self(dir)
    }

    fn run(&self, test: &Test) -> Result<(), String> {
        let place = self.0.path();
        let uid = if test.how == How::RootBare { 0 } else { NOBODY };
        (test.lower)(&place.join("lower"));
        let disk = test.disk.map(|size| Disk::new(place.join("tmp"), size));
        for name in ["tmp", "oracle"] {
            std::os::unix::fs::chown(place.join(name), Some(uid), Some(uid)).unwrap();
        }
        let mut command = Command::new(place.join("program"));
        command.arg(START).uid(uid).gid(uid).env("PLACE", place).stdin(Stdio::null());
        match test.script {
            Some(script) => command.args(["/bin/sh", "-euc", script]),
            None => command.arg(place.join("program")).args([INSIDE, test.name]),
        };
        if test.how != How::UserOverlay {
            command.env("BARE", "1");
        }
        let limit = test.limit.map_or("none".into(), |bytes| bytes.to_string());
        fs::write(place.join("settings"), format!("{limit} {}", place.display())).unwrap();
        let output = command.output().unwrap();
        let left = fs::read_dir(place.join("tmp")).unwrap().count();
        drop(disk);
        let said = [output.stdout, output.stderr].concat();
        match (output.status.code(), left) {
            (Some(0), 0) => Ok(()),
            (code, left) => Err(format!("code {code:?}, {left} left:\n{}", String::from_utf8_lossy(&said))),
        }
    }
}

/// A small file system.
struct Disk(PathBuf);

impl Disk {
    fn new(place: PathBuf, size: u64) -> Self {
        let options = format!("size={size}");
        mount(Some("disk"), &place, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).unwrap();
        Self(place)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}
