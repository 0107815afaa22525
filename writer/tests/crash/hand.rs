//! A program's hand on a volume. After each call it is noted what all files are: what a crash leaves must be one of these states, whole, and
//! not one from before the last that was said to last.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::{Duration, Instant};

use condatainer_formats::ext::{FileType, Ids, ReadAt, Stat, Time, Volume as Reader, Window, raw::ROOT_INO};
use condatainer_writer::device::Device;
use condatainer_writer::{Changes, How, New, Renaming, Volume};

use super::record::{Overlay, Recorder};

/// What is overwritten in place is there sector by sector.
const SECTOR: usize = 512;

/// A file of any kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Thing {
    stat: Stat,
    target: Vec<u8>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    names: BTreeMap<Vec<u8>, u32>,
    pub content: Vec<u8>,
}

/// All that have a name, by their inodes.
pub type Things = BTreeMap<u32, Arc<Thing>>;

/// A name in a directory.
pub type Name<'a> = (u32, &'a str);

pub struct Hand {
    pub recorder: Arc<Recorder>,
    volume: Volume,
    /// After each call.
    states: Vec<Things>,
    /// How many events there were before the call that led to each.
    begun: Vec<usize>,
    /// After so many events, this state was said to last.
    lasting: Vec<(usize, usize)>,
    /// The last state in which an inode was changed.
    last: BTreeMap<u32, usize>,
    /// Files with content that was written over other content: it is not journalled.
    overwritten: BTreeSet<u32>,
    /// What the program says of itself from a state on.
    notes: Vec<(usize, u64)>,
}

impl Hand {
    pub fn new(image: Vec<u8>) -> Self {
        let recorder = Arc::new(Recorder::new(image));
        let device: Arc<dyn Device> = recorder.clone();
        let volume = Volume::open(device).unwrap();
        let (states, begun) = (vec![things(&*recorder, recorder.size())], vec![0]);
        let (lasting, last, overwritten, notes) = (vec![(0, 0)], BTreeMap::new(), BTreeSet::new(), Vec::new());
        Self { recorder, volume, states, begun, lasting, last, overwritten, notes }
    }

    /// Makes a call, and looks at the inodes that it may have changed.
    fn call<T>(&mut self, touched: &[u32], call: impl FnOnce(&Volume) -> condatainer_writer::Result<T>) -> T {
        self.begun.push(self.recorder.len());
        let value = call(&self.volume).unwrap();
        self.states.push(self.states.last().unwrap().clone());
        self.touch(touched);
        value
    }

    /// They belong to the last call.
    fn touch(&mut self, touched: &[u32]) {
        let state = self.states.len() - 1;
        for ino in touched {
            match self.look(*ino) {
                Some(thing) => drop(self.states[state].insert(*ino, Arc::new(thing))),
                None => drop(self.states[state].remove(ino)),
            }
            self.last.insert(*ino, state);
        }
    }

    fn look(&self, ino: u32) -> Option<Thing> {
        let (volume, stat) = (&self.volume, self.volume.stat(ino).unwrap());
        if stat.kind == FileType::Unknown || stat.links == 0 {
            return None;
        }
        let mut thing =
            Thing { stat, target: Vec::new(), xattrs: Vec::new(), names: BTreeMap::new(), content: Vec::new() };
        for name in volume.xattrs(ino).unwrap() {
            let value = volume.xattr(ino, &name).unwrap();
            thing.xattrs.push((name, value));
        }
        thing.xattrs.sort();
        match stat.kind {
            FileType::Symlink => thing.target = volume.target(ino).unwrap(),
            FileType::Directory => {
                let mut visit = |listed: &condatainer_writer::Listed| {
                    thing.names.insert(listed.name.clone(), listed.ino);
                    true
                };
                volume.list(ino, 0, &mut visit).unwrap();
            }
            FileType::Regular => {
                thing.content = vec![0; stat.size as usize];
                assert_eq!(volume.read(ino, 0, &mut thing.content).unwrap() as u64, stat.size);
            }
            _ => {}
        }
        Some(thing)
    }

    /// The inode of a name.
    pub fn ino(&self, (directory, name): Name<'_>) -> u32 {
        self.found((directory, name)).unwrap_or_else(|| panic!("{name}"))
    }

    pub fn found(&self, (directory, name): Name<'_>) -> Option<u32> {
        self.states.last().unwrap()[&directory].names.get(name.as_bytes()).copied()
    }

    pub fn is_directory(&self, ino: u32) -> bool {
        self.states.last().unwrap()[&ino].stat.kind == FileType::Directory
    }

    pub fn size(&self, ino: u32) -> u64 {
        self.states.last().unwrap()[&ino].stat.size
    }

    fn make(&mut self, (directory, name): Name<'_>, kind: FileType, mode: u16, target: &str) -> u32 {
        let ids = Ids { uid: 1000, gid: 1000 };
        let new = New { kind, mode, ids, device: (0, 0), target: target.as_bytes(), xattrs: &[] };
        let ino = self.call(&[directory], |volume| volume.make(directory, name.as_bytes(), &new)).ino;
        self.overwritten.remove(&ino);
        self.touch(&[ino]);
        ino
    }

