//! Random work on a volume, and what must hold of it after a crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use condatainer_formats::ext::{FileType, Ids, raw::ROOT_INO};
use condatainer_writer::device::Device;
use condatainer_writer::{Changes, Error, How, New, Renaming, Volume};
use nix::errno::Errno;

use super::record::{Event, Overlay, Recorder};
use super::seen::{self, Tree};

/// What was done, and what was committed on the way.
pub struct Worked {
    pub recorder: Arc<Recorder>,
    states: Vec<State>,
    /// The number of events after which a state was said to last.
    marks: Vec<usize>,
    /// Content that was changed: after how many events, of which inode.
    touched: Vec<(usize, u32)>,
    /// Why it ended early.
    pub error: Option<Error>,
    /// How often there was no room.
    pub full: usize,
    /// Something was written in part, and that was told.
    pub short: bool,
}

struct State {
    tree: Tree,
    contents: BTreeMap<u32, Vec<u8>>,
    /// Which file an inode is.
    files: BTreeMap<u32, u64>,
}

impl Worked {
    /// The state that a replayed image shows after a crash behind so many events.
    pub fn check(&self, image: &Overlay<'_>, events: usize) -> usize {
        let (tree, contents) = seen::of(image, image.size());
        let oldest = self.marks.iter().rposition(|mark| *mark <= events).unwrap();
        let mut why = String::from("no such tree");
        for index in oldest..self.states.len() {
            if self.states[index].tree == tree {
                match self.check_contents(index, &contents) {
                    Ok(()) => return index,
                    Err(error) => why = error,
                }
            }
        }
        if self.commits_after(oldest) > 1 {
            // In the middle of something: the log was full, or what was freed before was needed.
            return oldest;
        }
        let older = (0..oldest).rfind(|index| self.states[*index].tree == tree);
        panic!("after {events} events no state from {oldest} on fits ({why}); an older one: {older:?}")
    }

    /// How many transactions were committed between a state and the next.
    fn commits_after(&self, state: usize) -> usize {
        let end = self.marks.get(state + 1).copied().unwrap_or(usize::MAX);
        let events = self.recorder.events();
        let since = events.iter().take(end).skip(self.marks[state]);
        let is_commit = |event: &&Event| matches!(event, Event::Write(_, data) if data.starts_with(&[0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 2]));
        since.filter(is_commit).count()
    }

    /// Bytes are those that the file had, or gets later; and none of any other file.
    fn check_contents(&self, index: usize, contents: &BTreeMap<u32, Vec<u8>>) -> Result<(), String> {
        let state = &self.states[index];
        for (ino, content) in contents {
            let expected = &state.contents[ino];
            if content == expected {
                continue;
            }
            let is_touched = self.touched.iter().any(|(at, of)| of == ino && *at >= self.marks[index]);
            let file = state.files[ino];
            let differs = content.iter().zip(expected).enumerate().filter(|(_, (is, was))| is != was);
            for (at, (is, was)) in differs {
                if !is_touched || (*is != 0 && *is != byte(file, at as u64)) {
                    return Err(format!("inode {ino} has {is} at {at}, not {was}"));
                }
            }
        }
        Ok(())
    }
}

/// What a file has at an offset; never 0.
fn byte(file: u64, offset: u64) -> u8 {
    ((offset * 31 + file * 17) % 251 + 1) as u8
}

struct Work {
    worked: Worked,
    volume: Volume,
    random: fastrand::Rng,
    directories: Vec<u32>,
    files: BTreeMap<u32, u64>,
    made: u64,
    /// Files without a name that somebody has open.
    open: Vec<u32>,
}

/// Does so many random things, and closes the image; or ends when something cannot be made to last.
pub fn work(recorder: Recorder, seed: u64, changes: usize) -> Worked {
    let recorder = Arc::new(recorder);
    let device: Arc<dyn Device> = recorder.clone();
    let (states, marks, touched) = (Vec::new(), Vec::new(), Vec::new());
    let mut worked = Worked { recorder, states, marks, touched, error: None, full: 0, short: false };
    let volume = match Volume::open(device) {
        Ok(volume) => volume,
        Err(error) => {
            worked.error = Some(error);
            return worked;
        }
    };
    let (random, directories) = (fastrand::Rng::with_seed(seed), vec![ROOT_INO]);
    let mut work = Work { worked, volume, random, directories, files: BTreeMap::new(), made: 0, open: Vec::new() };
    work.worked.error = work.all(changes).err();
    work.worked
}

