//! All that changes a tree, tried on one that is only read.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{self as unix, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use nix::fcntl::AT_FDCWD;
use nix::libc::{EROFS, O_TMPFILE};
use nix::sys::stat::{Mode, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{AccessFlags, access, getegid, geteuid, mkfifo, truncate};
use rustix::fs::{XattrFlags, removexattr, setxattr};

type Change = fn(&Path) -> io::Result<()>;

/// With a directory that has a `file`.
const CHANGES: [(&str, Change); 21] = [
    ("open for writing", |dir| File::options().write(true).open(dir.join("file")).map(drop)),
    // Without such a descriptor there is no shared map that can be written to.
    ("open for both", |dir| File::options().read(true).write(true).open(dir.join("file")).map(drop)),
    ("open to append", |dir| File::options().append(true).open(dir.join("file")).map(drop)),
    ("open and truncate", |dir| File::options().write(true).truncate(true).open(dir.join("file")).map(drop)),
    ("create", |dir| File::create_new(dir.join("new")).map(drop)),
    ("O_TMPFILE", |dir| File::options().write(true).custom_flags(O_TMPFILE).open(dir).map(drop)),
    ("access", |dir| Ok(access(&dir.join("file"), AccessFlags::W_OK)?)),
    ("truncate", |dir| Ok(truncate(&dir.join("file"), 1)?)),
    ("utimes of a file", |dir| times(&dir.join("file"))),
    ("utimes of a directory", times),
    ("futimens", |dir| File::open(dir.join("file"))?.set_modified(SystemTime::now())),
    ("chmod", |dir| fs::set_permissions(dir.join("file"), Permissions::from_mode(0o600))),
    ("chown", |dir| unix::chown(dir.join("file"), Some(geteuid().as_raw()), Some(getegid().as_raw()))),
    ("mkdir", |dir| fs::create_dir(dir.join("new"))),
    ("mknod", |dir| Ok(mkfifo(&dir.join("new"), Mode::S_IRUSR)?)),
    ("symlink", |dir| unix::symlink("x", dir.join("new"))),
    ("link", |dir| fs::hard_link(dir.join("file"), dir.join("new"))),
    ("rename", |dir| fs::rename(dir.join("file"), dir.join("new"))),
    ("unlink", |dir| fs::remove_file(dir.join("file"))),
    ("setxattr", |dir| Ok(setxattr(dir.join("file"), "user.x", b"x", XattrFlags::empty())?)),
    ("removexattr", |dir| Ok(removexattr(dir.join("file"), "user.x")?)),
];

fn times(path: &Path) -> io::Result<()> {
    Ok(utimensat(AT_FDCWD, path, &TimeSpec::new(1, 0), &TimeSpec::new(1, 0), UtimensatFlags::NoFollowSymlink)?)
}

/// Says what is not refused, or not because of the mount.
pub(super) fn all(dir: &Path) -> ExitCode {
    for (name, change) in CHANGES {
        match change(dir) {
            Err(error) if error.raw_os_error() == Some(EROFS) => {}
            done => println!("{name}: {done:?}"),
        }
    }
    ExitCode::SUCCESS
}
