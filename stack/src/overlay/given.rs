//! What the kernel has of the layers: how often, and in which directory each was found last.
//!
//! That may be a million things, so each takes 16 bytes: a directory has a short number here, and a table that grows moves a part of itself at a time.

use std::collections::HashMap;

/// So many parts the table has.
const PARTS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Given {
    /// By the layers' numbers.
    parts: Vec<HashMap<u64, Thing>>,
    directories: Directories,
}

#[derive(Debug, Clone, Copy, Default)]
struct Thing {
    /// The directory that it was found in last; 0 where it was found in none.
    parent: u32,
    /// How often the kernel has it.
    count: u32,
}

/// Directories in which something was found, each at the place that is its short number. They stay: there are not that many.
#[derive(Debug)]
struct Directories {
    numbers: Vec<u64>,
    short: HashMap<u64, u32>,
}

impl Default for Given {
    fn default() -> Self {
        let directories = Directories { numbers: vec![0], short: HashMap::from([(0, 0)]) };
        Self { parts: vec![HashMap::new(); PARTS], directories }
    }
}

impl Directories {
    fn short(&mut self, number: u64) -> u32 {
        *self.short.entry(number).or_insert_with(|| {
            self.numbers.push(number);
            // Numbers of inodes in an image have 32 bits, and so has that of its directories.
            (self.numbers.len() - 1) as u32
        })
    }

    fn number(&self, short: u32) -> u64 {
        self.numbers.get(short as usize).copied().unwrap_or_default()
    }
}

impl Given {
    fn part(&mut self, number: u64) -> &mut HashMap<u64, Thing> {
        // Neighbours are in different parts.
        &mut self.parts[number as usize % PARTS]
    }

    fn thing(&mut self, number: u64) -> &mut Thing {
        self.part(number).entry(number).or_default()
    }

    /// The kernel is given something that was found in a directory. Returns the one in which it was found before, or 0.
    pub(super) fn add(&mut self, number: u64, parent: u64) -> u64 {
        let parent = self.directories.short(parent);
        let thing = self.thing(number);
        thing.count = thing.count.saturating_add(1);
        let before = std::mem::replace(&mut thing.parent, parent);
        self.directories.number(before)
    }

    /// The kernel is given something once more.
    pub(super) fn add_again(&mut self, number: u64) {
        let thing = self.thing(number);
        thing.count = thing.count.saturating_add(1);
    }

    /// The directory in which something was found last.
    pub(super) fn get(&self, number: u64) -> Option<u64> {
        let thing = self.parts[number as usize % PARTS].get(&number)?;
        Some(self.directories.number(thing.parent))
    }

    /// The kernel has something so often less. Returns whether it has it still.
    pub(super) fn take(&mut self, number: u64, count: u64) -> bool {
        let Some(thing) = self.part(number).get_mut(&number) else { return false };
        thing.count = thing.count.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        thing.count > 0
    }

    /// It is known no more.
    pub(super) fn remove(&mut self, number: u64) {
        self.part(number).remove(&number);
    }
}
