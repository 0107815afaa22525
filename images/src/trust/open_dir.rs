//! A directory by its descriptor: what is done in it is done there, whatever somebody puts at its path meanwhile.
//!
//! Everything that removes more than one file of its own goes through here. In a directory that others can write to, a path may
//! lead to something else from one moment to the next; a descriptor does not.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Device and inode: the same file or directory, under whatever name.
pub(crate) type Identity = (u64, u64);

/// Directories of a tree that are held open at the same time. Deeper ones are moved up first: programs may have 1024 files open.
const DEEPEST: u32 = 64;
/// The user namespaces in which files of the caller's subordinate ids can be removed, or files that are closed to all but root.
const MAPS: [&[&str]; 2] = [&["--map-root-user", "--map-auto"], &["--map-root-user"]];

/// See the module.
#[derive(Debug)]
pub(crate) struct OpenDir(File);

/// Where a file of this path lies.
#[must_use]
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl OpenDir {
    /// The directory at `path`, links followed: what the user has named may be one.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        Ok(Self(open(CWD, path.as_os_str(), OFlags::PATH)?))
    }

    /// A directory in this one, never a link.
    pub(crate) fn child(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(open(self.as_fd(), name, OFlags::PATH | OFlags::NOFOLLOW)?))
    }

    /// The same directory once more.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    pub(crate) fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.0)?)
    }

    pub(crate) fn identity(&self) -> io::Result<Identity> {
        self.stat().map(|stat| identity(&stat))
    }

    /// What the directory has under this name, a link as itself.
    pub(crate) fn stat_of(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(rustix::fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Whether this name still means the same file or directory.
    pub(crate) fn has(&self, name: &OsStr, expected: Identity) -> bool {
        self.stat_of(name).is_ok_and(|stat| identity(&stat) == expected)
    }

    /// All names in it.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let readable =
            rustix::fs::openat(self, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::new(readable)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Makes a directory that only the caller can enter.
    pub(crate) fn make(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(self, name, Mode::RWXU)?)
    }

    /// Opens a file in it: no link, no waiting for a pipe.
    pub(crate) fn open(&self, name: &OsStr, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Gives a file in it another name there.
    pub(crate) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(self, from, self, to)?)
    }

    /// Removes a file in it, if the name still means that one.
    pub(crate) fn remove_file(&self, name: &OsStr, expected: Identity) -> io::Result<()> {
        if !self.has(name, expected) {
            return Err(replaced());
        }
        Ok(rustix::fs::unlinkat(self, name, AtFlags::empty())?)
    }

    /// Removes `dir`, which is in this one under this name, with all that is in it. If something else has the name by now, that
    /// stays, and `dir` is left empty.
    pub(crate) fn remove_tree(&self, name: &OsStr, dir: &Self) -> io::Result<()> {
        dir.clear()?;
        if !self.has(name, dir.identity()?) {
            return Err(replaced());
        }
        Ok(rustix::fs::unlinkat(self, name, AtFlags::REMOVEDIR)?)
    }

    /// Removes everything in it, also what fakeroot has made for subordinate ids.
    fn clear(&self) -> io::Result<()> {
        let Err(error) = self.clear_as_caller() else { return Ok(()) };
        for map in MAPS {
            self.clear_in_namespace(map);
            if self.names().is_ok_and(|names| names.is_empty()) {
                return Ok(());
            }
        }
        Err(error)
    }

    /// The command works where this descriptor leads to, and its names cannot mean anything else: nobody but the caller can write
    /// to a directory of ours.
    fn clear_in_namespace(&self, map: &[&str]) {
        let names = self.names().unwrap_or_default();
        let mut command = Command::new("unshare");
        command.arg("--user").args(map).args(["rm", "-rf", "--"]);
        command.args(names.iter().map(|name| Path::new(".").join(name))).current_dir(self.in_proc());
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    fn clear_as_caller(&self) -> io::Result<()> {
        let mut work = Clearing { top: self, device: self.identity()?.0, moved: 0, failed: None };
        loop {
            let before = work.moved;
            work.clear(self, 0)?;
            match work.failed.take() {
                Some(error) => return Err(error),
                None if work.moved == before => return Ok(()),
                None => {}
            }
        }
    }

    /// Lets its owner enter, list and change it: OverlayFS leaves a work directory of mode 0.
    fn open_up(&self, stat: &Stat) -> io::Result<()> {
        let open = Mode::RWXU.as_raw_mode();
        if stat.st_mode & open == open {
            return Ok(());
        }
        std::fs::set_permissions(self.in_proc(), Permissions::from_mode(open))
    }

    /// A path that leads to this very directory as long as it is open.
    fn in_proc(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }
}

impl AsFd for OpenDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Emptying a directory.
struct Clearing<'a> {
    top: &'a OpenDir,
    /// No other file system is entered.
    device: u64,
    /// Directories that were moved up to the top, because they lie too deep.
    moved: u64,
    /// The first thing that could not be removed; the others are, all the same.
    failed: Option<io::Error>,
}

