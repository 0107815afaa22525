//! On which processors requests are answered: on the one where he is who asks, as long as one asks after the other.
//!
//! What counts as asking are the requests that come in great numbers: for names, listings, attributes to be changed, new files, and content.
//!
//! Who asks waits for the answer, so his processor is free meanwhile. A thread on another one has to be woken there, and he again after it; on a
//! busy machine or a virtual one both take longer than most answers. Where several ask at once, or somebody reads on and on while the kernel
//! reads ahead of him, the threads are wherever the scheduler wants them.

use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, gettid};

/// One request in so many is looked at closely: that takes as long as the answer to one.
const SELDOM: u32 = 16;
/// For so many requests the threads stay apart.
const APART: u32 = 64;
/// In the place of a processor's number.
const NOWHERE: usize = usize::MAX;
/// Who has read on so often is read ahead of.
const READS_ON: u32 = 8;
/// Which word of `/proc/PID/stat` says where a process was last, counted from behind its name, which may contain anything.
const PROCESSOR: usize = 36;

thread_local! {
    /// Whether this thread is known to the one whose requests it answers.
    static KNOWN: Cell<bool> = const { Cell::new(false) };
}

/// All that this process may use, as it was before any of its threads was moved; nothing where there is no choice.
static ALL: OnceLock<Option<CpuSet>> = OnceLock::new();

fn all() -> Option<&'static CpuSet> {
    let found = || {
        let set = sched_getaffinity(Pid::from_raw(0)).ok()?;
        let count = (0..CpuSet::count()).filter(|number| set.is_set(*number).unwrap_or(false)).take(2).count();
        (count > 1).then_some(set)
    };
    ALL.get_or_init(found).as_ref()
}

/// For a thread that works while others wait for nothing: a new one is where its maker has been put.
pub(crate) fn anywhere() {
    if let Some(all) = ALL.get().and_then(Option::as_ref) {
        let _ = sched_setaffinity(Pid::from_raw(0), all);
    }
}

/// Where the threads are that answer. Each takes a [`Turn`] for each request.
pub(crate) struct Processors {
    all: Option<&'static CpuSet>,
    threads: Mutex<Vec<Pid>>,
    /// Where they are together; changed with the lock of `threads` held, so that all of them are where it says.
    place: AtomicUsize,
    asked: AtomicU32,
    /// Requests that are being answered.
    in_hand: AtomicU32,
    /// How many more have to pass before the threads come together.
    apart: AtomicU32,
    /// Where somebody would read who reads on, and how often he has.
    next: AtomicU64,
    reads_on: AtomicU32,
}

impl Turn<'_> {
    /// Whether others are answered at the same time.
    pub(crate) fn is_crowded(&self) -> bool {
        self.is_crowded
    }
}

