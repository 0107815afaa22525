//! Having an image to oneself: who is told what when it is busy, unwritable, or attached somewhere.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::env;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use condatainer_formats::ext::{Ids, Window};
use condatainer_images::acquire::holder;
use condatainer_images::lock::{Access, Availability, query};
use condatainer_images::temporary::on_signal;
use condatainer_images::verbs::chown::{Request, chown};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::{Bench, Part, fsck, ok, set_mode, sif, victim_command, whole};

const USER: Ids = Ids { uid: 1_234_567, gid: 70_001 };
const IMAGE: &str = "CONDATAINER_TEST_LOCKS_IMAGE";
/// Set where a chown is to wait in the middle.
const HALT: &str = "CONDATAINER_TEST_LOCKS_HALT";

/// Not a test of its own, but this test binary in a process of its own: says how a chown is refused.
#[test]
fn victim() {
    let Some(image) = env::var_os(IMAGE).map(PathBuf::from) else { return };
    if env::var_os(HALT).is_none() {
        println!("REFUSED {}", refusal(&image));
        return;
    }
    on_signal::remove_on_signals().unwrap();
    chown(&image, &Request::new(Ids::ROOT, USER), &mut |_, _| std::thread::sleep(Duration::from_secs(60))).unwrap();
}

#[test]
fn a_signal_takes_the_note_away() {
    let bench = Bench::new();
    let image = bench.image("env.img", &["-t", "ext3"], 16);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut child = victim_command().env(IMAGE, &image).env(HALT, "").spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        while holder::read(&image).is_none() {
            assert!(child.try_wait().unwrap().is_none() && Instant::now() < deadline, "there is no note");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(refusal(&image).contains(&format!("overlay chown, process {} on ", child.id())));
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(signal as i32));
        assert!(!holder::note_path(&image).exists(), "{signal}");
        assert_eq!(fsck(&image), Ok(()));
    }
}