/// An image in which so many blocks are free.
pub fn filled(image: Vec<u8>, free: u64) -> Vec<u8> {
    let recorder = Arc::new(Recorder::new(image));
    let device: Arc<dyn Device> = recorder.clone();
    let volume = Volume::open(device).unwrap();
    let new =
        New { kind: FileType::Regular, mode: 0, ids: Ids { uid: 0, gid: 0 }, device: (0, 0), target: &[], xattrs: &[] };
    let made = volume.make(ROOT_INO, b"ballast", &new).unwrap();
    let mut offset = 0;
    while volume.room().unwrap().free > free {
        offset += volume.write(made.ino, offset, &[1; 4096], false).unwrap() as u64;
    }
    volume.close().unwrap();
    recorder.image()
}

impl Work {
    fn all(&mut self, changes: usize) -> Result<(), Error> {
        self.mark();
        for _ in 0..changes {
            self.change()?;
            match self.random.u8(0..12) {
                0..3 => {
                    self.volume.commit()?;
                    self.mark();
                }
                3 => {
                    if let Some(ino) = self.file() {
                        self.volume.sync(ino, self.random.bool())?;
                        self.mark();
                    }
                }
                _ => {}
            }
        }
        for ino in std::mem::take(&mut self.open) {
            self.volume.release(ino, 1)?;
        }
        self.volume.close()?;
        self.mark();
        Ok(())
    }

    /// What was committed is in its place.
    fn mark(&mut self) {
        let recorder = &self.worked.recorder;
        let (tree, contents) = seen::of(&**recorder, recorder.size());
        self.worked.states.push(State { tree, contents, files: self.files.clone() });
        self.worked.marks.push(self.worked.recorder.len());
    }

    fn file(&mut self) -> Option<u32> {
        let files: Vec<u32> = self.files.keys().copied().collect();
        self.random.choice(files).filter(|ino| self.volume.stat(*ino).is_ok_and(|stat| stat.links > 0))
    }

    fn name(&mut self) -> Vec<u8> {
        let number = self.random.usize(0..24);
        format!("{number}{}", "y".repeat(number * 3)).into_bytes()
    }

    fn directory(&mut self) -> u32 {
        self.random.choice(&self.directories).copied().unwrap_or(ROOT_INO)
    }

    /// Anything may be refused: the name exists, or does not, …
    fn change(&mut self) -> Result<(), Error> {
        match self.attempt() {
            Err(Error::Refused(errno)) => {
                self.worked.full += usize::from(errno == Errno::ENOSPC);
                Ok(())
            }
            done => done,
        }
    }

