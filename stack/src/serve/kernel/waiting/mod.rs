//! How the threads wait for the next request: asleep or, while one comes quickly after the other, awake.
//!
//! Who asks sleeps until he has his answer, and a thread that has none to give sleeps until it is asked, so each message wakes somebody twice. Where a
//! processor that has nothing to do must be woken for that, both take longer than most answers. So while requests come one after the other
//! one thread, the first, looks for the next request itself for some tens of microseconds before it sleeps. The others stand aside meanwhile, since the kernel
//! would wake one of them with each request that comes.
//!
//! While the first has a request in hand nobody reads. So one of those who stand aside looks each millisecond whether it gets on, and
//! reads in its stead where it does not: a request may take as long as the disk, or until another one is answered. Where several ask at once, where
//! the processors have other work, or where nothing comes for a while, all of them wait asleep.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use parking_lot::{Condvar, Mutex, MutexGuard};

/// When nothing comes for so long, all wait asleep, in milliseconds.
const IDLE: u16 = 20;
/// How often the first is looked after.
const WATCH: Duration = Duration::from_millis(1);
/// So often without anything new.
const UNCHANGED: u32 = 50;
/// So many requests have to come quickly, at most, before one thread waits alone.
const MANY: u32 = 1 << 14;
/// What a look that was in vain, or during which another process has run, counts against those that were not.
const IN_VAIN: i32 = 4;
const CREDIT: i32 = 64;

/// What is quick and long.
#[derive(Debug, Clone, Copy)]
struct Measures {
    /// A request that comes sooner after an answer has come quickly. Some of it is the way of both through the scheduler.
    quick: Duration,
    /// So long the first looks before it sleeps.
    look: Duration,
    /// Who asks does not take longer between two looks, if it is he who has the processor.
    long: Duration,
    /// So many requests have to come quickly, at first, before one thread waits alone.
    few: u32,
}

const MEASURES: Measures = Measures {
    quick: Duration::from_micros(150),
    look: Duration::from_micros(60),
    long: Duration::from_micros(500),
    few: 64,
};

/// Whether, and what, the device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Request,
    /// It is no more.
    End,
}

/// See the module.
pub(super) struct Waiting {
    measures: Measures,
    /// One of the device's descriptors; they have their requests in common.
    device: Option<OwnedFd>,
    /// Threads that read or will read next.
    reading: AtomicUsize,
    /// One thread is to wait alone.
    alone: AtomicBool,
    /// Requests and answers, while one thread waits alone.
    steps: AtomicU64,
    /// When the last answer was given, in nanoseconds since the beginning.
    answered: AtomicU64,
    begun: Instant,
    /// Requests that came quickly, one after the other, and how many of them are needed.
    quick: AtomicU32,
    needed: AtomicU32,
    /// Who has asked last, and whether there was already a request when the last one was answered.
    asker: AtomicU32,
    crowded: AtomicBool,
    aside: Mutex<Aside>,
    changed: Condvar,
}

/// Those who stand aside.
#[derive(Default)]
struct Aside {
    is_watched: bool,
    /// Of looks that were worth it.
    credit: i32,
}

/// A request that a thread has taken; until it waits again.
pub(super) struct Taken<'a> {
    waiting: &'a Waiting,
    is_forget: bool,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.waiting.wait(self.is_forget);
    }
}

thread_local! {
    /// Whether this thread has looked in vain since it has read: the kernel sends many FORGETs as one.
    static IN_VAIN_ALREADY: Cell<bool> = const { Cell::new(false) };
}

impl Waiting {
    /// Of so many threads; without a device they always wait asleep.
    pub(super) fn new(device: Option<OwnedFd>, threads: usize) -> Self {
        Self::with(MEASURES, device.filter(|_| threads > 1), threads)
    }

    fn with(measures: Measures, device: Option<OwnedFd>, threads: usize) -> Self {
        Self {
            measures,
            device,
            reading: AtomicUsize::new(threads),
            alone: AtomicBool::new(false),
            steps: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            begun: Instant::now(),
            quick: AtomicU32::new(0),
            needed: AtomicU32::new(measures.few),
            asker: AtomicU32::new(0),
            crowded: AtomicBool::new(false),
            aside: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Whether one thread waits alone.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }

    /// This thread has read a request of `asker`. Until what this returns is dropped it answers.
    pub(super) fn taken(&self, asker: u32) -> Option<Taken<'_>> {
        self.device.as_ref()?;
        self.reading.fetch_sub(1, Ordering::Relaxed);
        let before = self.asker.swap(asker, Ordering::Relaxed);
        if self.is_alone() {
            self.steps.fetch_add(1, Ordering::Relaxed);
            if self.crowded.swap(false, Ordering::Relaxed) && before != asker {
                self.count(-IN_VAIN);
            }
        } else {
            let since = Duration::from_nanos(self.now().saturating_sub(self.answered.load(Ordering::Relaxed)));
            if since > self.measures.quick {
                self.quick.store(0, Ordering::Relaxed);
            } else {
                self.quick.fetch_add(1, Ordering::Relaxed);
            }
        }
        IN_VAIN_ALREADY.set(false);
        Some(Taken { waiting: self, is_forget: false })
    }