/// A request that is being answered.
pub(crate) struct Turn<'a> {
    processors: &'a Processors,
    is_crowded: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.processors.in_hand.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Processors {
    /// To be called before the threads are made.
    pub(crate) fn new() -> Self {
        Self {
            all: all(),
            threads: Mutex::default(),
            place: AtomicUsize::new(NOWHERE),
            asked: AtomicU32::new(0),
            in_hand: AtomicU32::new(0),
            apart: AtomicU32::new(0),
            next: AtomicU64::new(0),
            reads_on: AtomicU32::new(0),
        }
    }

    /// Whether there is more than one processor.
    pub(crate) fn have_a_choice(&self) -> bool {
        self.all.is_some()
    }

    /// This thread has begun to answer the process or thread `asker`; `alone`, if it looks for the next request itself, for which it needs another
    /// processor than his.
    pub(crate) fn turn(&self, asker: u32, alone: bool) -> Turn<'_> {
        let others = self.in_hand.fetch_add(1, Ordering::Relaxed);
        let turn = Turn { processors: self, is_crowded: others > 0 };
        let Some(all) = self.all else { return turn };
        if !KNOWN.replace(true) {
            self.introduce();
        }
        if alone {
            if self.place.load(Ordering::Relaxed) != NOWHERE {
                self.put(NOWHERE, all);
            }
        } else if others > 0 {
            self.go_apart(all);
        } else if self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(SELDOM) && self.may_come_together() {
            self.look(all, asker);
        }
        turn
    }

    /// A read is asked for. Reads of a file from its start to its end are mostly the kernel's, which reads ahead.
    pub(crate) fn reads(&self, file: u64, offset: u64, size: u32) {
        let place = |offset: u64| file.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ offset;
        let next = self.next.swap(place(offset.saturating_add(size.into())), Ordering::Relaxed);
        if next != place(offset) {
            self.reads_on.store(0, Ordering::Relaxed);
        } else if let (READS_ON.., Some(all)) = (self.reads_on.fetch_add(1, Ordering::Relaxed), self.all) {
            self.go_apart(all);
        }
    }

    /// Counts down.
    fn may_come_together(&self) -> bool {
        let left = |apart: u32| apart.checked_sub(SELDOM);
        self.apart.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_err()
    }

    fn go_apart(&self, all: &CpuSet) {
        self.apart.store(APART, Ordering::Relaxed);
        if self.place.load(Ordering::Relaxed) != NOWHERE {
            self.put(NOWHERE, all);
        }
    }

    fn look(&self, all: &CpuSet, asker: u32) {
        match was_at(asker).filter(|place| all.is_set(*place).unwrap_or(false)) {
            Some(place) if self.place.load(Ordering::Relaxed) == place => {}
            Some(place) => self.put(place, &only(place)),
            // Somebody else than before, who is nowhere that the threads may be.
            None => self.go_apart(all),
        }
    }

    /// This thread is one of those that answer.
    fn introduce(&self) {
        let mut known = self.known();
        known.push(gettid());
        let place = self.place.load(Ordering::Relaxed);
        if place != NOWHERE {
            let _ = sched_setaffinity(Pid::from_raw(0), &only(place));
        }
    }

    /// What is asleep is moved when it is woken.
    fn put(&self, place: usize, set: &CpuSet) {
        let known = self.known();
        self.place.store(place, Ordering::Relaxed);
        for thread in known.iter() {
            let _ = sched_setaffinity(*thread, set);
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<Pid>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn only(place: usize) -> CpuSet {
    let mut set = CpuSet::new();
    // A place is one that a set has.
    let _ = set.set(place);
    set
}

/// The processor of who asks; he has not left it, since he waits.
fn was_at(asker: u32) -> Option<usize> {
    let text = fs::read_to_string(format!("/proc/{asker}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(PROCESSOR)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};
    use std::thread;
    use std::time::{Duration, Instant};

    /// Somebody who waits somewhere.
    struct Asker(Child);

    impl Asker {
        fn new() -> Self {
            Self(Command::new("sleep").arg("1000").spawn().unwrap())
        }
    }

    impl Drop for Asker {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn own() -> CpuSet {
        sched_getaffinity(Pid::from_raw(0)).unwrap()
    }

    fn come_together(processors: &Processors, asker: u32) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while was_at(asker).is_none_or(|place| own() != only(place)) {
            assert!(Instant::now() < deadline, "{:?} is not where the asker is", own());
            drop(processors.turn(asker, false));
        }
    }

    #[test]
    fn they_are_where_one_asks_and_anywhere_when_more_is_to_be_done() {
        let processors = Processors::new();
        // With one processor there is no choice.
        let Some(all) = processors.all else { return };
        let asker = Asker::new();
        let of_asker = asker.0.id();
        let many = || (0..APART + 2 * SELDOM).for_each(|_| drop(processors.turn(of_asker, false)));
        let answer = || {
            come_together(&processors, of_asker);
            let first = processors.turn(of_asker, false);
            drop(processors.turn(of_asker, false));
            assert_eq!(own(), *all, "two ask at once");
            drop(first);
            many();
            assert_ne!(own(), *all, "one asks again");
            (0..READS_ON + 1).for_each(|at| processors.reads(1, u64::from(at) * 4096, 4096));
            assert_ne!(own(), *all, "somebody reads a file");
            processors.reads(1, u64::from(READS_ON + 1) * 4096, 4096);
            assert_eq!(own(), *all, "somebody reads on and on");
            many();
            (0..100).for_each(|file| processors.reads(file, 0, 4096));
            assert_ne!(own(), *all, "somebody reads many files");
            thread::scope(|scope| scope.spawn(|| assert_ne!(own(), *all)).join()).unwrap();
            thread::scope(|scope| scope.spawn(|| (anywhere(), assert_eq!(own(), *all))).join()).unwrap();
        };
        thread::scope(|scope| scope.spawn(answer).join()).unwrap();
    }

    #[test]
    fn who_cannot_be_seen_is_answered_anywhere() {
        let processors = Processors::new();
        let Some(all) = processors.all else { return };
        let asker = Asker::new();
        let answer = || {
            (0..100).for_each(|_| drop(processors.turn(0, false)));
            assert_eq!(own(), *all);
            come_together(&processors, asker.0.id());
            (0..100).for_each(|_| drop(processors.turn(0, false)));
            assert_eq!(own(), *all, "the threads stayed where somebody else was");
        };
        thread::scope(|scope| scope.spawn(answer).join()).unwrap();
    }
}
