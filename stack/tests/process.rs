//! The server's process and what becomes the engine, on the real kernel: a shell stands for the engine, and a tree with one file for the
//! images. This program is all of them, as condatainer is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use condatainer_stack::namespace::{mounts, trial, user::Users};
use condatainer_stack::process::entry::enter;
use condatainer_stack::process::server::serve;
use condatainer_stack::process::start::{Entrance, Patience, Server};
use condatainer_stack::process::{ENTER, Entry, Format, Image, SERVE, Stack};
use libtest_mimic::{Arguments, Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getegid, geteuid};

#[path = "process/changes.rs"]
mod changes;
#[path = "process/one.rs"]
mod one;

use one::tree;

/// Tries all that changes a tree.
const CHANGE: &str = "change";
/// What starts both, as a user of its own.
const START: &str = "start";
const NOBODY: u32 = 64_999;
/// Subordinate ids of that user.
const RANGE: (u32, u32) = (300_000, 1000);
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    match words.get(1).and_then(|verb| verb.to_str()) {
        Some(SERVE) => serve(|opened, say| tree(opened.images, &say)),
        Some(ENTER) => enter(&words[2..]),
        Some(trial::VERB) => trial::tried(Path::new(&words[2])),
        Some(START) => start(&words[2], &words[3]),
        Some(CHANGE) => changes::all(Path::new(&words[2])),
        _ => {
            let tests = TESTS.iter().map(|(name, test)| Trial::test(*name, move || test().map_err(Failed::from)));
            libtest_mimic::run(&Arguments::from_args(), tests.collect()).exit_code()
        }
    }
}

/// Runs a script of sh(1) in the namespaces, in which `$D` is the tree; its words are the server's and the shell's.
fn start(place: &OsStr, script: &OsStr) -> ExitCode {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let users = match std::env::var_os("RANGE") {
        Some(_) => Users::Subuid { uid, gid, uids: RANGE, gids: RANGE },
        None if uid == 0 => Users::Everybody,
        None => Users::Caller { uid, gid },
    };
    let program = std::env::current_exe().unwrap();
    let stack = Stack { users: users.clone(), points: Vec::new(), memory: None };
    let file = File::open(std::env::var_os("IMAGE").unwrap_or("/dev/null".into())).unwrap();
    let image = Image { path: "image".into(), format: Format::Squashfs, offset: 0, size: 5 };
    let mut server = Server::start(&program, [(image, file.as_fd())], &stack, None).unwrap();
    let (entrance, stdin) = Entrance::pair().unwrap();
    let entry = Entry { users, place: place.into(), is_written: false, is_overlaid: false, is_laid: false };
    let mut command = Command::new(&program);
    command.arg(ENTER).args(["/bin/sh", "-c"]).arg(script).stdin(Stdio::from(stdin));
    command.env("D", mounts::merged(Path::new(place), false));
    let mut engine = command.spawn().unwrap();
    drop(command);
    let led = entrance.lead(engine.id(), &entry, io::stdin().as_fd(), &server);
    if std::env::var_os("KILL").is_some() {
        server.kill();
        println!("runs");
    }
    let status = engine.wait().unwrap();
    if let Err(why) = led {
        println!("refused: {why}");
        return ExitCode::from(125);
    }
    server.end(Patience::Short).lines.iter().for_each(|words| println!("server: {words}"));
    ExitCode::from(u8::try_from(status.code().unwrap_or(99)).unwrap())
}

type Test = fn() -> Result<(), String>;

