//! Who holds a lock on an image, as far as this node tells the caller.
//!
//! The kernel names no process for an open-file-description lock. It does for other locks of fcntl(2), which are in the way too. And
//! it shows the locks of open files to whoever may look into a process: its own user, and root. Of strangers only the command line
//! can be seen; it proves nothing, and is told as a guess.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::Uid;

use super::range::{Access, conflicting_process};
use super::users::{User, holders, users};
use crate::system::process::Process;
use crate::trust::owners::name_of;
use condatainer_formats::ext::Window;

/// As many are named; there may be hundreds of readers.
const MOST: usize = 3;

/// In words who is in the way of `wanted`: `user bob, process 77 (python3)`. `None` where nothing tells.
#[must_use]
pub fn who(path: &Path, file: &File, range: Window, wanted: Access) -> Option<String> {
    if let Some(pid) = conflicting_process(file, range, wanted) {
        return Some(described(&User { pid, comm: Process::numbered(pid).name() }));
    }
    let meta = file.metadata().ok()?;
    let found = Some(holders(meta.dev(), meta.ino())).filter(|found| !found.is_empty());
    let found = found.unwrap_or_else(|| users(meta.dev(), meta.ino()));
    let seen = || all(&found.iter().map(described).collect::<Vec<_>>());
    seen().or_else(|| guess(path).map(|words| format!("perhaps {words}")))
}

fn all(words: &[String]) -> Option<String> {
    let (shown, more) =
        (words.iter().take(MOST).cloned().collect::<Vec<_>>().join(", "), words.len().saturating_sub(MOST));
    match (words.len(), more) {
        (0, _) => None,
        (_, 0) => Some(shown),
        _ => Some(format!("{shown} and {more} more")),
    }
}

fn described(user: &User) -> String {
    let (pid, comm) = (user.pid, &user.comm);
    match owner(&Process::numbered(pid)) {
        Some(uid) if uid == Uid::current().as_raw() => format!("your process {pid} ({comm})"),
        Some(uid) => format!("user {}, process {pid} ({comm})", name_of(uid)),
        None => format!("process {pid} ({comm})"),
    }
}

fn owner(process: &Process) -> Option<u32> {
    process.status("Uid")?.split_ascii_whitespace().next()?.parse().ok()
}

/// A stranger's process that was told to use this image. What has started us may name it too.
fn guess(path: &Path) -> Option<String> {
    let real = path.canonicalize().ok()?;
    let us: Vec<Process> = Process::this().ancestors().collect();
    let is_strangers = |process: &Process| owner(process).is_some_and(|uid| uid != Uid::current().as_raw());
    let mut others = Process::all().filter(|process| is_strangers(process) && !us.contains(process));
    let found =
        others.find(|process| process.arguments().is_ok_and(|words| words.iter().any(|word| names(word, &real))))?;
    let user = User { pid: found.pid()?.as_raw().cast_unsigned(), comm: found.name() };
    Some(format!("{}, whose command line names it", described(&user)))
}

/// Whether a word holds the path as a whole: `/a/env.img:ro`, `--overlay=/b.sqf,/a/env.img`.
fn names(word: &OsString, path: &Path) -> bool {
    let (word, path) = (word.as_bytes(), path.as_os_str().as_bytes());
    let is_end = |byte: Option<&u8>| byte.is_none_or(|byte| b":,?\"".contains(byte));
    let is_start = |at: usize| at == 0 || b"=:,\"".contains(&word[at - 1]);
    let mut windows = word.windows(path.len().max(1)).enumerate();
    windows.any(|(at, window)| window == path && is_start(at) && is_end(word.get(at + path.len())))
}

/// Of another user's process the kernel tells nobody but root that it has a lock.
#[must_use]
pub fn unknown(path: &Path) -> String {
    format!(
        "an unknown process, perhaps on another node ('condatainer overlay info {}' names it to root, on its node)",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock;
    use std::process::{Command, Stdio};

    const RANGE: Window = Window { offset: 0, size: 4096 };

    fn with_holder(script: &str, work: impl FnOnce(&Path, &File, u32)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env.img");
        std::fs::write(&path, [0; 4096]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut command = Command::new("python3");
        command.args(["-c", &format!("import fcntl, struct, sys, time\nf = open('{}', 'rb')\n{script}\nprint('held', flush=True)\ntime.sleep(600)", path.display())]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 4];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        work(&path, &file, child.id());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_lock_of_another_kind_is_its_processs() {
        with_holder("fcntl.lockf(f, fcntl.LOCK_SH)", |path, file, pid| {
            assert!(lock::take(file, RANGE, Access::Write).is_err());
            let who = who(path, file, RANGE, Access::Write).unwrap();
            assert!(who.starts_with(&format!("your process {pid} (python3")), "{who}");
        });
    }

    #[test]
    fn the_holder_is_told_from_those_that_only_have_it_open() {
        let ofd = "fcntl.fcntl(f, 37, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 0, 0, 0))";
        with_holder(ofd, |path, file, pid| {
            let mut idle = Command::new("sleep").arg("600").stdin(File::open(path).unwrap()).spawn().unwrap();
            let who = who(path, file, RANGE, Access::Write).unwrap();
            idle.kill().unwrap();
            idle.wait().unwrap();
            assert!(who.starts_with(&format!("your process {pid} (python3")) && !who.contains("sleep"), "{who}");
        });
    }

    #[test]
    fn a_path_on_a_command_line() {
        let named = |word: &str| names(&word.into(), Path::new("/a/env.img"));
        assert!(named("/a/env.img") && named("/a/env.img:ro") && named("--overlay=/b.sqf,/a/env.img"));
        assert!(!named("/a/env.img.bak") && !named("/b/a/env.img") && !named("/a") && !named(""));
    }

    #[test]
    fn a_few_are_named() {
        let words = |count: usize| all(&vec!["x".to_owned(); count]);
        assert_eq!((words(0), words(2), words(5)), (None, Some("x, x".into()), Some("x, x, x and 2 more".into())));
    }
}
