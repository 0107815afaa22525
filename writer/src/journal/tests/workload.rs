//! Changes of blocks that are nobody's: the file system around them stays as mke2fs made it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use condatainer_formats::source::read_exact_at;
use condatainer_writer::device::Device;

use crate::Volume;
use crate::error::Result;
use crate::journal::replay;
use crate::record::Recorder;

/// What blocks hold.
pub(super) type State = BTreeMap<u64, Vec<u8>>;

/// A kind of image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Make {
    pub(super) block_size: usize,
    /// Of the image, in KiB.
    pub(super) size: usize,
}

pub(super) const SMALL: Make = Make { block_size: 1024, size: 3 << 10 };
pub(super) const LARGE: Make = Make { block_size: 4096, size: 16 << 10 };

impl Make {
    /// A new image whose journal is as short as one can be.
    pub(super) fn image(self) -> Vec<u8> {
        let journal = format!("size={}", self.block_size.div_ceil(1024));
        let features = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file";
        let block_size = self.block_size.to_string();
        mke2fs(self.size, &["-t", "ext3", "-b", &block_size, "-N", "32", "-m", "0", "-J", &journal, "-O", features])
    }

    /// How many blocks it has.
    pub(super) fn last(self) -> u64 {
        (self.size * 1024 / self.block_size) as u64
    }

    /// Blocks at its end, which are free.
    pub(super) fn free(self) -> Vec<u64> {
        (self.last() - 60..self.last()).collect()
    }
}

/// A new image of so many KiB.
pub(super) fn mke2fs(size: usize, words: &[&str]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(size as u64 * 1024).unwrap();
    run(Command::new("mke2fs").args(["-q", "-F"]).args(words).arg(file.path()));
    std::fs::read(file.path()).unwrap()
}

/// Runs a program that has to succeed.
pub(super) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// An image of these bytes, in a file.
pub(super) fn file_of(image: &[u8], directory: &Path, name: &str) -> std::path::PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, image).unwrap();
    path
}

/// What a workload did, and what must hold of it after a crash.
pub(super) struct Worked {
    pub(super) make: Make,
    pub(super) recorder: Arc<Recorder>,
    /// By number: what the blocks held after each change.
    states: Vec<State>,
    /// The number of events after which a state was said to last.
    marks: Vec<(usize, usize)>,
    /// Data in blocks that were freed: from which event on it lasts, from which to which state the block is no metadata.
    data: Vec<Data>,
    /// Why it ended early.
    pub(super) error: Option<crate::Error>,
}

struct Data {
    block: u64,
    content: Vec<u8>,
    written: usize,
    lasts: usize,
    states: std::ops::Range<usize>,
}

/// How a workload goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) changes: usize,
    /// One change of so many is followed by a commit.
    pub(super) commits: usize,
    /// At most so many blocks are changed at once.
    pub(super) largest: usize,
    pub(super) close: bool,
}

struct Work {
    worked: Worked,
    random: fastrand::Rng,
    volume: Volume,
    plan: Plan,
    now: State,
    /// Those that are data now, with their entry once something was written there.
    freed: BTreeMap<u64, (usize, Option<usize>)>,
}

/// Does random things to an image, until the plan is done or the device fails.
pub(super) fn work(make: Make, recorder: Recorder, seed: u64, plan: Plan) -> Worked {
    let recorder = Arc::new(recorder);
    let device: Arc<dyn Device> = recorder.clone();
    let mut now = State::new();
    for block in make.free() {
        let at = block as usize * make.block_size;
        now.insert(block, recorder.base[at..at + make.block_size].to_vec());
    }
    let (states, marks, data) = (vec![now.clone()], vec![(0, 0)], Vec::new());
    let mut worked = Worked { make, recorder, states, marks, data, error: None };
    let volume = match Volume::open(device) {
        Ok(volume) => volume,
        Err(error) => {
            worked.error = Some(error);
            return worked;
        }
    };
    let random = fastrand::Rng::with_seed(seed);
    let mut work = Work { worked, random, volume, plan, now, freed: BTreeMap::new() };
    let done = work.all();
    work.worked.error = done.err();
    work.worked
}

impl Work {
    fn all(&mut self) -> Result<()> {
        for _ in 0..self.plan.changes {
            self.change()?;
            if self.random.usize(0..self.plan.commits) == 0 {
                self.volume.commit()?;
                self.mark();
                self.use_freed()?;
            }
        }
        if self.plan.close {
            self.volume.close()?;
            self.mark();
        }
        Ok(())
    }