const TESTS: [(&str, Test); 15] = [
    (
        "what_ends_after_its_first_answer_is_told_before_anything_runs",
        what_ends_after_its_first_answer_is_told_before_anything_runs,
    ),
    ("nobody_inside_reaches_what_the_server_sees", nobody_inside_reaches_what_the_server_sees),
    ("nor_does_root_inside", nor_does_root_inside),
    ("what_is_found_meanwhile_is_said_at_the_end", what_is_found_meanwhile_is_said_at_the_end),
    ("a_panic_that_nobody_catches_is_said_and_no_hang", a_panic_that_nobody_catches_is_said_and_no_hang),
    ("nobody_changes_what_is_only_read", nobody_changes_what_is_only_read),
    ("a_user_sees_what_is_served", a_user_sees_what_is_served),
    ("root_needs_no_user_namespace", root_needs_no_user_namespace),
    ("standard_input_and_the_code_are_the_engines", standard_input_and_the_code_are_the_engines),
    ("nothing_is_left_of_it", nothing_is_left_of_it),
    ("no_signal_and_no_descriptor_reaches_the_server", no_signal_and_no_descriptor_reaches_the_server),
    ("a_killed_server_is_an_error_and_no_hang", a_killed_server_is_an_error_and_no_hang),
    ("a_stopped_server_is_killed_at_the_end", a_stopped_server_is_killed_at_the_end),
    ("what_cannot_be_done_is_said_before_anything_runs", what_cannot_be_done_is_said_before_anything_runs),
    ("a_trial_says_why", a_trial_says_why),
];

