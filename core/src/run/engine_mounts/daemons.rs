//! The engine's FUSE daemons: fuse2fs, fuse-overlayfs and squashfuse run as its children for as long as the container stands.
//!
//! At a terminal they get Ctrl-C with the command. In a step they may be processes of that step (`condatainer exec` in a batch script,
//! a task with a container of its own): where Slurm signals every process of it (proctrack/linuxproc), `scancel --signal` or the
//! SIGTERM before a time limit reaches them too, and they would take the command's file system away while it is still saving its
//! work. A signal mask given to the engine does not reach them (Apptainer's starter sets its own), so links with their names stand
//! in front of them in the engine's PATH. Behind the links is the interposer (`programs/interposer/`), which blocks the signals
//! and becomes the daemon, and that inherits the mask. In front of a fuse2fs it stays, as its guard, so that an engine which loses
//! patience with a slow disk kills the guard and not the daemon. An engine that brings its own daemons in its libexec directory looks
//! there before PATH: its configuration then names the links first (see [`super::config`]), where the interposer knows that
//! directory. Its environment does not tell: the starter empties it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::machine::interposers::FUSE_PROGRAMS;
use condatainer_images::system::process::Process;

pub use condatainer_programs::INTERPOSER;
pub use condatainer_programs::PRELOAD;

/// The interposer that has stayed in front of a fuse2fs, by its own name for itself.
pub(crate) const GUARD: &str = "fuse2fs-guard";

/// Links for starts in which the engine mounts no image, and asks its FUSE programs what they can all the same. Also in `programs/interposer`.
const NO_IMAGES: &str = "no-images";

/// Whether the user has the engine mount an image that is none of the stack's.
fn brings_images(mut variables: impl Iterator<Item = (OsString, OsString)>) -> bool {
    let names = ["BIND", "BINDPATH", "MOUNT"];
    variables.any(|(name, value)| {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        let rest = ["APPTAINER_", "SINGULARITY_"].iter().find_map(|prefix| name.strip_prefix(prefix));
        rest.is_some_and(|rest| names.contains(&rest)) && ["image-src=", "id="].iter().any(|key| value.contains(key))
    })
}

/// PATH for the engine: the links in front of everything, and behind them what it prefers to PATH. Where it does not mount the layers, nobody
/// needs to know what its FUSE programs can.
pub(crate) fn path_with(dir: &Path, own_programs: &[PathBuf], mounts_layers: bool) -> OsString {
    let mut path = OsString::new();
    if !mounts_layers && !brings_images(std::env::vars_os()) {
        path.push(dir.join(NO_IMAGES));
        path.push(":");
    }
    path.push(dir);
    for own in own_programs {
        path.push(":");
        path.push(own);
    }
    path.push(":");
    // An empty entry would stand for the working directory.
    let own = std::env::var_os("PATH").filter(|path| !path.is_empty());
    path.push(own.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into()));
    path
}

/// Daemons that were asked to end.
pub(crate) struct Asked(Vec<Process>);

impl Asked {
    /// Whether a fuse2fs among them is not done yet.
    pub(crate) fn still_writes(&self) -> bool {
        self.0.iter().any(|process| process.name() == "fuse2fs" && !process.is_zombie())
    }
}

/// Asks the daemons of this engine to unmount, sync and end.
pub(crate) fn ask_to_end(engine: Pid) -> Asked {
    let daemons = started_by(engine);
    ask(&daemons);
    Asked(daemons)
}

/// The children of an engine, and theirs: a daemon may have its guard in between.
fn started_by(engine: Pid) -> Vec<Process> {
    let engine = Process::numbered(engine);
    Process::all().filter(|process| process.ancestors().take(2).any(|ancestor| ancestor == engine)).collect()
}