    pub fn mkdir(&mut self, at: Name<'_>, mode: u16) -> u32 {
        self.make(at, FileType::Directory, mode, "")
    }

    pub fn create(&mut self, at: Name<'_>, mode: u16) -> u32 {
        self.make(at, FileType::Regular, mode, "")
    }

    pub fn symlink(&mut self, at: Name<'_>, target: &str) -> u32 {
        self.make(at, FileType::Symlink, 0o777, target)
    }

    /// What the kernel's OverlayFS leaves where something was deleted.
    pub fn whiteout(&mut self, at: Name<'_>) -> u32 {
        self.make(at, FileType::CharDevice, 0, "")
    }

    pub fn link(&mut self, ino: u32, (directory, name): Name<'_>) {
        self.call(&[directory, ino], |volume| {
            volume.link(ino, directory, name.as_bytes())?;
            volume.release(ino, 1)
        });
    }

    /// In pieces, as programs with a buffer write.
    pub fn write(&mut self, ino: u32, from: u64, data: &[u8]) {
        let mut at = from;
        for piece in data.chunks(10_240) {
            if at < self.size(ino) {
                self.overwritten.insert(ino);
            }
            let written = self.call(&[ino], |volume| volume.write(ino, at, piece, false));
            assert_eq!(written, piece.len());
            at += piece.len() as u64;
        }
    }

    /// Nothing is left in it: a part of a block would be cleared in place.
    pub fn empty(&mut self, ino: u32) {
        self.call(&[ino], |volume| volume.truncate(ino, 0, false));
    }

    pub fn chmod(&mut self, ino: u32, mode: u16) {
        self.call(&[ino], |volume| volume.alter(ino, &Changes { mode: Some(mode), ..Changes::default() }));
    }

    pub fn chown(&mut self, ino: u32, id: u32) {
        let changes = Changes { uid: Some(id), gid: Some(id), strip: true, ..Changes::default() };
        self.call(&[ino], |volume| volume.alter(ino, &changes));
    }

    pub fn times(&mut self, ino: u32, seconds: i64) {
        let time = Some(Time { seconds, nanoseconds: 5 });
        self.call(&[ino], |volume| {
            volume.alter(ino, &Changes { accessed: time, modified: time, ..Changes::default() })
        });
    }

    pub fn set_xattr(&mut self, ino: u32, name: &str, value: &[u8]) {
        self.call(&[ino], |volume| volume.set_xattr(ino, name.as_bytes(), value, How::Any));
    }

    /// As the kernel, which has what stood under the new name, and says so when it has forgotten it.
    pub fn rename(&mut self, from: Name<'_>, to: Name<'_>, how: Renaming) {
        let (moved, replaced) = (self.ino(from), self.found(to));
        let touched: Vec<u32> = [from.0, to.0, moved].into_iter().chain(replaced).collect();
        self.call(&touched, |volume| volume.rename((from.0, from.1.as_bytes()), (to.0, to.1.as_bytes()), how));
        if how.whiteout {
            self.touch(&[self.ino(from)]);
        }
        self.forget(replaced.filter(|_| !how.exchange));
    }

    pub fn replace(&mut self, from: Name<'_>, to: Name<'_>) {
        self.rename(from, to, Renaming::default());
    }

    pub fn exchange(&mut self, from: Name<'_>, to: Name<'_>) {
        self.rename(from, to, Renaming { exchange: true, ..Renaming::default() });
    }

    pub fn remove(&mut self, at: Name<'_>) {
        let ino = self.ino(at);
        let is_directory = self.is_directory(ino);
        self.call(&[at.0, ino], |volume| volume.remove(at.0, at.1.as_bytes(), is_directory));
        self.forget(Some(ino));
    }

    /// Nothing of it is seen any more, so that this is no call of its own.
    fn forget(&mut self, ino: Option<u32>) {
        let gone = ino.filter(|ino| !self.states.last().unwrap().contains_key(ino));
        gone.into_iter().for_each(|ino| self.volume.release(ino, 1).unwrap());
    }

    /// fsync(2), of a file or a directory.
    pub fn sync(&mut self, ino: u32) {
        self.volume.sync(ino, false).unwrap();
        self.lasting.push((self.recorder.len(), self.last.get(&ino).copied().unwrap_or(0)));
    }

    /// The program does nothing for two seconds.
    pub fn pause(&mut self) {
        self.volume.commit_due(Instant::now() + Duration::from_secs(2)).unwrap();
        self.lasting.push((self.recorder.len(), self.states.len() - 1));
    }

    /// From now on this is true of it.
    pub fn note(&mut self, note: u64) {
        self.notes.push((self.states.len() - 1, note));
    }

    /// What was true in a state.
    pub fn noted(&self, state: usize) -> u64 {
        self.notes.iter().rfind(|(from, _)| *from <= state).map_or(0, |(_, note)| *note)
    }

