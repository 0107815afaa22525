//! Which blocks of the backing file are free.
//!
//! The backing file may have holes, so its end can be moved on for nothing: what counts is how much of it is written. A free block is
//! clean, a hole that reads as zeros, or it still holds something and costs room on the disk. Small files take the latter first; where
//! much of it lies together it is given back to the disk.
//!
//! A file that grows keeps a window behind its last block for a while, so that files which are written at the same time stay in large pieces.

use std::collections::VecDeque;

use nix::errno::Errno;
use parking_lot::Mutex;

use super::ranges::Ranges;

/// Free space that lies together is given back to the disk from this number of blocks on: 1 MiB.
const GIVE_BACK: u64 = 256;
/// So many files that grow have a window.
const WINDOWS: usize = 32;

/// Blocks that lie together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The first one.
    pub(super) at: u64,
    /// How many.
    pub(super) len: u64,
    /// Whether they read as zeros.
    pub(super) clean: bool,
}

/// The free space.
#[derive(Debug)]
pub(super) struct Space {
    limit: Option<u64>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    clean: Ranges,
    written: Ranges,
    windows: VecDeque<Run>,
    /// No block from here on was ever given away.
    end: u64,
    taken: u64,
}

impl Space {
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// Takes between 1 and `want` blocks, if possible those that begin at `after`; `spare` more are kept behind them for a while.
    pub(super) fn take(&self, after: Option<u64>, want: u64, spare: u64) -> Result<Run, Errno> {
        let mut inner = self.inner.lock();
        let allowed = self.limit.map_or(want, |limit| want.min(limit.saturating_sub(inner.taken)));
        if allowed == 0 {
            return Err(Errno::ENOSPC);
        }
        let run = match after.and_then(|after| inner.take_after(after, allowed)) {
            Some(run) => run,
            None => inner.take_anywhere(allowed, spare)?,
        };
        inner.taken += run.len;
        Ok(run)
    }

    /// Takes back blocks that were given away. The runs that it returns are to be punched, and then given to [`Space::cleaned`].
    #[must_use]
    pub(super) fn give_back(&self, runs: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut inner = self.inner.lock();
        let mut large = Vec::new();
        for &(at, len) in runs {
            inner.taken -= len;
            let (at, len) = inner.written.insert(at, len);
            if len >= GIVE_BACK {
                inner.written.remove(at, len);
                large.push((at, len));
            }
        }
        large
    }

    /// All free blocks that may still cost room on the disk; to be punched, and then given to [`Space::cleaned`].
    #[must_use]
    pub(super) fn all_written(&self) -> Vec<(u64, u64)> {
        self.inner.lock().written.drain()
    }

    /// A run has been punched; where it could not be, it is `clean` no more than before.
    pub(super) fn cleaned(&self, (at, len): (u64, u64), clean: bool) {
        self.inner.lock().put(Run { at, len, clean });
    }

    /// How many blocks are given away, and how many may be.
    pub(super) fn taken(&self) -> (u64, Option<u64>) {
        (self.inner.lock().taken, self.limit)
    }
}

impl Inner {
    fn take_after(&mut self, after: u64, want: u64) -> Option<Run> {
        if let Some(place) = self.windows.iter().position(|window| window.at == after) {
            let window = self.windows.remove(place)?;
            let len = window.len.min(want);
            if window.len > len {
                self.windows.push_back(Run { at: after + len, len: window.len - len, ..window });
            }
            return Some(Run { len, ..window });
        }
        if let Some(len) = self.written.take_at(after, want) {
            return Some(Run { at: after, len, clean: false });
        }
        self.clean.take_at(after, want).map(|len| Run { at: after, len, clean: true })
    }

    fn take_anywhere(&mut self, want: u64, spare: u64) -> Result<Run, Errno> {
        if let Some(at) = self.written.take_fit(want) {
            return Ok(Run { at, len: want, clean: false });
        }
        let all = want.checked_add(spare).ok_or(Errno::EFBIG)?;
        let at = match self.clean.take_fit(all) {
            Some(at) => at,
            None => {
                let at = self.end;
                self.end = at.checked_add(all).ok_or(Errno::EFBIG)?;
                at
            }
        };
        if spare > 0 {
            if self.windows.len() == WINDOWS
                && let Some(oldest) = self.windows.pop_front()
            {
                self.put(oldest);
            }
            self.windows.push_back(Run { at: at + want, len: spare, clean: true });
        }
        Ok(Run { at, len: want, clean: true })
    }

    fn put(&mut self, run: Run) {
        let ranges = if run.clean { &mut self.clean } else { &mut self.written };
        ranges.insert(run.at, run.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_stays_together_and_what_is_freed_is_used_again() {
        let space = Space::new(None);
        let first = space.take(None, 16, 16).unwrap();
        let other = space.take(None, 4, 0).unwrap();
        assert_eq!((first.at, other.at), (0, 32));
        let more = space.take(Some(16), 20, 0).unwrap();
        assert_eq!(more, Run { at: 16, len: 16, clean: true });
        assert!(space.give_back(&[(32, 4)]).is_empty());
        assert_eq!(space.take(None, 2, 0).unwrap(), Run { at: 32, len: 2, clean: false });
        assert_eq!(space.taken().0, 34);
    }

    #[test]
    fn much_is_given_back_to_the_disk() {
        let space = Space::new(None);
        let run = space.take(None, 2 * GIVE_BACK, 0).unwrap();
        assert!(space.give_back(&[(0, GIVE_BACK - 1)]).is_empty());
        let large = space.give_back(&[(GIVE_BACK - 1, GIVE_BACK + 1)]);
        assert_eq!(large, [(run.at, run.len)]);
        space.cleaned(large[0], true);
        assert!(space.take(None, 1, 0).unwrap().clean);
    }

    #[test]
    fn a_limit_is_kept() {
        let space = Space::new(Some(3));
        assert_eq!(space.take(None, 5, 0).unwrap().len, 3);
        assert_eq!(space.take(None, 1, 0).unwrap_err(), Errno::ENOSPC);
    }
}
