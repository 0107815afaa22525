//! Processes to be killed: the test binary itself, started again with a job in its environment.

use std::env;
use std::ffi::OsStr;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often a process is killed in all: in every run of the tests, and with CONDATAINER_SOAK set.
pub fn instants() -> u32 {
    if env::var_os("CONDATAINER_SOAK").is_some() { 1000 } else { 30 }
}

/// A part of `whole`, by chance.
pub fn some_of(whole: Duration) -> Duration {
    let chance = RandomState::new().build_hasher().finish() as u32;
    whole.mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

/// How long a run takes: the quicker of two, because a moment's load must not put all the kills behind the end.
pub fn quicker_of_two(run: impl FnMut() -> Duration) -> Duration {
    std::iter::repeat_with(run).take(2).min().unwrap()
}

/// Sends a process a signal as soon as it is in the middle of its work, and waits for its end. `None` where it was through before anybody saw
/// it there, as it may be on a quick machine: see [`until_seen`].
pub fn end_once(child: &mut Child, is_in_the_middle: impl Fn() -> bool, signal: Signal) -> Option<ExitStatus> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_in_the_middle() {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        assert!(Instant::now() < deadline, "it never came to the middle");
        std::thread::sleep(Duration::from_micros(100));
    }
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
    Some(child.wait().unwrap())
}

/// Tries again until a process was met in the middle of its work.
pub fn until_seen(mut attempt: impl FnMut() -> Option<ExitStatus>) -> ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(ended) = attempt() {
            return ended;
        }
        assert!(Instant::now() < deadline, "it was never met in the middle");
    }
}

/// The test called `victim` of this binary, as a process of its own. It does not take over what whoever started the tests has had
/// them ignore (`nohup`).
pub fn victim_command() -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP,INT,QUIT,TERM").arg(env::current_exe().unwrap()).args(["--exact", "victim"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// One such process.
pub struct Victim(Child);

impl Victim {
    /// Runs the test called `victim` of the same binary, which finds its job in the variable `name`.
    pub fn start(name: &str, job: impl AsRef<OsStr>) -> Self {
        Self(victim_command().env(name, job).spawn().unwrap())
    }

    /// Lets it finish; tells how long that took from now on.
    pub fn finish(mut self) -> Duration {
        let start = Instant::now();
        assert!(self.0.wait().unwrap().success());
        start.elapsed()
    }

    /// As [`end_once`].
    pub fn end_once(mut self, is_in_the_middle: impl Fn() -> bool, signal: Signal) -> Option<ExitStatus> {
        end_once(&mut self.0, is_in_the_middle, signal)
    }

    /// Sends it a signal after `delay`, and waits for its end.
    pub fn end_after(mut self, delay: Duration, signal: Signal) -> ExitStatus {
        std::thread::sleep(delay);
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
        self.0.wait().unwrap()
    }
}
