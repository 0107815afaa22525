//! Waiting for an image that somebody else uses: `--wait`.

use std::cell::{Cell, OnceCell};
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use condatainer_core::config::Wait;
use condatainer_core::step::channel;
use condatainer_images::system::stop::{self, Stop};

use crate::say;
use crate::say::failure::Failure;

/// A look costs what a start's survey costs, and the image may be on a file server. So the longer it has taken, the rarer they are.
const OFTEN: Duration = Duration::from_millis(200);
const RARELY: Duration = Duration::from_secs(5);
/// How late a signal may be heard.
const SLICE: Duration = Duration::from_millis(100);

/// How long one start waits.
pub(crate) struct Waiting<'a> {
    wait: Wait,
    /// When it was first in vain; that was said then.
    since: Cell<Option<Instant>>,
    /// Shut down when nobody wants the start any more.
    step: Option<BorrowedFd<'a>>,
    /// Where there is no step, from the first vain try on: a try has handlers of its own for signals, and what they leave behind
    /// would let none of them end us.
    stop: OnceCell<Option<Stop>>,
}

/// What comes after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Try,
    GiveUp,
    End(i32),
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(wait: Wait, step: Option<BorrowedFd<'a>>) -> Self {
        Self { wait, since: Cell::new(None), step, stop: OnceCell::new() }
    }

    /// Tries until nobody uses the image any more that it is about, or that is not wanted any longer.
    pub(crate) fn until_free<T>(&self, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        loop {
            let failure = match attempt() {
                Err(failure) if failure.waits_for().is_some() => failure,
                ended => return ended,
            };
            match self.again(failure.waits_for().unwrap_or_default()) {
                Next::Try => {}
                Next::GiveUp => return Err(failure),
                Next::End(signal) => return Err(Failure::by_signal(signal)),
            }
        }
    }

    /// Pauses, and says once what for.
    fn again(&self, what_for: &str) -> Next {
        let passed = self.since.get().map_or(Duration::ZERO, |since| since.elapsed());
        let left = match self.wait {
            Wait::No => return Next::GiveUp,
            Wait::Yes => Duration::MAX,
            Wait::AtMost(time) => time.saturating_sub(passed),
        };
        if left.is_zero() {
            return Next::GiveUp;
        }
        if self.since.get().is_none() {
            self.since.set(Some(Instant::now()));
            say::notice(what_for);
        }
        self.pause((passed / 10).clamp(OFTEN, RARELY).min(left))
    }

    fn pause(&self, time: Duration) -> Next {
        if let Some(step) = self.step {
            return if channel::is_over_within(step, time) { Next::GiveUp } else { Next::Try };
        }
        self.stop.get_or_init(|| Stop::listen().ok());
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // Our own, or that of a caller who listens for longer.
            match stop::noted() {
                Some(signal) => return Next::End(signal),
                None if left.is_zero() => return Next::Try,
                None => thread::sleep(left.min(SLICE)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn it_ends_with_its_time() {
        assert_eq!(Waiting::new(Wait::No, None).again("x"), Next::GiveUp);
        assert_eq!(Waiting::new(Wait::Yes, None).again("x"), Next::Try);
        let short = Waiting::new(Wait::AtMost(Duration::from_millis(1)), None);
        assert_eq!([short.again("x"), short.again("x")], [Next::Try, Next::GiveUp]);
    }

    const MARK: &str = "it waits\n";
    const VICTIM: &str = "CONDATAINER_TEST_WAITS";

    /// Not a test of its own, but the process of the next one: handlers of an earlier try have left SIGTERM without an action.
    #[test]
    fn waits_for_a_signal() {
        if std::env::var_os(VICTIM).is_none() {
            return;
        }
        let id = signal_hook::flag::register(15, std::sync::Arc::default()).unwrap();
        assert!(signal_hook::low_level::unregister(id));
        let waiting = Waiting::new(Wait::Yes, None);
        for round in 0.. {
            if let Next::End(signal) = waiting.again("x") {
                std::process::exit(128 + signal);
            }
            if round == 0 {
                std::io::Write::write_all(&mut std::io::stdout(), MARK.as_bytes()).unwrap();
            }
        }
    }

    #[test]
    fn a_signal_ends_it_also_after_a_try() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--nocapture", "--exact", "start::waiting::tests::waits_for_a_signal"]).env(VICTIM, "1");
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        assert!(lines.map_while(Result::ok).any(|line| line.contains(MARK.trim_end())));
        let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(143));
    }

    #[test]
    fn it_ends_with_its_step_and_not_with_a_call() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let waiting = Waiting::new(Wait::Yes, Some(ours.as_fd()));
        std::io::Write::write_all(&mut &theirs, b"a task asks").unwrap();
        assert_eq!(waiting.again("x"), Next::Try);
        theirs.shutdown(Shutdown::Write).unwrap();
        assert_eq!(waiting.again("x"), Next::GiveUp);
    }
}