    /// All is over.
    pub fn close(&mut self) {
        self.volume.close().unwrap();
        self.lasting.push((self.recorder.len(), self.states.len() - 1));
    }

    pub fn states(&self) -> usize {
        self.states.len()
    }

    /// The states, none before `oldest`, that a replayed image may show after a crash behind so many events; and all that is in it. What is done
    /// within a tick of the clock and undone again looks the same.
    pub fn check(&self, image: &Overlay<'_>, events: usize, oldest: usize) -> (Vec<usize>, Things) {
        let found = things(image, image.size());
        let lasts = self.lasting.iter().filter(|(at, _)| *at <= events).map(|(_, state)| *state).max().unwrap();
        let (from, to) = (lasts.max(oldest), self.begun.partition_point(|begun| *begun <= events) - 1);
        let fits = |state: &usize| {
            let wanted = &self.states[*state];
            wanted.len() == found.len()
                && wanted.iter().zip(&found).all(|(wanted, found)| is_same(wanted, found))
                && found.iter().all(|(ino, thing)| self.has_content(*ino, thing, *state, from..to + 1))
        };
        let states: Vec<usize> = (from..=to).filter(fits).collect();
        let differs = || self.differs(&found, from);
        assert!(!states.is_empty(), "after {events} events no state of {from}..={to} fits:\n{}", differs());
        (states, found)
    }

    /// What was written over something else is there in parts.
    fn has_content(&self, ino: u32, thing: &Thing, state: usize, others: Range<usize>) -> bool {
        if self.states[state][&ino].content == thing.content {
            return true;
        }
        let mut sectors = thing.content.chunks(SECTOR).enumerate();
        self.overwritten.contains(&ino)
            && sectors.all(|(place, sector)| {
                others.clone().any(|other| {
                    let content = self.states[other].get(&ino).map_or(&[][..], |thing| &thing.content);
                    let part = content.get(place * SECTOR..).unwrap_or_default();
                    part.get(..sector.len()).is_some_and(|part| part == sector)
                })
            })
    }

    /// How what was found differs from a state.
    fn differs(&self, found: &Things, state: usize) -> String {
        let wanted = &self.states[state];
        let short = |thing: Option<&Arc<Thing>>| {
            let thing = thing
                .map(|thing| Thing { content: thing.content.iter().copied().take(20).collect(), ..(**thing).clone() });
            format!("{thing:?}")
        };
        let inodes: BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
        let differ = inodes.into_iter().filter(|ino| wanted.get(ino) != found.get(ino));
        differ.map(|ino| format!("{ino}: {}\nnot {}\n", short(found.get(ino)), short(wanted.get(ino)))).collect()
    }
}

/// All but the content.
fn is_same((ino, wanted): (&u32, &Arc<Thing>), (other, found): (&u32, &Arc<Thing>)) -> bool {
    let same = |one: &Thing, other: &Thing| {
        (one.stat, &one.target, &one.xattrs, &one.names) == (other.stat, &other.target, &other.xattrs, &other.names)
    };
    ino == other && same(wanted, found)
}

/// What is in an image, read as anybody reads it.
fn things(device: &dyn ReadAt, size: u64) -> Things {
    let volume = Reader::open(Box::new(device), Window::whole(size), 1 << 20).unwrap();
    let mut things = Things::new();
    let mut left = vec![ROOT_INO];
    while let Some(ino) = left.pop() {
        if things.contains_key(&ino) {
            continue;
        }
        let stat = volume.stat(ino).unwrap_or_else(|error| panic!("inode {ino}: {error}"));
        let mut xattrs: Vec<_> =
            volume.xattrs(ino).unwrap().into_iter().map(|xattr| (xattr.name, xattr.value)).collect();
        xattrs.sort();
        let mut thing = Thing { stat, target: Vec::new(), xattrs, names: BTreeMap::new(), content: Vec::new() };
        match stat.kind {
            FileType::Symlink => thing.target = volume.target(ino).unwrap(),
            FileType::Directory => {
                let listed = volume.entries(ino, &mut |entry| {
                    thing.names.insert(entry.name.to_vec(), entry.ino);
                    ControlFlow::Continue(())
                });
                listed.unwrap();
                left.extend(thing.names.values());
            }
            FileType::Regular => {
                thing.content = vec![0; stat.size as usize];
                let mut done = 0;
                while done < thing.content.len() {
                    let length = volume.read(ino, done as u64, &mut thing.content[done..]).unwrap();
                    assert!(length > 0, "inode {ino} ends early");
                    done += length;
                }
            }
            _ => {}
        }
        things.insert(ino, Arc::new(thing));
    }
    things
}

/// Where a name leads to in what was found.
pub fn at<'a>(things: &'a Things, path: &str) -> Option<&'a Arc<Thing>> {
    let mut at = things.get(&ROOT_INO);
    for name in path.split('/') {
        at = at.and_then(|thing| thing.names.get(name.as_bytes())).and_then(|ino| things.get(ino));
    }
    at
}