    /// The same for a FORGET, which nobody waits for, of many that may be one message.
    pub(super) fn forgets(&self) -> Option<Taken<'_>> {
        self.device.as_ref()?;
        self.reading.fetch_sub(1, Ordering::Relaxed);
        self.steps.fetch_add(1, Ordering::Relaxed);
        Some(Taken { waiting: self, is_forget: true })
    }

    /// Several have asked at once.
    pub(super) fn several(&self) {
        self.quick.store(0, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// This thread has answered, and reads when this returns.
    fn wait(&self, is_forget: bool) {
        let Some(device) = &self.device else { return };
        if !self.is_alone() && self.quick.load(Ordering::Relaxed) >= self.needed.load(Ordering::Relaxed) {
            self.quick.store(0, Ordering::Relaxed);
            self.aside.lock().credit = CREDIT;
            self.alone.store(true, Ordering::SeqCst);
        }
        if self.is_alone() {
            self.steps.fetch_add(1, Ordering::Relaxed);
            if self.reading.fetch_add(1, Ordering::SeqCst) == 0 {
                self.look_out(device, is_forget);
                return;
            }
            self.reading.fetch_sub(1, Ordering::SeqCst);
            self.stand_aside(device);
        } else if !is_forget {
            self.answered.store(self.now(), Ordering::Relaxed);
        }
        self.reading.fetch_add(1, Ordering::SeqCst);
    }

    /// The first looks for the next request.
    fn look_out(&self, device: &OwnedFd, is_forget: bool) {
        if is_forget && IN_VAIN_ALREADY.get() {
            return;
        }
        let begun = Instant::now();
        let (mut last, before, mut tries) = (begun, switches(), 0);
        let found = loop {
            let found = look(device, PollTimeout::ZERO);
            let now = Instant::now();
            if found != Found::Nothing || now - begun > self.measures.look {
                break found;
            }
            if now - last > self.measures.long {
                return self.all(self.more());
            }
            (last, tries) = (now, tries + 1);
            // Who asks may be waiting for this very processor.
            yield_now();
        };
        let is_worth = found == Found::Request && switches() == before;
        self.crowded.store(found == Found::Request && tries == 0, Ordering::Relaxed);
        match found {
            Found::End => return self.all(self.measures.few),
            Found::Nothing if is_forget => return IN_VAIN_ALREADY.set(true),
            _ => self.count(if is_worth { 1 } else { -IN_VAIN }),
        }
        if found == Found::Nothing && self.is_alone() && look(device, PollTimeout::from(IDLE)) != Found::Request {
            self.all(self.measures.few);
        }
    }

    /// How much is needed after it was not worth it.
    fn more(&self) -> u32 {
        self.needed.load(Ordering::Relaxed).saturating_mul(2).min(MANY)
    }

    fn count(&self, more: i32) {
        let mut aside = self.aside.lock();
        aside.credit = aside.credit.saturating_add(more).min(CREDIT);
        if aside.credit < 0 {
            drop(aside);
            self.all(self.more());
        }
    }

    /// All wait asleep again.
    fn all(&self, needed: u32) {
        let _aside = self.aside.lock();
        if self.alone.swap(false, Ordering::SeqCst) {
            self.needed.store(needed, Ordering::Relaxed);
            self.changed.notify_all();
        }
    }

    /// Until all wait, or until the first does not get on.
    fn stand_aside(&self, device: &OwnedFd) {
        let mut aside = self.aside.lock();
        while self.is_alone() && aside.is_watched {
            self.changed.wait(&mut aside);
        }
        if self.is_alone() {
            aside.is_watched = true;
            self.look_after_the_first(device, &mut aside);
            aside.is_watched = false;
            self.changed.notify_one();
        }
    }

    /// Until all wait, or until it has a request in hand and does not get on.
    fn look_after_the_first(&self, device: &OwnedFd, aside: &mut MutexGuard<'_, Aside>) {
        let (mut steps, mut unchanged) = (self.steps.load(Ordering::Relaxed), 0);
        while self.is_alone() {
            if !self.changed.wait_for(aside, WATCH).timed_out() {
                continue;
            }
            let now = self.steps.load(Ordering::Relaxed);
            unchanged = if now == steps { unchanged + 1 } else { 0 };
            steps = now;
            let found = look(device, PollTimeout::ZERO);
            if found == Found::End || unchanged >= UNCHANGED {
                self.needed.store(self.measures.few, Ordering::Relaxed);
                self.alone.store(false, Ordering::SeqCst);
                self.changed.notify_all();
            } else if unchanged > 0 && (found == Found::Request || self.reading.load(Ordering::SeqCst) == 0) {
                return;
            }
        }
    }
}

/// How often this thread has had to leave its processor to others.
fn switches() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.involuntary_context_switches())
}

fn look(device: &OwnedFd, patience: PollTimeout) -> Found {
    let mut asked = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
    match poll(&mut asked, patience) {
        Ok(0) => Found::Nothing,
        Ok(_) if asked[0].revents().is_some_and(|found| found.contains(PollFlags::POLLIN)) => Found::Request,
        Ok(_) => Found::End,
        Err(_) => Found::Nothing,
    }
}