    fn mark(&mut self) {
        self.worked.marks.push((self.worked.recorder.len(), self.worked.states.len() - 1));
        let lasts = self.worked.recorder.len();
        for data in self.worked.data.iter_mut().filter(|data| data.lasts == usize::MAX) {
            data.lasts = lasts;
        }
    }

    fn change(&mut self) -> Result<()> {
        let count = self.random.usize(1..=self.plan.largest);
        let blocks = self.random.choose_multiple(self.worked.make.free(), count);
        let (mut after, mut freed) = (self.now.clone(), self.freed.clone());
        let drops = self.random.u8(0..8) == 0;
        let (random, make, index) = (&mut self.random, self.worked.make, self.worked.states.len());
        let mut closed = Vec::new();
        let attempt = self.volume.change(|handle| {
            for block in blocks {
                let is_freed = freed.contains_key(&block);
                if !is_freed && random.u8(0..3) == 0 {
                    handle.forget(block);
                    freed.insert(block, (index, None));
                    after.remove(&block);
                    continue;
                }
                let bytes = if is_freed { handle.fresh(block)? } else { handle.change(block)? };
                if is_freed {
                    closed.extend(freed.remove(&block).and_then(|(_, data)| data));
                }
                let byte = random.u8(..);
                match random.u8(0..4) {
                    0 => bytes.fill(byte),
                    1 => bytes[random.usize(0..make.block_size)] = byte,
                    2 => bytes[..4].copy_from_slice(&[0xC0, 0x3B, 0x39, 0x98]),
                    _ => bytes.iter_mut().for_each(|to| *to = random.u8(..)),
                }
                after.insert(block, bytes.to_vec());
            }
            if drops { Err(nix::errno::Errno::EINTR.into()) } else { Ok(()) }
        });
        match attempt {
            Err(crate::Error::Refused(nix::errno::Errno::EINTR)) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                for data in closed {
                    self.worked.data[data].states.end = index;
                }
                (self.now, self.freed) = (after, freed);
                self.worked.states.push(self.now.clone());
                Ok(())
            }
        }
    }

    /// What was freed is given away once that is committed: somebody's data is written there.
    fn use_freed(&mut self) -> Result<()> {
        let make = self.worked.make;
        for (block, (from, entry)) in &mut self.freed {
            if entry.is_some() {
                continue;
            }
            let content: Vec<u8> = (0..make.block_size).map(|_| self.random.u8(..)).collect();
            let written = self.worked.recorder.len();
            self.worked.recorder.write_at(&content, block * make.block_size as u64)?;
            *entry = Some(self.worked.data.len());
            let states = *from..usize::MAX;
            self.worked.data.push(Data { block: *block, content, written, lasts: usize::MAX, states });
        }
        Ok(())
    }
}

impl Worked {
    /// What must be so after a crash behind the first `events` events, which has left `device`: it is replayed. Returns which state it is.
    pub(super) fn check(&self, device: &dyn Device, events: usize) -> usize {
        replay(device).unwrap();
        self.check_replayed(device, events)
    }

    /// As [`Worked::check`], of an image that somebody has replayed.
    pub(super) fn check_replayed(&self, device: &dyn Device, events: usize) -> usize {
        let oldest = self.marks.iter().rev().find(|(at, _)| *at <= events).unwrap().1;
        let block_size = self.make.block_size;
        let mut held = State::new();
        for block in self.make.free() {
            let mut bytes = vec![0; block_size];
            read_exact_at(device, &mut bytes, block * block_size as u64).unwrap();
            held.insert(block, bytes);
        }
        let found = |block: u64| &held[&block];
        let is = |state: &State| state.iter().all(|(block, content)| found(*block) == content);
        let has_data = |index: usize| {
            let data = self.data.iter().filter(|data| data.states.contains(&index) && data.lasts <= events);
            data.filter(|data| data.written <= events).all(|data| *found(data.block) == data.content)
        };
        let fits = |index: &usize| is(&self.states[*index]) && has_data(*index);
        let state = (oldest..self.states.len()).find(fits);
        state.unwrap_or_else(|| {
            let older = (0..oldest).rev().find(|index| is(&self.states[*index]));
            let bare = (oldest..self.states.len()).find(|index| is(&self.states[*index]));
            panic!(
                "no state from {oldest} on fits after {events} events; an older one: {older:?}, without data: {bare:?}"
            )
        })
    }
}