fn refusal(image: &Path) -> String {
    let error =
        chown(image, &Request::new(Ids::ROOT, USER), &mut |_, _| {}).expect_err("it must be refused").to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

/// Calls `look` in the middle of a chown of `image`.
fn during_a_chown(image: &Path, mut look: impl FnMut()) {
    let mut looked = false;
    let mut once = |_, _| {
        if !std::mem::replace(&mut looked, true) {
            look();
        }
    };
    let target = if upper_is_root(image) { USER } else { Ids::ROOT };
    chown(image, &Request::new(target, USER), &mut once).unwrap();
    assert!(looked);
}

fn upper_is_root(image: &Path) -> bool {
    let file = File::open(image).unwrap();
    let window = condatainer_images::image::identify(image).unwrap().ext_window().unwrap();
    condatainer_formats::ext::probe(&file, window).unwrap().upper.owner().unwrap().uid == 0
}

#[test]
fn the_second_is_told_who_the_first_is_and_what_it_does() {
    let bench = Bench::new();
    let image = bench.image("env.img", &["-t", "ext3"], 16);
    let mut told = String::new();
    during_a_chown(&image, || told = refusal(&image));
    let (pid, host) = (std::process::id(), condatainer_images::system::process::host_name());
    let expected = format!("overlay chown, process {pid} on {host}); try again when it is free");
    assert!(told.contains("is in use (locked for writing by user ") && told.ends_with(&expected), "{told}");
    assert!(!holder::note_path(&image).exists(), "the note outlives the work");
    let mut free = None;
    during_a_chown(&image, || free = Some(holder::read(&image).unwrap().verb.unwrap()));
    assert_eq!(free.as_deref(), Some("overlay chown"));
}

#[test]
fn exactly_the_file_system_is_locked() {
    let bench = Bench::new();
    let plain = bench.image("plain.img", &["-t", "ext3"], 16);
    let part = Part { fs: 2, role: 4, group: 1, content: &fs::read(&plain).unwrap() };
    let base = Part { fs: 1, role: 2, group: 1, content: &[0; 4096] };
    let inside = bench.path("inside.sif");
    fs::write(&inside, sif(&[base, part])).unwrap();
    for image in [&plain, &inside] {
        let range = condatainer_images::image::identify(image).unwrap().ext_window().unwrap();
        let other = File::options().read(true).write(true).open(image).unwrap();
        let ask = |offset, size| query(&other, Window { offset, size }, Access::Write).unwrap();
        during_a_chown(image, || {
            assert_eq!(ask(range.offset, 1), Availability::Held(Access::Write));
            assert_eq!(ask(range.offset + range.size - 1, 1), Availability::Held(Access::Write));
            assert_eq!(ask(range.offset + range.size, 1 << 40), Availability::Free);
            if range.offset > 0 {
                assert_eq!(ask(0, range.offset), Availability::Free);
            }
        });
        assert_eq!(ask(0, 1 << 40), Availability::Free);
    }
}

/// Something mounted over a path for as long as this lives.
struct Bound(PathBuf);

impl Bound {
    fn new(source: &Path, at: &Path) -> Self {
        ok(Command::new("mount").arg("--bind").arg(source).arg(at).output().unwrap(), "mount --bind");
        Self(at.into())
    }

    fn read_only(source: &Path, at: &Path) -> Self {
        let bound = Self::new(source, at);
        ok(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(at).output().unwrap(), "remount");
        bound
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status().unwrap().success();
        assert!(done || std::thread::panicking(), "umount {}", self.0.display());
    }
}

#[test]
fn a_read_only_file_system_is_said() {
    let bench = Bench::new();
    let image = bench.image("env.img", &["-t", "ext3"], 16);
    let at = bench.path("seen.img");
    File::create(&at).unwrap();
    let _bound = Bound::read_only(&image, &at);
    let expected = "cannot be opened for writing: its file system is read-only here; work on a copy in another place";
    assert_eq!(refusal(&at), format!("{}: {expected}", at.display()));
}

#[test]
fn a_note_that_cannot_be_left_is_no_reason_to_fail() {
    let bench = Bench::new();
    let image = bench.image("env.img", &["-t", "ext3"], 16);
    let (directory, at) = (bench.path("sealed"), bench.path("sealed/seen.img"));
    fs::create_dir(&directory).unwrap();
    File::create(&at).unwrap();
    let _sealed = Bound::read_only(&directory, &directory);
    let _inside = Bound::new(&image, &at);
    let before = upper_is_root(&image);
    during_a_chown(&at, || {
        assert!(File::create(directory.join("x")).is_err(), "the directory can be written");
        assert_eq!(holder::read(&at), None);
    });
    assert_ne!(upper_is_root(&image), before);
}

#[test]
fn other_users_files_and_ones_own_are_told_apart() {
    let bench = Bench::new();
    set_mode(bench.dir.path(), 0o755);
    let binary = bench.path("as-another-user");
    fs::copy(env::current_exe().unwrap(), &binary).unwrap();
    let image = bench.image("env.img", &["-t", "ext3"], 16);
    let say = |mode: u32, owner: u32| {
        set_mode(&image, mode);
        std::os::unix::fs::chown(&image, Some(owner), Some(owner)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&binary);
        command.args(["--exact", "victim", "--nocapture"]).env(IMAGE, &image);
        let output = ok(command.output().unwrap(), "setpriv");
        let line = output.lines().find_map(|line| line.split_once("REFUSED ")).unwrap_or_else(|| panic!("{output}")).1;
        line.strip_prefix(&format!("{}: ", image.display())).unwrap_or_else(|| panic!("{line}")).to_owned()
    };
    let cure = format!("cannot be opened for writing: permission denied; run 'chmod u+w {}'", image.display());
    assert_eq!(say(0o444, 65534), cure);
    assert_eq!(say(0o644, 0), "cannot be opened for writing: permission denied; ask its owner, or work on a copy");
    assert_eq!(say(0o600, 0), "permission denied (it must be readable by you)");
}

#[test]
fn what_is_not_there_is_said_to_be_missing() {
    assert_eq!(refusal(Path::new("/nowhere/env.img")), "/nowhere/env.img: no such file or directory");
}

/// A shell in a mount namespace of its own, that waits to be ended after `script`.
fn elsewhere(script: &str, ready: &Path) -> Child {
    let script = format!("set -e; {script}; touch {}; read -r _", ready.display());
    let mut command = Command::new("unshare");
    let mut child = command.args(["-m", "sh", "-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !ready.exists() {
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < deadline, "{script}");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

#[test]
fn a_loop_device_of_another_mount_namespace_is_found() {
    let bench = Bench::new();
    let image = bench.image("env.img", &["-t", "ext3"], 16);
    let (hidden, at) = (bench.path("hidden"), bench.path("mounted"));
    fs::create_dir(&hidden).unwrap();
    fs::create_dir(&at).unwrap();
    // There the image has a path that does not exist here; the loop device is let go of with the mount.
    let script = format!(
        "mount -t tmpfs none {h}; touch {h}/other.img; mount --bind {i} {h}/other.img; mount -o loop {h}/other.img {a}",
        h = hidden.display(),
        i = image.display(),
        a = at.display()
    );
    let mut child = elsewhere(&script, &bench.path("ready"));
    let told = refusal(&image);
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(told.contains("attached to /dev/loop"), "{told}");
    let deadline = Instant::now() + Duration::from_secs(120);
    while chown(&image, &Request::new(Ids::ROOT, USER), &mut |_, _| {}).is_err() {
        assert!(Instant::now() < deadline, "the image stays busy: {}", refusal(&image));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(fsck(&image), Ok(()));
    assert_eq!(whole(&image).size, 16 << 20);
}
