//! Who holds an image: the kernel does not say whose an OFD lock is, so a writer publishes a note beside the image.
//!
//! The note is advice for people, never a lock: it may be missing (a directory that cannot be written) or left over (a writer
//! that was killed), and it is shown only while the real lock is held.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc::O_TMPFILE;
use rustix::fs::{AtFlags, CWD};
use serde::{Deserialize, Serialize};

use crate::system::escape::one_line;
use crate::system::process::{Process, host_name};
use crate::system::user::Caller;
use crate::temporary::on_signal::RemovedOnSignal;
use crate::trust::open_dir::{OpenDir, directory_of, identity};
use crate::trust::{self, Links};

/// A note has about 150 bytes; more is not one of ours.
const MAX_NOTE: u64 = 4096;

/// What stands in [`Holder::step`] for a batch script.
pub const BATCH_STEP: &str = "batch";

/// What a writer says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Host name.
    pub host: String,
    /// Process id on that host.
    pub pid: u32,
    /// Login name.
    pub user: String,
    /// Slurm job, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Slurm step of that job: a number, or `batch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What it does, where that is not a container: `overlay chown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
}

impl Holder {
    /// This process, in its Slurm step if it is in one.
    #[must_use]
    pub fn current() -> Self {
        Self {
            host: host_name(),
            pid: std::process::id(),
            user: Caller::current().map_or_else(|_| "unknown".into(), |caller| caller.name),
            job: std::env::var("SLURM_JOB_ID").ok(),
            step: std::env::var("SLURM_STEP_ID").ok(),
            verb: None,
        }
    }

    /// Whether this is the batch script of the given job.
    #[must_use]
    pub fn is_batch_of(&self, job: Option<&str>) -> bool {
        self.job.as_deref() == job && self.step.as_deref() == Some(BATCH_STEP)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", printable(&self.user))?;
        match (&self.job, &self.step) {
            (Some(job), Some(step)) => write!(f, ", job {}.{}", printable(job), printable(step))?,
            (Some(job), None) => write!(f, ", job {}", printable(job))?,
            _ => {}
        }
        if let Some(verb) = &self.verb {
            write!(f, ", {}", printable(verb))?;
        }
        write!(f, ", process {} on {}", self.pid, printable(&self.host))
    }
}

/// The note is a stranger's text: control characters must not reach a terminal.
fn printable(text: &str) -> String {
    one_line(text).chars().take(80).collect()
}

/// The note's path: `.env.img.holder` beside `env.img`.
#[must_use]
pub fn note_path(image: &Path) -> PathBuf {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    image.with_file_name(format!(".{name}.holder"))
}

/// Reads the note beside an image; `None` where there is none that can be trusted to be current. The user is whoever has written it.
#[must_use]
pub fn read(image: &Path) -> Option<Holder> {
    let note = trust::open(&note_path(image), Links::Refuse).ok()?;
    let holder: Holder = serde_json::from_str(&note.read_text(MAX_NOTE).ok()?).ok()?;
    let is_current = holder.host != host_name() || Process::numbered(holder.pid).exists();
    is_current.then(|| Holder { user: trust::name_of(note.owner()), ..holder })
}

/// A published note; taken away when dropped, if its name still leads to it. What others have put there meanwhile is not
/// touched: it is not even opened, because it could be a fifo.
#[derive(Debug)]
pub struct Published {
    place: OpenDir,
    name: OsString,
    /// Open, so that no other file gets its number.
    note: File,
    _on_signal: RemovedOnSignal,
}

impl Published {
    /// Publishes `holder` beside `image`. Call it only while holding the image's lock.
    ///
    /// # Errors
    /// The directory cannot be written; nothing depends on it.
    pub fn new(image: &Path, holder: &Holder) -> io::Result<Self> {
        let path = note_path(image);
        let name = path.file_name().unwrap_or_default().to_owned();
        let place = OpenDir::at(directory_of(&path))?;
        let text = serde_json::to_string(holder)?;
        let (on_signal, note) =
            RemovedOnSignal::file(&path, |path| without_a_name(path, &text).or_else(|_| by_another_name(path, &text)))?;
        Ok(Self { place, name, note, _on_signal: on_signal })
    }
}

