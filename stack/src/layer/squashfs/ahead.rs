//! Threads that unpack what a reader asks for next. They start when somebody reads in the order of the image, as `cp -a` and `tar` do, and
//! end when nobody has for a while. Who reads here and there has none of it, and pays for none of it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::processors::anywhere;
use condatainer_formats::squashfs::{Inode, Spot, Squashfs};

/// Readers in order that are told apart at the same time.
const STREAMS: usize = 8;
/// More threads do not make one reader faster.
const MOST_THREADS: usize = 4;
/// How far ahead they go, in bytes, and in blocks where those are large.
const FAR: usize = 1 << 20;
const BLOCKS: usize = 4;
/// A thread that has had nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(2);
/// A request counts as the next one so near to the end of the last: those of one read-ahead of the kernel come in any order.
const NEAR: u64 = 1 << 20;
/// In the table of inodes, so near to the last file; it is the length of a packed block of the table and the next one's start.
const CLOSE: u64 = 8194 << 16;

pub(super) struct Ahead(Arc<Shared>);

struct Shared {
    image: Arc<Squashfs>,
    state: Mutex<State>,
    wake: Condvar,
    is_closed: AtomicBool,
    threads: usize,
    distance: usize,
}

#[derive(Default)]
struct State {
    streams: VecDeque<Stream>,
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

/// Somebody who reads in order: the file and the offset where he will go on, and the block that he has had last.
struct Stream {
    file: u64,
    end: u64,
    spot: Spot,
    /// He has gone from one file to the next, and will do so again.
    walks: bool,
}

/// A place from which on blocks are wanted, of that file or of the next ones too.
struct Job {
    file: Inode,
    offset: u64,
    walks: bool,
}

impl Ahead {
    /// For an image that keeps up to `kept` bytes of content.
    pub(super) fn new(image: Arc<Squashfs>, kept: usize) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        // On one core nothing is won.
        let threads = if cores > 1 { cores.min(MOST_THREADS) } else { 0 };
        let distance = FAR.max(BLOCKS * image.block_size()).min(kept / 4);
        Self(Arc::new(Shared {
            image,
            state: Mutex::default(),
            wake: Condvar::new(),
            is_closed: AtomicBool::new(false),
            threads,
            distance,
        }))
    }

    /// Learns that `length` bytes from `offset` on are about to be read in the file with this number. It does not wait for anything.
    pub(super) fn learn(&self, number: u64, file: &Inode, offset: u64, length: usize) {
        let shared = &self.0;
        let end = offset.saturating_add(length as u64).min(file.size);
        if shared.threads == 0 || end <= offset {
            return;
        }
        let spot = shared.image.spot(file, end - 1);
        let mut state = shared.lock();
        let Some(walks) = state.goes_on(number, offset, end, spot) else { return };
        // The reader unpacks the first block himself.
        let whole = shared.image.block_size() as u64;
        state.jobs.push_back(Job { file: file.clone(), offset: (offset / whole + 1) * whole, walks });
        if state.jobs.len() > shared.threads {
            state.jobs.pop_front();
        }
        let starts = state.idle == 0 && state.threads < shared.threads;
        state.threads += usize::from(starts);
        drop(state);
        match starts {
            true => self.start(),
            false => shared.wake.notify_one(),
        }
    }

    fn start(&self) {
        let shared = Arc::clone(&self.0);
        let work = move || {
            anywhere();
            shared.work();
        };
        if thread::Builder::new().name("unpack ahead".into()).spawn(work).is_err() {
            self.0.lock().threads -= 1;
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::Relaxed);
        self.0.wake.notify_all();
    }
}

impl State {
    /// Notes a request. Where it belongs to somebody who reads in order, and has come to another block, it tells whether he goes through
    /// files, too.
    fn goes_on(&mut self, file: u64, offset: u64, end: u64, spot: Spot) -> Option<bool> {
        let Some(at) = self.streams.iter().position(|stream| stream.is_followed_by(file, offset)) else {
            if self.streams.len() >= STREAMS {
                self.streams.pop_front();
            }
            self.streams.push_back(Stream { file, end, spot, walks: false });
            return None;
        };
        let before = self.streams.remove(at)?;
        let walks = before.walks || before.file != file;
        let end = if before.file == file { end.max(before.end) } else { end };
        self.streams.push_back(Stream { file, end, spot, walks });
        (before.spot != spot).then_some(walks)
    }
}

impl Stream {
    fn is_followed_by(&self, file: u64, offset: u64) -> bool {
        match file.checked_sub(self.file) {
            Some(0) => offset.abs_diff(self.end) <= NEAR,
            Some(distance) => offset == 0 && distance <= CLOSE + 0xFFFF,
            None => false,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does as long as it lives.
    fn work(&self) {
        while let Some(Job { file, offset, walks }) = self.job() {
            let go_on = || !self.is_closed.load(Ordering::Relaxed);
            // Whoever reads it will be told what is wrong with it.
            let _ = self.image.prepare(&file, offset, self.distance, &|next| go_on() && (walks || !next));
        }
    }

    /// The next job; nothing when this thread is to end, which then is counted no more.
    fn job(&self) -> Option<Job> {
        let mut state = self.lock();
        state.idle += 1;
        let is_waiting = |state: &mut State| state.jobs.is_empty() && !self.is_closed.load(Ordering::Relaxed);
        let waited = self.wake.wait_timeout_while(state, IDLE, is_waiting);
        state = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        state.idle -= 1;
        let job = state.jobs.pop_front().filter(|_| !self.is_closed.load(Ordering::Relaxed));
        state.threads -= usize::from(job.is_none());
        job
    }
}
