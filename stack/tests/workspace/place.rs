//! A directory for one test: a copy of this program that every user may run, an image, and what lies below it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use condatainer_formats::source::Window;
use condatainer_writer::device::FileDevice;
use condatainer_writer::recover;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{INSIDE, START};

pub(crate) const NOBODY: u32 = 64_997;
/// Subordinate ids of that user.
pub(crate) const RANGE: (u32, u32) = (400_000, 5000);

/// Who works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// A user in his own namespace, as himself.
    Plain,
    /// The same user, as root with subordinate ids.
    Range,
    /// Root.
    Root,
}

/// What a session came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) said: String,
}

pub(crate) struct Place {
    dir: tempfile::TempDir,
    disk: Option<Mounted>,
}

impl Place {
    /// With an empty image of so many mebibytes, as `condatainer o` makes it; `fill` says what is in it (`upper`) and below it.
    pub(crate) fn new(mib: u64, options: &[&str], fill: impl FnOnce(&Path, &Path)) -> Self {
        Self::on(None, mib, options, fill)
    }

    /// The same where the disk that the image lies on has no more than so many bytes.
    pub(crate) fn on(disk: Option<u64>, mib: u64, options: &[&str], fill: impl FnOnce(&Path, &Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let [content, lower] = ["content", "lower"].map(|name| dir.path().join(name));
        for name in ["place", "lower", "disk", "oracle", "content/upper", "content/work"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        for name in [&content, &content.join("upper"), &content.join("work")] {
            chown(name, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        fill(&content, &lower);
        let disk = disk.map(|size| small_disk(dir.path().join("disk"), size));
        // A process of its own writes it, so that no other test can have it open for writing when it is started.
        run(Command::new("cp").arg(std::env::current_exe().unwrap()).arg(dir.path().join("program")));
        let image = dir.path().join("disk/image");
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args([
            "-q",
            "-F",
            "-t",
            "ext3",
            "-m",
            "0",
            "-O",
            "^64bit,^metadata_csum,^huge_file,^extra_isize,^dir_nlink",
        ]);
        mke2fs.args(options).args(["-E", &format!("root_owner={NOBODY}:{NOBODY}"), "-d"]);
        run(mke2fs.arg(&content).arg(&image).arg(format!("{mib}M")));
        chown(&image, Some(NOBODY), Some(NOBODY)).unwrap();
        Self { dir, disk }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// From now on the disk has no more room than so many bytes.
    pub(crate) fn leave(&self, room: u64) {
        let used =
            fs::metadata(self.image()).map(|found| std::os::unix::fs::MetadataExt::blocks(&found) * 512).unwrap();
        let options = format!("size={},mode=777", used + room);
        mount(None::<&str>, &self.path("disk"), None::<&str>, MsFlags::MS_REMOUNT, Some(options.as_str())).unwrap();
    }

    /// What is in a directory is a layer from now on, and no directory of the host's.
    pub(crate) fn pack(&self, directory: &str, layer: &str) {
        let mut pack = Command::new("mksquashfs");
        pack.args([self.path(directory), self.path(layer)]).args(["-quiet", "-no-progress", "-comp", "gzip"]);
        run(pack.args(["-processors", "1", "-mem", "64M"]));
    }

    /// Gives the user a directory of it.
    pub(crate) fn own(&self, name: &str) {
        chown(self.path(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }

    /// Mounts an image by the kernel.
    pub(crate) fn mount(&self, image: &Path, at: &str) -> Mounted {
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(self.path(at)));
        Mounted(self.path(at))
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.path("disk/image")
    }

    /// A program and its words in the namespaces, not yet started.
    pub(crate) fn command(&self, who: Who, words: &[&str]) -> Command {
        let program = self.path("program");
        let mut command = match who {
            Who::Range => self.with_range(),
            _ => Command::new(&program),
        };
        command.arg(START).args(words).env("PLACE", self.dir.path()).stdin(Stdio::null());
        if who == Who::Plain {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// In a mount namespace in which he has subordinate ids.
    fn with_range(&self) -> Command {
        let (first, count) = RANGE;
        for name in ["subuid", "subgid"] {
            fs::write(self.path(name), format!("somebody:{first}:{count}\n")).unwrap();
        }
        for (name, line) in [("passwd", "::/:/bin/sh"), ("group", ":")] {
            let before = fs::read_to_string(format!("/etc/{name}")).unwrap();
            let line = format!("somebody:x:{NOBODY}:{}{line}", if name == "passwd" { "64997" } else { "" });
            fs::write(self.path(name), format!("{before}\n{line}\n")).unwrap();
        }
        let enter = "for f in subuid subgid passwd group; do mount --bind $PLACE/$f /etc/$f || exit; done
            exec setpriv --reuid 64997 --regid 64997 --clear-groups \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", enter, "-"]).arg(self.path("program")).env("RANGE", "1");
        command
    }

    /// A script of sh(1), of which every command must succeed.
    pub(crate) fn script(&self, who: Who, script: &str) -> Done {
        done(self.command(who, &["/bin/sh", "-euc", script]).output().unwrap())
    }

    /// A function of [`super::inside`].
    pub(crate) fn inside(&self, who: Who, words: &[&str]) -> Result<(), String> {
        self.run_inside(who, words).map(drop)
    }

    /// The same, and what it says.
    pub(crate) fn run_inside(&self, who: Who, words: &[&str]) -> Result<String, String> {
        let program = self.path("program");
        let words = [&[program.to_str().unwrap(), INSIDE], words].concat();
        done(self.command(who, &words).output().unwrap()).fine()
    }

    /// The image is in order, and says so itself.
    pub(crate) fn check(&self) -> Result<(), String> {
        let checked = Command::new("e2fsck").args(["-fn"]).arg(self.image()).output().unwrap();
        let says = text(Command::new("dumpe2fs").arg("-h").arg(self.image()).output().unwrap().stdout);
        let odd: Vec<_> =
            says.lines().filter(|line| line.contains("needs_recovery") || line.starts_with("First orphan")).collect();
        match (checked.status.code(), odd.is_empty()) {
            (Some(0), true) => Ok(()),
            (code, _) => Err(format!("e2fsck: {code:?}, {odd:?}\n{}", text(checked.stdout))),
        }
    }

    /// Does what whoever survives a killed server does.
    pub(crate) fn replay(&self) {
        let file = fs::File::options().read(true).write(true).open(self.image()).unwrap();
        let size = file.metadata().unwrap().len();
        recover(Arc::new(FileDevice::new(file, Window::whole(size)))).unwrap();
    }

    /// What debugfs(8) says to a request.
    pub(crate) fn debugfs(&self, request: &str) -> String {
        let said = Command::new("debugfs").args(["-R", request]).arg(self.image()).output().unwrap();
        text(said.stdout)
    }

    /// Changes the image by debugfs(8).
    pub(crate) fn change(&self, requests: &[&str]) {
        for request in requests {
            run(Command::new("debugfs").args(["-w", "-R", request]).arg(self.image()));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Before the directory that it lies on.
        self.disk = None;
    }
}

impl Done {
    /// What was said, if all went well.
    pub(crate) fn fine(self) -> Result<String, String> {
        if self.code == 0 { Ok(self.said) } else { Err(format!("code {}:\n{}", self.code, self.said)) }
    }
}

pub(crate) fn same<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("found {found:?}\nwanted {wanted:?}")) }
}

fn done(output: Output) -> Done {
    let said = [output.stdout, output.stderr].concat();
    Done { code: output.status.code().unwrap_or(-1), said: text(said).trim().into() }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(output.stderr));
    text(output.stdout)
}

/// It is mounted while this lives.
pub(crate) struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// A small disk.
fn small_disk(place: PathBuf, size: u64) -> Mounted {
    let options = format!("size={size},mode=777");
    mount(Some("disk"), &place, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).unwrap();
    Mounted(place)
}
