//! Which files have their content where they are, so that not every read has to ask for the attribute that says otherwise (metacopy).
//!
//! Only that is remembered: a file which has its content does not lose it. Each file has one place, which a later one may take.

use std::sync::atomic::{AtomicU64, Ordering};

use super::node::Part;

/// Files that are read at the same time are fewer.
const PLACES: usize = 1024;
/// Bits of a key.
const KEY: u32 = 48;

pub(super) struct Whole(Box<[AtomicU64]>);

impl Whole {
    pub(super) fn new() -> Self {
        Self(std::iter::repeat_with(AtomicU64::default).take(PLACES).collect())
    }

    pub(super) fn has(&self, file: Part) -> bool {
        self.place(file).is_some_and(|place| place.load(Ordering::Relaxed) == number(file))
    }

    pub(super) fn keep(&self, file: Part) {
        if let Some(place) = self.place(file) {
            place.store(number(file), Ordering::Relaxed);
        }
    }

    fn place(&self, file: Part) -> Option<&AtomicU64> {
        // Fibonacci hashing: keys are inode numbers, or places in an image.
        let mixed = number(file).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - PLACES.ilog2());
        self.0.get(usize::try_from(mixed).ok()?)
    }
}

/// One for each file, and never 0.
fn number(file: Part) -> u64 {
    u64::from(file.layer + 1) << KEY | file.key.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Key;

    #[test]
    fn each_file_is_itself() {
        let whole = Whole::new();
        let part = |layer, key| Part { layer, key: Key(key) };
        assert!(!whole.has(part(0, 0)) && !whole.has(part(3, 7)));
        for key in 0..3 * PLACES as u64 {
            whole.keep(part(3, key));
            assert!(whole.has(part(3, key)) && !whole.has(part(2, key)) && !whole.has(part(3, key + 1)), "{key}");
        }
    }
}