impl Clearing<'_> {
    fn clear(&mut self, dir: &OpenDir, depth: u32) -> io::Result<()> {
        for name in dir.names()? {
            if let Err(error) = self.remove(dir, &name, depth)
                && error.kind() != io::ErrorKind::NotFound
            {
                self.failed.get_or_insert(error);
            }
        }
        Ok(())
    }

    fn remove(&mut self, dir: &OpenDir, name: &OsStr, depth: u32) -> io::Result<()> {
        if FileType::from_raw_mode(dir.stat_of(name)?.st_mode) != FileType::Directory {
            return Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?);
        }
        let child = dir.child(name)?;
        let stat = child.stat()?;
        if stat.st_dev != self.device {
            return Err(Errno::XDEV.into());
        }
        child.open_up(&stat)?;
        if depth == DEEPEST {
            self.moved += 1;
            return Ok(rustix::fs::renameat(dir, name, self.top, format!(".deep-{}", self.moved))?);
        }
        self.clear(&child, depth + 1)?;
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            // Why it is not empty is known already.
            Err(Errno::NOTEMPTY) if self.failed.is_some() => Ok(()),
            removed => Ok(removed?),
        }
    }
}

/// Device and inode of what was looked at.
pub(crate) fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

fn open(dir: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?.into())
}

fn replaced() -> io::Error {
    io::Error::other("something else has its name now, and was left alone")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn tree() -> (tempfile::TempDir, OpenDir, OpenDir) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tree")).unwrap();
        let parent = OpenDir::at(dir.path()).unwrap();
        let tree = parent.child("tree".as_ref()).unwrap();
        (dir, parent, tree)
    }

    #[test]
    fn all_of_it_goes_and_links_lead_nowhere() {
        let (dir, parent, tree) = tree();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("precious")).unwrap();
        fs::write(at("precious/file"), "").unwrap();
        fs::create_dir_all(at("tree/a/closed/b")).unwrap();
        fs::write(at("tree/a/closed/b/c"), "").unwrap();
        symlink(at("precious"), at("tree/a/link")).unwrap();
        symlink(at("precious"), at("tree/upper")).unwrap();
        fs::set_permissions(at("tree/a/closed"), Permissions::from_mode(0o000)).unwrap();
        parent.remove_tree("tree".as_ref(), &tree).unwrap();
        assert!(!at("tree").exists() && at("precious/file").exists());
    }

    #[test]
    fn what_has_taken_its_name_stays() {
        let (dir, parent, tree) = tree();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("tree/ours"), "").unwrap();
        fs::rename(at("tree"), at("elsewhere")).unwrap();
        fs::create_dir_all(at("tree/upper")).unwrap();
        fs::write(at("tree/upper/file"), "precious").unwrap();
        let error = parent.remove_tree("tree".as_ref(), &tree).unwrap_err();
        assert_eq!(error.to_string(), "something else has its name now, and was left alone");
        assert_eq!(fs::read_to_string(at("tree/upper/file")).unwrap(), "precious");
        assert_eq!(fs::read_dir(at("elsewhere")).unwrap().count(), 0);
        symlink(at("elsewhere"), at("link")).unwrap();
        assert!(parent.child("link".as_ref()).is_err());
    }

    #[test]
    fn a_file_is_removed_by_its_identity() {
        let (dir, parent, _) = tree();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        let known = identity(&parent.stat_of("file".as_ref()).unwrap());
        fs::write(dir.path().join("new"), "precious").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(parent.remove_file("file".as_ref(), known).is_err() && path.exists());
        let now = identity(&parent.stat_of("file".as_ref()).unwrap());
        parent.remove_file("file".as_ref(), now).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn no_depth_is_too_deep() {
        let (_dir, parent, tree) = tree();
        let mut at = tree.try_clone().unwrap();
        for _ in 0..2000 {
            at.make("d".as_ref()).unwrap();
            at = at.child("d".as_ref()).unwrap();
        }
        parent.remove_tree("tree".as_ref(), &tree).unwrap();
    }
}