/// Makes the note without a name before it gets its own, so that whoever is killed in between leaves nothing behind. What has that name
/// was left by somebody who was killed later.
fn without_a_name(path: &Path, text: &str) -> io::Result<File> {
    let mut options = File::options();
    let mut note = options.read(true).write(true).custom_flags(O_TMPFILE).open(directory_of(path))?;
    written(&mut note, text)?;
    let unnamed = format!("/proc/self/fd/{}", note.as_raw_fd());
    let named = || rustix::fs::linkat(CWD, &unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW);
    match named() {
        Err(rustix::io::Errno::EXIST) => {
            std::fs::remove_file(path)?;
            named()?;
        }
        named => named?,
    }
    Ok(note)
}

/// As [`without_a_name`], for file systems that have no such files.
fn by_another_name(path: &Path, text: &str) -> io::Result<File> {
    let mut note = tempfile::Builder::new().prefix(".holder-").tempfile_in(directory_of(path))?;
    written(note.as_file_mut(), text)?;
    note.persist(path).map_err(|error| error.error)
}

fn written(note: &mut File, text: &str) -> io::Result<()> {
    note.write_all(text.as_bytes())?;
    note.set_permissions(Permissions::from_mode(0o644))
}

impl Drop for Published {
    fn drop(&mut self) {
        if let Ok(ours) = rustix::fs::fstat(&self.note) {
            let _ = self.place.remove_file(&self.name, identity(&ours));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;
    use std::os::unix::fs::symlink;

    use nix::unistd::{Uid, mkfifo};

    fn me() -> String {
        trust::name_of(Uid::effective().as_raw())
    }

    fn holder(pid: u32) -> Holder {
        Holder { host: host_name(), pid, user: me(), job: Some("7".into()), step: Some("0".into()), verb: None }
    }

    #[test]
    fn published_read_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("env.img");
        let note = Published::new(&image, &holder(std::process::id())).unwrap();
        assert_eq!(read(&image), Some(holder(std::process::id())));
        drop(note);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn leftovers_and_strangers_are_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("env.img");
        assert_eq!(read(&image), None);
        std::mem::forget(Published::new(&image, &holder(u32::MAX)).unwrap());
        assert_eq!(read(&image), None, "the process is gone");
        fs::write(note_path(&image), "no json").unwrap();
        assert_eq!(read(&image), None);
    }

    #[test]
    fn a_note_of_another_release_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("env.img");
        let old = r#"{"host":"elsewhere","pid":1,"user":"u"}"#;
        let newer = r#"{"host":"elsewhere","pid":1,"user":"u","verb":"overlay chown","mood":"good"}"#;
        for (note, verb) in [(old, None), (newer, Some("overlay chown".to_owned()))] {
            fs::write(note_path(&image), note).unwrap();
            let holder = read(&image).unwrap();
            assert_eq!((holder.verb, holder.user), (verb, me()), "whoever has written it is the user");
        }
    }

    #[test]
    fn anothers_note_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("env.img");
        let first = Published::new(&image, &holder(1)).unwrap();
        let _second = Published::new(&image, &holder(2)).unwrap();
        drop(first);
        assert!(note_path(&image).exists());
    }

    /// What another user can put in the note's place where he can write to the directory. Reading a fifo would wait for ever.
    #[test]
    fn what_was_put_in_its_place_is_not_even_opened() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("env.img");
        let note = note_path(&image);
        let puts: [&dyn Fn(); 4] = [
            &|| mkfifo(&note, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            &|| symlink("/dev/zero", &note).unwrap(),
            &|| fs::create_dir(&note).unwrap(),
            &|| fs::write(&note, serde_json::to_string(&holder(std::process::id())).unwrap()).unwrap(),
        ];
        for put in puts {
            let published = Published::new(&image, &holder(std::process::id())).unwrap();
            fs::remove_file(&note).unwrap();
            put();
            let is_ours = read(&image).is_some();
            drop(published);
            assert!(note.is_symlink() || note.exists());
            assert_eq!(is_ours, note.is_file() && !note.is_symlink());
            let _ = fs::remove_file(&note).or_else(|_| fs::remove_dir(&note));
        }
    }

    #[test]
    fn said_in_words() {
        let holder = |pid| Holder { user: "alice".into(), ..holder(pid) };
        assert_eq!(Holder { host: "n1".into(), ..holder(9) }.to_string(), "user alice, job 7.0, process 9 on n1");
        let chown = Holder { host: "n1".into(), step: None, verb: Some("overlay chown".into()), ..holder(9) };
        assert_eq!(chown.to_string(), "user alice, job 7, overlay chown, process 9 on n1");
        let hostile = Holder { host: "a\x1b[2Jb\n".into(), user: "u".into(), job: None, step: None, ..holder(1) };
        assert_eq!(hostile.to_string(), r"user u, process 1 on a\u{1b}[2Jb\n");
    }
}
