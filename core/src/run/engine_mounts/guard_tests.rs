//! The interposer as the guard of a fuse2fs, which is a shell script here.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::GUARD;
use super::tests::installed;
use condatainer_images::system::process::Process;

/// What it is called with to mount an image.
const MOUNT: [&str; 4] = ["-f", "-o", "allow_other", "env.img"];
const PATIENCE: Duration = Duration::from_secs(60);

struct Guarded {
    guard: Child,
    program: Pid,
    said: BufReader<ChildStdout>,
    _directories: [tempfile::TempDir; 2],
}

/// A program that says its number, and that it is there.
fn guarded(script: &str) -> Guarded {
    let (mut guard, directories) = called(&MOUNT, script);
    let mut said = BufReader::new(guard.stdout.take().unwrap());
    let program = Pid::from_raw(line(&mut said).parse().unwrap());
    Guarded { guard, program, said, _directories: directories }
}

/// The interposer in front of this script, with these arguments.
fn called(arguments: &[&str], script: &str) -> (Child, [tempfile::TempDir; 2]) {
    let (links, programs) = (installed(&["fuse2fs"]), tempfile::tempdir().unwrap());
    let file = programs.path().join("fuse2fs");
    fs::write(&file, format!("#!/bin/sh\necho $$\n{script}\n")).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let own = std::env::var_os("PATH").unwrap();
    let path = [links.path().as_os_str(), programs.path().as_os_str(), &own].join(OsStr::new(":"));
    // A shell cannot handle what was ignored when it started.
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP").arg(links.path().join("fuse2fs"));
    (command.args(arguments).env("PATH", path).stdout(Stdio::piped()).spawn().unwrap(), [links, programs])
}

fn line(said: &mut impl BufRead) -> String {
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    line.trim_end().into()
}

impl Drop for Guarded {
    fn drop(&mut self) {
        for pid in [self.program, Pid::from_raw(self.guard.id().try_into().unwrap())] {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

impl Guarded {
    fn process(&self) -> Process {
        Process::numbered(self.guard.id())
    }

    fn term(&self) {
        kill(Pid::from_raw(self.guard.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    }

    /// Since it has seen the program mount, it waits without a time: the third argument of rt_sigtimedwait(2).
    fn has_seen_the_mount(&self) -> bool {
        let call = fs::read_to_string(self.process().directory().join("syscall")).unwrap();
        let words: Vec<&str> = call.split(' ').collect();
        let waits = nix::libc::SYS_rt_sigtimedwait.to_string();
        // On its way there it makes other calls, whose third argument is nothing as well.
        (words.first().copied(), words.get(3).copied()) == (Some(waits.as_str()), Some("0x0"))
    }

    fn wait_until(&self, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "in vain");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

const MOUNTED: &str = "trap 'echo asked; exit 3' HUP; echo mounted; while :; do sleep 0.01; done";

#[test]
fn ends_as_the_program_does() {
    for (script, code) in [("exit 7", 7), ("kill -KILL $$", 137), ("exit 0", 0)] {
        assert_eq!(guarded(script).guard.wait().unwrap().code(), Some(code), "{script}");
    }
}

/// The engine reads what the program prints to its end, and so waits for it.
#[test]
fn is_killed_in_the_programs_stead() {
    let mut guarded = guarded(MOUNTED);
    assert_eq!(line(&mut guarded.said), "mounted");
    guarded.guard.kill().unwrap();
    assert_eq!(guarded.guard.wait().unwrap().signal(), Some(9));
    kill(guarded.program, Signal::SIGHUP).unwrap();
    assert_eq!([line(&mut guarded.said), line(&mut guarded.said)], ["asked", ""]);
}

#[test]
fn asks_for_the_engine_alone() {
    let mut guarded = guarded(MOUNTED);
    assert_eq!(line(&mut guarded.said), "mounted");
    guarded.wait_until(Guarded::has_seen_the_mount);
    let other = format!("kill -TERM {}", guarded.guard.id());
    assert!(Command::new("sh").args(["-c", &other]).status().unwrap().success());
    let is_pending = |guarded: &Guarded| guarded.process().signals("ShdPnd") & 1 << (Signal::SIGTERM as i32 - 1) != 0;
    guarded.wait_until(|guarded| !is_pending(guarded) && guarded.has_seen_the_mount());
    assert!(guarded.guard.try_wait().unwrap().is_none() && kill(guarded.program, None).is_ok());
    guarded.term();
    assert_eq!(line(&mut guarded.said), "asked");
    assert_eq!(guarded.guard.wait().unwrap().code(), Some(3));
}

#[test]
fn a_program_that_has_not_mounted_is_ended() {
    let mut guarded = guarded("exec sleep 60");
    guarded.term();
    assert_eq!(guarded.guard.wait().unwrap().code(), Some(137));
}

/// It writes, and the signal would end it in the middle.
#[test]
fn a_program_that_has_unmounted_is_left_alone() {
    let script = "trap : HUP; echo mounted; read -r word < $4.fifo; trap - HUP; echo unmounted; read -r word < $4.fifo; echo written";
    let scratch = tempfile::tempdir().unwrap();
    let fifo = scratch.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut guarded = guarded(&script.replace("$4.fifo", fifo.to_str().unwrap()));
    // Held open for both words: what is closed late ends the second reading before its word.
    let mut words = File::options().read(true).write(true).open(&fifo).unwrap();
    assert_eq!(line(&mut guarded.said), "mounted");
    guarded.wait_until(Guarded::has_seen_the_mount);
    words.write_all(b"go\n").unwrap();
    assert_eq!(line(&mut guarded.said), "unmounted");
    guarded.term();
    guarded.wait_until(Guarded::has_seen_the_mount);
    words.write_all(b"go\n").unwrap();
    assert_eq!([line(&mut guarded.said), line(&mut guarded.said)], ["written", ""]);
    assert_eq!(guarded.guard.wait().unwrap().code(), Some(0));
}

/// The image among them, whose lock ends with the program.
#[test]
fn keeps_no_file_open_and_has_a_name() {
    let mut guarded = guarded(MOUNTED);
    guarded.wait_until(Guarded::has_seen_the_mount);
    let process = guarded.process();
    assert_eq!(fs::read_dir(process.directory().join("fd")).unwrap().count(), 0);
    assert_eq!((process.name().as_str(), Process::numbered(guarded.program).parent()), (GUARD, Some(process)));
    guarded.term();
    assert_eq!(guarded.guard.wait().unwrap().code(), Some(3));
}

/// A call that mounts nothing, as Apptainer's to see whether it is there.
#[test]
fn nothing_else_is_guarded() {
    let (child, _directories) = called(&["-V"], "");
    let number = child.id();
    assert_eq!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap(), format!("{number}\n"));
}