/// A copy of this program that every user may run, with a directory to mount on and an image.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("place")).unwrap();
        fs::write(dir.path().join("image"), "hello").unwrap();
        // A process of its own writes it, so that no other test can have it open for writing when it is started.
        let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(dir.path().join("program")).status();
        assert!(copied.unwrap().success());
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, uid: u32, script: &str) -> Command {
        let mut command = Command::new(self.path("program"));
        command.arg(START).arg(self.path("place")).arg(script).env("IMAGE", self.path("image"));
        command.uid(uid).gid(uid).stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// What a script does until [`Place::go_on`].
    fn wait(&self) -> String {
        format!("until [ -e {} ]; do sleep 0.02; done", self.path("gate").display())
    }

    fn go_on(&self) {
        File::create(self.path("gate")).unwrap();
    }

    /// As a user.
    fn run(&self, script: &str) -> Output {
        self.command(NOBODY, script).output().unwrap()
    }

    /// The servers that were started from here.
    fn servers(&self) -> Vec<Pid> {
        let program = self.path("program");
        let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        all.filter(|pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program))
            .filter(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.ends_with(b"serve-stack\0")))
            .map(Pid::from_raw)
            .collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn same<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("found {found:?}, wanted {wanted:?}")) }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), String> {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() > PATIENCE {
            return Err(format!("it did not come to pass: {what}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Starts a script that prints a line when it runs, and waits for that.
fn started(mut command: Command) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "runs\n");
    (child, said)
}

fn rest(mut said: impl Read) -> String {
    let mut text = String::new();
    said.read_to_string(&mut text).unwrap();
    text.trim().to_owned()
}

fn a_user_sees_what_is_served() -> Result<(), String> {
    let place = Place::new();
    let output =
        place.run("cat $D/file; echo; id -u; grep CapEff /proc/self/status; cut -d' ' -f3 /proc/self/mountinfo >&2");
    let wanted = format!("hello\n{NOBODY}\nCapEff:\t0000000000000000");
    same((output.status.code(), text(&output.stdout)), (Some(0), wanted))
}

/// Whatever the server would say: it knows none of these requests.
fn nobody_changes_what_is_only_read() -> Result<(), String> {
    for uid in [NOBODY, 0] {
        let place = Place::new();
        let script = format!("{} {CHANGE} $D; cat $D/file", place.path("program").display());
        same(text(&place.command(uid, &script).output().unwrap().stdout), "hello".into())?;
    }
    Ok(())
}

fn root_needs_no_user_namespace() -> Result<(), String> {
    let place = Place::new();
    let output = place.command(0, "cat $D/file; echo; readlink /proc/self/ns/user").output().unwrap();
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    same(text(&output.stdout), format!("hello\n{}", own.display()))
}

fn standard_input_and_the_code_are_the_engines() -> Result<(), String> {
    let place = Place::new();
    let mut command = place.command(NOBODY, "cat; exit 7");
    let output = command.stdin(File::open(place.path("image")).unwrap()).output().unwrap();
    same((output.status.code(), text(&output.stdout)), (Some(7), "hello".into()))
}

fn nothing_is_left_of_it() -> Result<(), String> {
    let place = Place::new();
    let mounted = || fs::read_to_string("/proc/self/mounts").unwrap().contains("fuse.condatainer");
    let (mut child, mut said) = started(place.command(NOBODY, "echo runs; echo $$; exec sleep 600"));
    let mut engine = String::new();
    said.read_line(&mut engine).unwrap();
    same((mounted(), place.servers().len()), (false, 1))?;
    // Who has started it is gone, and the engine goes on; when that ends, the server does.
    child.kill().unwrap();
    child.wait().unwrap();
    same(place.servers().len(), 1)?;
    kill(Pid::from_raw(engine.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    wait_until("the server ends", || place.servers().is_empty())
}

fn no_signal_and_no_descriptor_reaches_the_server() -> Result<(), String> {
    let place = Place::new();
    let (mut child, said) =
        started(place.command(NOBODY, &format!("echo runs; read -r _ < $D/file; {}; cat $D/file", place.wait())));
    let server = place.servers()[0];
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGTSTP] {
        kill(server, signal).unwrap();
    }
    place.go_on();
    let open = |number: &str| fs::read_link(format!("/proc/{server}/fd/{number}")).unwrap();
    let descriptors = fs::read_dir(format!("/proc/{server}/fd")).unwrap().map(|entry| entry.unwrap().file_name());
    let pipes =
        descriptors.filter(|number| open(number.to_str().unwrap()).to_string_lossy().starts_with("pipe:")).count();
    let environment = fs::read(format!("/proc/{server}/environ")).unwrap();
    same((pipes, environment.len(), rest(said)), (0, 0, "hello".into()))?;
    same(child.wait().unwrap().code(), Some(0))
}

fn a_killed_server_is_an_error_and_no_hang() -> Result<(), String> {
    let place = Place::new();
    let mut command = place.command(NOBODY, &format!("{}; cat $D/file 2>&1", place.wait()));
    command.env("KILL", "1");
    let (mut child, said) = started(command);
    place.go_on();
    let said = rest(said);
    let code = child.wait().unwrap().code();
    let (shell, server) = said.split_once('\n').unwrap_or((said.as_str(), ""));
    if code == Some(1) && shell.starts_with("cat: ") && server.contains("signal: 9") {
        return Ok(());
    }
    Err(format!("{code:?}: {said}"))
}

fn a_stopped_server_is_killed_at_the_end() -> Result<(), String> {
    let place = Place::new();
    let (mut child, said) = started(place.command(NOBODY, &format!("echo runs; {}", place.wait())));
    kill(place.servers()[0], Signal::SIGSTOP).unwrap();
    place.go_on();
    same(rest(said), String::new())?;
    same((child.wait().unwrap().code(), place.servers().len()), (Some(0), 0))
}

fn what_is_found_meanwhile_is_said_at_the_end() -> Result<(), String> {
    let place = Place::new();
    fs::write(place.path("image"), "odd").unwrap();
    same(text(&place.run("cat $D/file; echo").stdout), "odd\nserver: the image is odd".into())
}

/// Each takes a thread along, of which the server has two.
fn a_panic_that_nobody_catches_is_said_and_no_hang() -> Result<(), String> {
    let place = Place::new();
    fs::write(place.path("image"), "mad").unwrap();
    let said = text(&place.run("for n in 1 2 3; do cat $D/file 2> /dev/null || echo lost; done").stdout);
    let line = "server: a mistake in condatainer, please report it: of a read at ";
    if said.starts_with("lost\nlost\nlost\nserver: ") && said.contains(line) { Ok(()) } else { Err(said) }
}

fn what_ends_after_its_first_answer_is_told_before_anything_runs() -> Result<(), String> {
    let place = Place::new();
    fs::write(place.path("image"), "short").unwrap();
    let said = text(&place.run("echo ran").stdout);
    if said.starts_with("refused: the layers are mounted, and cannot be read: ") { Ok(()) } else { Err(said) }
}

/// Says what of the server's can be had, and then what it serves.
const LOOK: &str = "S=$(pgrep -P $PPID condatainer-srv) && test -d /proc/$S || echo no server
    for what in fd/ root/ cwd/; do ls /proc/$S/$what >/dev/null 2>&1 && echo $what; done
    cat /proc/$S/maps 2>/dev/null | head -n1; id -u; cat $D/file";

fn nobody_inside_reaches_what_the_server_sees() -> Result<(), String> {
    same(text(&Place::new().run(LOOK).stdout), format!("{NOBODY}\nhello"))
}

/// With subordinate ids, which he is given in a mount namespace of this test.
fn nor_does_root_inside() -> Result<(), String> {
    let place = Place::new();
    let (first, count) = RANGE;
    for name in ["subuid", "subgid"] {
        fs::write(place.path(name), format!("somebody:{first}:{count}\n")).unwrap();
    }
    for (name, line) in [("passwd", "x:64999:64999::/:/bin/sh"), ("group", "x:64999:")] {
        let before = fs::read_to_string(format!("/etc/{name}")).unwrap();
        fs::write(place.path(name), format!("{before}\nsomebody:{line}\n")).unwrap();
    }
    let enter = "for f in subuid subgid passwd group; do mount --bind $PLACE/$f /etc/$f || exit; done
        exec setpriv --reuid 64999 --regid 64999 --clear-groups \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", enter, "-"])
        .arg(place.path("program"))
        .arg(START)
        .arg(place.path("place"))
        .arg(LOOK);
    command.env("PLACE", place.dir.path()).env("IMAGE", place.path("image")).env("RANGE", "1");
    let output = command.stdin(Stdio::null()).output().unwrap();
    same(text(&output.stdout), "0\nhello".into()).map_err(|why| format!("{why}: {}", text(&output.stderr)))
}

fn what_cannot_be_done_is_said_before_anything_runs() -> Result<(), String> {
    let place = Place::new();
    fs::write(place.path("image"), "broken").unwrap();
    same(text(&place.run("echo ran").stdout), "refused: the image is broken".into())?;
    fs::write(place.path("image"), "whole").unwrap();
    fs::remove_dir(place.path("place")).unwrap();
    let said = text(&place.run("echo ran").stdout);
    same(
        said,
        format!(
            "refused: {}: FUSE cannot be mounted: No such file or directory (os error 2)",
            place.path("place").display()
        ),
    )?;
    wait_until("no server is left", || place.servers().is_empty())
}

fn a_trial_says_why() -> Result<(), String> {
    let place = Place::new();
    let tried = |words: &str| {
        let mut command = Command::new("sh");
        let words =
            format!("{words} {} {} {}", place.path("program").display(), trial::VERB, place.path("place").display());
        text(&command.args(["-c", &words]).uid(NOBODY).gid(NOBODY).output().unwrap().stdout)
    };
    same(tried(""), "{\"fuse\":null,\"overlay\":null}".into())?;
    // Where no user namespace may be made: in one whose own limit is zero. Not as its root, who would need none.
    let limited =
        tried("unshare -U -c --keep-caps sh -ec 'echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"' -");
    if limited.is_empty() {
        println!("NOT COVERED: no limit of user namespaces can be set here");
        return Ok(());
    }
    if limited.contains("user namespace cannot be made") { Ok(()) } else { Err(limited) }
}
