//! Who copies what: each thing is copied by one thread, and others wait for it.

use std::collections::HashSet;

use parking_lot::{Condvar, Mutex};

#[derive(Debug, Default)]
pub(super) struct Turns {
    busy: Mutex<HashSet<u64>>,
    done: Condvar,
}

/// It is somebody's turn while this lives.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    number: u64,
}

impl Turns {
    pub(super) fn take(&self, number: u64) -> Turn<'_> {
        let mut busy = self.busy.lock();
        while !busy.insert(number) {
            self.done.wait(&mut busy);
        }
        Turn { turns: self, number }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.busy.lock().remove(&self.number);
        self.turns.done.notify_all();
    }
}