    fn attempt(&mut self) -> Result<(), Error> {
        let (directory, name, other, to) = (self.directory(), self.name(), self.directory(), self.name());
        match self.random.u8(0..20) {
            0..4 => self.make(directory, &name, FileType::Regular, &[]),
            4 => self.make(directory, &name, FileType::Directory, &[]),
            5 => {
                let target = vec![b't'; self.random.usize(1..200)];
                self.make(directory, &name, FileType::Symlink, &target)
            }
            6 => {
                let Some(ino) = self.file() else { return Ok(()) };
                let linked = self.volume.link(ino, other, &to)?;
                self.volume.release(linked.ino, 1)
            }
            7 | 8 => {
                let [keeps, exchanges] = [0, 1].map(|_| self.random.u8(0..4) == 0);
                let how = Renaming { no_replace: keeps, exchange: exchanges && !keeps, ..Renaming::default() };
                self.volume.rename((directory, &name), (other, &to), how)
            }
            9 => {
                self.volume.remove(directory, &name, true)?;
                self.directories.retain(|ino| self.volume.stat(*ino).is_ok_and(|stat| stat.links > 0));
                Ok(())
            }
            10 | 11 => self.remove(directory, &name),
            12..16 => self.content(),
            16 => {
                let named = self.volume.lookup(directory, &name)?;
                let (mode, uid) = (Some(self.random.u16(0..0o7777)), Some(self.random.u32(0..100_000)));
                self.volume.alter(named.ino, &Changes { mode, uid, ..Changes::default() })?;
                self.volume.release(named.ino, 1)
            }
            17 => {
                let named = self.volume.lookup(directory, &name)?;
                // No user can give a symbolic link attributes; and e2fsck forgets their block when it frees one that is short.
                if named.stat.kind == FileType::Symlink {
                    return self.volume.release(named.ino, 1);
                }
                let value = vec![self.random.u8(..); self.random.usize(1..600)];
                let key = format!("user.{}", self.random.u8(0..3));
                let done = self.volume.set_xattr(named.ino, key.as_bytes(), &value, How::Any);
                self.volume.release(named.ino, 1)?;
                done
            }
            18 => {
                let named = self.volume.lookup(directory, &name)?;
                let done = self.volume.remove_xattr(named.ino, b"user.1");
                self.volume.release(named.ino, 1)?;
                done
            }
            _ => self.many(directory),
        }
    }

    fn make(&mut self, directory: u32, name: &[u8], kind: FileType, target: &[u8]) -> Result<(), Error> {
        let ids = Ids { uid: 1000, gid: 70_000 };
        let new = New { kind, mode: 0o755, ids, device: (0, 0), target, xattrs: &[] };
        let made = self.volume.make(directory, name, &new)?;
        self.files.remove(&made.ino);
        match kind {
            FileType::Directory => self.directories.push(made.ino),
            FileType::Regular => {
                self.made += 1;
                self.files.insert(made.ino, self.made);
            }
            _ => {}
        }
        self.volume.release(made.ino, 1)
    }

    /// Sometimes somebody has the file open, and keeps it for a while.
    fn remove(&mut self, directory: u32, name: &[u8]) -> Result<(), Error> {
        if self.open.len() > 3 {
            let ino = self.open.swap_remove(self.random.usize(0..self.open.len()));
            self.volume.release(ino, 1)?;
        }
        let named = self.volume.lookup(directory, name)?;
        let removed = self.volume.remove(directory, name, false);
        match removed.is_ok() && self.random.bool() {
            true => self.open.push(named.ino),
            false => self.volume.release(named.ino, 1)?,
        }
        removed
    }

    fn content(&mut self) -> Result<(), Error> {
        let Some(ino) = self.file() else { return Ok(()) };
        let file = self.files[&ino];
        let far = self.random.u8(0..10) == 0;
        let offset = self.random.u64(0..if far { 1_500_000 } else { 30_000 });
        let length = self.random.u64(1..20_000);
        let done = match self.random.u8(0..8) {
            0..5 => {
                let data: Vec<u8> = (offset..offset + length).map(|at| byte(file, at)).collect();
                let written = self.volume.write(ino, offset, &data, false);
                self.worked.short |= written.as_ref().is_ok_and(|written| *written < data.len());
                written.map(drop)
            }
            5 => self.volume.truncate(ino, offset, false).map(drop),
            6 => self.volume.punch(ino, offset..offset + length, false),
            _ => self.volume.allocate(ino, offset..offset + length, false),
        };
        self.worked.touched.push((self.worked.recorder.len(), ino));
        done
    }

    /// So many names that a directory gets an index.
    fn many(&mut self, directory: u32) -> Result<(), Error> {
        let from = self.random.usize(0..60);
        for number in from..from + self.random.usize(1..20) {
            let name = format!("many-{number}-{}", "z".repeat(number));
            if self.random.u8(0..3) == 0 {
                let _ = self.volume.remove(directory, name.as_bytes(), false);
            } else {
                let _ = self.make(directory, name.as_bytes(), FileType::Fifo, &[]);
            }
        }
        Ok(())
    }
}