/// Asks the daemons among these. One that does not handle the signal any more is ending already, and would die of it before it has
/// written everything.
pub(crate) fn ask(processes: &[Process]) {
    for name in FUSE_PROGRAMS {
        let daemons = processes.iter().filter(|process| process.name() == name && process.handles(Signal::SIGHUP));
        for pid in daemons.filter_map(Process::pid) {
            let _ = kill(pid, Signal::SIGHUP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::interposers::INTERPOSER_FILE;
    use crate::run::engine::signals::MEANT_FOR_COMMANDS;
    use std::ffi::OsStr;
    use std::fs;

    /// A directory with the interposer and links to it, as `make install` makes one.
    pub(super) fn installed(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(INTERPOSER_FILE);
        fs::write(&file, INTERPOSER).unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        names.iter().for_each(|name| std::os::unix::fs::symlink(INTERPOSER_FILE, dir.path().join(name)).unwrap());
        dir
    }

    fn called(link: &Path, arguments: &[&str], path: &OsStr) -> std::process::Output {
        std::process::Command::new(link).args(arguments).env("PATH", path).output().unwrap()
    }

    /// Where the engine mounts no image, and asks what squashfuse_ll can, it hears nothing at once; a program that mounts is what it was.
    #[test]
    fn what_need_not_be_known_is_not_asked() {
        let dir = installed(&[]);
        let none = dir.path().join(NO_IMAGES);
        fs::create_dir(&none).unwrap();
        std::os::unix::fs::symlink(format!("../{INTERPOSER_FILE}"), none.join("echo")).unwrap();
        let path = path_with(dir.path(), &[], false);
        assert!(path.to_str().unwrap().starts_with(&format!("{}:{}:", none.display(), dir.path().display())));
        let said = |arguments: &[&str]| String::from_utf8(called(&none.join("echo"), arguments, &path).stdout).unwrap();
        assert_eq!((said(&[]).as_str(), said(&["-o", "uid=7"]).as_str()), ("", "-o uid=7\n"));
        let of = |name: &str, value: &str| brings_images([(name.into(), value.into())].into_iter());
        assert!(
            of("APPTAINER_BIND", "/x.sqf:/data:image-src=/") && of("SINGULARITY_MOUNT", "type=bind,src=/x,dst=/y,id=1")
        );
        assert!(!of("APPTAINER_BIND", "/x:/y") && !of("MY_BIND", "image-src=") && !of("APPTAINER_BINDING", "id=1"));
    }

    /// It becomes the program of its own name that comes next in PATH. What is meant for the command its daemons do not get to see; SIGHUP is
    /// how they are asked to end.
    #[test]
    fn the_interposer_blocks_what_it_should() {
        let dir = installed(&["grep"]);
        let output =
            called(&dir.path().join("grep"), &["SigBlk", "/proc/self/status"], &path_with(dir.path(), &[], true));
        let said = String::from_utf8(output.stdout).unwrap();
        let mask = said.trim().rsplit('\t').next().and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap();
        let expected: u64 = MEANT_FOR_COMMANDS.iter().map(|signal| 1 << (*signal as u64 - 1)).sum();
        assert_eq!(mask & expected, expected, "{said}");
        assert_eq!(mask & (1 << (Signal::SIGHUP as u64 - 1)), 0, "{said}");
    }

    #[test]
    fn the_interposer_says_what_it_cannot_become() {
        let (dir, second) = (installed(&["no-such-daemon", "unusable"]), installed(&["no-such-daemon"]));
        let (here, there) = (dir.path().as_os_str(), second.path().as_os_str());
        let none = "condatainer: no-such-daemon: cannot be started: no such program in PATH\n";
        for path in [vec![here], vec![here, there], vec![here, there, here], vec![there], vec![]] {
            let output = called(&dir.path().join("no-such-daemon"), &[], &path.join(OsStr::new(":")));
            assert_eq!((String::from_utf8_lossy(&output.stderr).as_ref(), output.status.code()), (none, Some(1)));
        }
        fs::write(second.path().join("unusable"), "").unwrap();
        let output = called(&dir.path().join("unusable"), &[], &[here, there].join(OsStr::new(":")));
        let why = "condatainer: unusable: cannot be started: the system's error number 13\n";
        assert_eq!(String::from_utf8_lossy(&output.stderr), why);
    }

    #[test]
    fn children_are_found_by_name() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found: Vec<_> = started_by(Pid::this()).iter().map(|one| (one.clone(), one.name())).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&(Process::numbered(child.id()), "sleep".into())), "{found:?}");
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod guard_tests;
#[cfg(test)]
#[path = "preload_tests.rs"]
mod preload_tests;
