//! Tests of the keeper's end, with its real warden and shells in the keeper's place.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, send};

use super::*;

/// A machine may be as slow as that.
const LONG: Duration = Duration::from_secs(60);

/// A step whose keeper is a shell with this text.
fn step(text: &str, patience: u16) -> Channel {
    let mut channel = Channel::new().unwrap();
    let words = ["/bin/sh", "-c", text].map(String::from);
    let environment = [c"PATH=/usr/bin:/bin".as_ptr(), std::ptr::null()];
    // SAFETY: a list that a null pointer ends, alive until then.
    unsafe { channel.start_keeper(&words, environment.as_ptr(), patience) }.unwrap();
    channel
}

/// The number that a process of the step has written.
fn number(file: &Path) -> String {
    until(|| fs::read_to_string(file).is_ok_and(|text| text.ends_with('\n')));
    fs::read_to_string(file).unwrap().trim().into()
}

fn until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_gone(number: &str) -> bool {
    !Path::new("/proc").join(number).exists()
}

const WAIT_FOR_THE_END: &str = "head -c1 > /dev/null";

#[test]
fn an_ordinary_end() {
    assert_eq!(step(WAIT_FOR_THE_END, 60).end(), Ok(()));
    // It may have nothing to keep.
    assert_eq!(step("exit 1", 60).end(), Ok(()));
    assert_eq!(Channel::new().unwrap().end(), Ok(()));
}

/// Neither a session of its own, nor a parent that is gone, nor a handler of signals helps.
#[test]
fn what_does_not_end_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (file, deep) = (dir.path().join("number"), dir.path().join("deep"));
    let stray = |file: &Path| {
        format!(
            "setsid sh -c 'trap \"\" TERM HUP; (echo $$ > {0}.new; mv {0}.new {0}; sleep 1000) & sleep 1000' & ",
            file.display()
        )
    };
    let mut late = step(&format!("{} kill -STOP $$", stray(&file)), 1);
    let stopped = number(&file);
    let said = late.end().unwrap_err();
    assert!(said.starts_with("the step's container did not end within 1 s and was killed"), "{said}");
    assert!(is_gone(&stopped));

    let mut strays = step(&format!("({}); {WAIT_FOR_THE_END}", stray(&deep)), 60);
    let left = number(&deep);
    let said = strays.end().unwrap_err();
    assert_eq!(said, "processes that the step's container had left behind were killed");
    assert!(is_gone(&left));
}

/// Nobody else can say it where there is no srun: the tasks have ended.
#[test]
fn what_was_lost_is_told() {
    let lost = condatainer_core::step::warden::KEEPER_LOST;
    let said = step(&format!("{WAIT_FOR_THE_END}; exit {lost}"), 60).end().unwrap_err();
    assert!(said.starts_with("what was written last in the step's container may be lost"), "{said}");
    let unserved = condatainer_core::step::warden::KEEPER_UNSERVED;
    let of_layers = step(&format!("{WAIT_FOR_THE_END}; exit {unserved}"), 60).end().unwrap_err();
    assert!(of_layers.starts_with("the layers of the step's container could not be served to the end"), "{of_layers}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("number");
    let text = format!("setsid sleep 1000 & echo $! > {}; {WAIT_FOR_THE_END}; exit {lost}", file.display());
    let mut strays = step(&text, 60);
    let left = number(&file);
    assert_eq!(strays.end().unwrap_err(), said);
    assert!(is_gone(&left));
}

/// Whoever has killed the keeper does not keep what it has started. But tasks may be in its container until the step is over.
#[test]
fn nothing_outlives_a_killed_keeper() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("number");
    let mut step = step(&format!("setsid sleep 1000 & echo $! > {}; kill -KILL $$", file.display()), 1);
    let left = number(&file);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!is_gone(&left));
    assert!(step.end().unwrap_err().contains("was killed"));
    assert!(is_gone(&left));
}

/// The socket of a keeper that is gone answers nobody for ever, although slurmstepd may have a copy of its end.
#[test]
fn a_question_to_nobody_has_an_end() {
    let mut channel = Channel::new().unwrap();
    let copy = channel.far.as_ref().unwrap()[0].try_clone().unwrap();
    let (mut question, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let rights = [theirs.as_raw_fd()];
    let rights = [nix::sys::socket::ControlMessage::ScmRights(&rights)];
    let text = [std::io::IoSlice::new(b"x")];
    let to = channel.tasks.as_raw_fd();
    nix::sys::socket::sendmsg::<()>(to, &text, &rights, MsgFlags::empty(), None).unwrap();
    drop(theirs);
    let words = ["/no/such/program".to_owned()];
    // SAFETY: a list of nothing.
    unsafe { channel.start_keeper(&words, [std::ptr::null()].as_ptr(), 60) }.unwrap();
    let mut answer = Vec::new();
    question.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(std::io::Read::read_to_end(&mut question, &mut answer).unwrap(), 0);
    until(|| send(to, b"x", MsgFlags::MSG_NOSIGNAL).is_err());
    drop(copy);
    assert_eq!(channel.end(), Ok(()));
}

/// Whatever OOM score slurmstepd has, the keeper has a task's. Not everywhere may root go below zero.
#[test]
fn the_keeper_is_no_more_spared_than_a_task() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("score");
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    fs::write("/proc/self/oom_score_adj", "500").unwrap();
    let text = format!("cat /proc/self/oom_score_adj > {0}.new; mv {0}.new {0}", file.display());
    let mut channel = step(&text, 60);
    fs::write("/proc/self/oom_score_adj", own.trim()).unwrap();
    assert_eq!(number(&file), "0");
    assert_eq!(channel.end(), Ok(()));
}
