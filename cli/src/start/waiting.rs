//! Waiting for an image that somebody else uses: `--wait`.

use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use condatainer_core::config::Wait;
use condatainer_core::step::channel;

use crate::say;
use crate::say::failure::Failure;

/// A look costs what a start's survey costs, and the image may be on a file server. So the longer it has taken, the rarer they are.
const OFTEN: Duration = Duration::from_millis(200);
const RARELY: Duration = Duration::from_secs(5);

/// How long one start waits.
pub(crate) struct Waiting<'a> {
    wait: Wait,
    /// When it was first in vain; that was said then.
    since: Cell<Option<Instant>>,
    /// Shut down when nobody wants the start any more.
    step: Option<BorrowedFd<'a>>,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(wait: Wait, step: Option<BorrowedFd<'a>>) -> Self {
        Self { wait, since: Cell::new(None), step }
    }

    /// Tries until nobody uses the image any more that it is about, or that is not wanted any longer.
    pub(crate) fn until_free<T>(&self, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        loop {
            match attempt() {
                Err(failure) if failure.waits_for().is_some_and(|what_for| self.again(what_for)) => {}
                ended => return ended,
            }
        }
    }

    /// Pauses, and says once what for; `false` where that is not wanted, or not any longer.
    fn again(&self, what_for: &str) -> bool {
        let passed = self.since.get().map_or(Duration::ZERO, |since| since.elapsed());
        let left = match self.wait {
            Wait::No => return false,
            Wait::Yes => Duration::MAX,
            Wait::AtMost(time) => time.saturating_sub(passed),
        };
        if left.is_zero() {
            return false;
        }
        if self.since.get().is_none() {
            self.since.set(Some(Instant::now()));
            say::notice(what_for);
        }
        self.pause((passed / 10).clamp(OFTEN, RARELY).min(left))
    }

    fn pause(&self, time: Duration) -> bool {
        match self.step {
            Some(step) => !channel::is_over_within(step, time),
            None => {
                thread::sleep(time);
                true
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
        assert!(!Waiting::new(Wait::No, None).again("x"));
        assert!(Waiting::new(Wait::Yes, None).again("x"));
        let short = Waiting::new(Wait::AtMost(Duration::from_millis(1)), None);
        assert!(short.again("x") && !short.again("x"));
    }

    #[test]
    fn it_ends_with_its_step_and_not_with_a_call() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let waiting = Waiting::new(Wait::Yes, Some(ours.as_fd()));
        std::io::Write::write_all(&mut &theirs, b"a task asks").unwrap();
        assert!(waiting.again("x"));
        theirs.shutdown(Shutdown::Write).unwrap();
        assert!(!waiting.again("x"));
    }
}
