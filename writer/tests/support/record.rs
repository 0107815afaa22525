//! A device in memory that notes what is written to it, and what is flushed; and what of that a crash can leave.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use condatainer_formats::source::ReadAt;
use condatainer_writer::device::Device;
use parking_lot::{Mutex, RwLock};

/// A disk writes so much at once, or not at all.
const SECTOR: usize = 512;

/// What was done.
#[derive(Debug, Clone)]
pub enum Event {
    /// So many bytes, there.
    Write(u64, Vec<u8>),
    /// Everything before it lasts.
    Flush,
}

/// The device.
pub struct Recorder {
    /// As it was at the beginning.
    pub base: Vec<u8>,
    image: RwLock<Vec<u8>>,
    events: Mutex<Vec<Event>>,
    calls: AtomicUsize,
    /// From which write or flush on each fails.
    fails: AtomicUsize,
    /// How many fail.
    failures: AtomicUsize,
    /// Which one panics.
    panics: AtomicUsize,
}

impl Recorder {
    /// Of an image that holds these bytes.
    pub fn new(base: Vec<u8>) -> Self {
        let (image, events) = (RwLock::new(base.clone()), Mutex::new(Vec::new()));
        let [calls, fails, failures, panics] = [0, usize::MAX, 0, usize::MAX].map(AtomicUsize::new);
        Self { base, image, events, calls, fails, failures, panics }
    }

    /// The writes and flushes with these numbers fail.
    pub fn fail(&self, calls: Range<usize>) {
        self.fails.store(calls.start, Relaxed);
        self.failures.store(calls.len(), Relaxed);
    }

    /// The write or flush with this number panics.
    pub fn panic(&self, call: usize) {
        self.panics.store(call, Relaxed);
    }

    /// How much was done.
    pub fn len(&self) -> usize {
        self.events.lock().len()
    }

    /// How many writes and flushes were asked for.
    pub fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }

    /// All that was done.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().clone()
    }

    /// What it holds now.
    pub fn image(&self) -> Vec<u8> {
        self.image.read().clone()
    }

    fn attempt(&self) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Relaxed);
        assert_ne!(call, self.panics.load(Relaxed));
        let first = self.fails.load(Relaxed);
        match call >= first && call - first < self.failures.load(Relaxed) {
            true => Err(io::Error::from_raw_os_error(5)),
            false => Ok(()),
        }
    }
}

impl ReadAt for Recorder {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.image.read().read_at(buf, offset)
    }
}

impl Device for Recorder {
    fn size(&self) -> u64 {
        self.base.len() as u64
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let at = offset as usize;
        let half = data.len() / 2;
        let failed = self.attempt();
        // What fails may have been written in part.
        let data = if failed.is_err() { &data[..half] } else { data };
        self.image.write()[at..at + data.len()].copy_from_slice(data);
        self.events.lock().push(Event::Write(offset, data.to_vec()));
        failed
    }

    fn reserve(&self, offset: u64, length: u64) -> io::Result<()> {
        assert!(offset + length <= self.size());
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.attempt()?;
        self.events.lock().push(Event::Flush);
        Ok(())
    }
}

/// Power cuts at so many instants between two flushes, by rising time: what was flushed is there, and of what was written since then a part.
/// `visit` gets each with the number of events before it.
pub fn each_cut(recorder: &Recorder, seed: u64, count: usize, mut visit: impl FnMut(&Overlay<'_>, usize)) {
    let mut random = fastrand::Rng::with_seed(seed);
    let events = recorder.events();
    let mut ends: Vec<usize> = (0..count).map(|_| random.usize(0..=events.len())).collect();
    ends.sort_unstable();
    let (mut image, mut applied) = (recorder.base.clone(), 0);
    for end in ends {
        let flushed = events[..end].iter().rposition(|event| matches!(event, Event::Flush)).unwrap_or(0);
        apply(&mut image, &events[applied..flushed]);
        applied = flushed;
        visit(&Overlay::cut(&image, &events[flushed..end], &mut random), end);
    }
}

/// Does again to `image` what was done.
pub fn apply(image: &mut [u8], events: &[Event]) {
    for event in events {
        if let Event::Write(at, data) = event {
            image[*at as usize..*at as usize + data.len()].copy_from_slice(data);
        }
    }
}

/// An image with what is written to it kept apart.
pub struct Overlay<'a> {
    base: &'a [u8],
    sectors: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl<'a> Overlay<'a> {
    /// Over these bytes, whole sectors of them.
    pub fn new(base: &'a [u8]) -> Self {
        Self { base, sectors: Mutex::default() }
    }

    /// What a power cut behind these events can leave, when what was before them lasts: some writes, some in part.
    pub fn cut(base: &'a [u8], events: &[Event], random: &mut fastrand::Rng) -> Self {
        let overlay = Self::new(base);
        for event in events {
            let Event::Write(at, data) = event else { continue };
            let fate = random.u8(0..3);
            for (index, sector) in data.chunks(SECTOR).enumerate() {
                if fate == 0 || fate == 1 && random.bool() {
                    overlay.write_at(sector, *at + (index * SECTOR) as u64).unwrap();
                }
            }
        }
        overlay
    }

    /// All of it.
    pub fn image(&self) -> Vec<u8> {
        let mut image = self.base.to_vec();
        for (sector, bytes) in &*self.sectors.lock() {
            image[*sector as usize * SECTOR..][..SECTOR].copy_from_slice(bytes);
        }
        image
    }
}

impl ReadAt for Overlay<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let sectors = offset / SECTOR as u64..(offset + buf.len() as u64).div_ceil(SECTOR as u64);
        if self.sectors.lock().range(sectors).next().is_none() {
            return self.base.read_at(buf, offset);
        }
        let length = buf.len().min(SECTOR - offset as usize % SECTOR);
        match self.sectors.lock().get(&(offset / SECTOR as u64)) {
            Some(bytes) => {
                buf[..length].copy_from_slice(&bytes[offset as usize % SECTOR..][..length]);
                Ok(length)
            }
            None => self.base.read_at(&mut buf[..length], offset),
        }
    }
}

impl Device for Overlay<'_> {
    fn size(&self) -> u64 {
        self.base.len() as u64
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        assert!(offset as usize + data.len() <= self.base.len());
        let mut done = 0;
        while done < data.len() {
            let (sector, within) = ((offset as usize + done) / SECTOR, (offset as usize + done) % SECTOR);
            let length = (SECTOR - within).min(data.len() - done);
            let mut sectors = self.sectors.lock();
            let bytes = sectors.entry(sector as u64).or_insert_with(|| self.base[sector * SECTOR..][..SECTOR].to_vec());
            bytes[within..within + length].copy_from_slice(&data[done..done + length]);
            done += length;
        }
        Ok(())
    }

    fn reserve(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
