//! What an image lies on, as a test wants it: all that is done to it is noted in a file, or some of that fails. The image's name says which.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use condatainer_formats::source::ReadAt;
use condatainer_writer::device::{Device, FileDevice};
use parking_lot::Mutex;

use super::record::{Event, Recorder};

/// The name for a disk whose writes and flushes go to that file as well.
pub(crate) fn noted(file: &str) -> String {
    format!("noted:{file}")
}

/// The name for one of whose writes and flushes `count` from `first` on fail; how many there were is in that file.
pub(crate) fn failing(first: u64, count: u64, errno: i32, file: &str) -> String {
    format!("failing:{first}:{count}:{errno}:{file}")
}

/// The name for one that takes room so often, and no more.
pub(crate) fn full(first: u64, errno: i32, file: &str) -> String {
    format!("full:{first}:{errno}:{file}")
}

/// The name for one of whose writes each takes so many milliseconds.
pub(crate) fn slow(milliseconds: u64, file: &str) -> String {
    format!("slow:{milliseconds}:{file}")
}

/// The disk for a name.
pub(crate) fn tried(name: &str, device: FileDevice) -> Arc<dyn Device> {
    let words: Vec<_> = name.split(':').collect();
    let number = |at: usize| words[at].parse().unwrap();
    let file = File::options().create(true).truncate(true).write(true).open(words.last().unwrap()).unwrap();
    let calls = AtomicU64::new(0);
    match words[0] {
        "slow" => Arc::new(Slow { device, pause: Duration::from_millis(number(1)) }),
        "noted" => Arc::new(Noted { device, events: Mutex::new(file) }),
        "failing" => {
            let errno = words[3].parse().unwrap();
            Arc::new(Failing { device, calls, file, first: number(1), count: number(2), errno, is_full: false })
        }
        "full" => {
            let errno = words[2].parse().unwrap();
            Arc::new(Failing { device, calls, file, first: number(1), count: u64::MAX, errno, is_full: true })
        }
        other => panic!("no such disk: {other}"),
    }
}

struct Slow {
    device: FileDevice,
    pause: Duration,
}

impl ReadAt for Slow {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        ReadAt::read_at(&self.device, buf, offset)
    }
}

impl Device for Slow {
    fn size(&self) -> u64 {
        self.device.size()
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        sleep(self.pause);
        self.device.write_at(data, offset)
    }

    fn reserve(&self, offset: u64, length: u64) -> io::Result<()> {
        self.device.reserve(offset, length)
    }

    fn flush(&self) -> io::Result<()> {
        self.device.flush()
    }
}

struct Noted {
    device: FileDevice,
    events: Mutex<File>,
}

/// What a flush is noted as.
const FLUSH: u64 = u64::MAX;

impl ReadAt for Noted {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        ReadAt::read_at(&self.device, buf, offset)
    }
}

impl Device for Noted {
    fn size(&self) -> u64 {
        self.device.size()
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        // What is noted later is done later, too.
        let mut events = self.events.lock();
        self.device.write_at(data, offset)?;
        events.write_all(&[&offset.to_le_bytes(), &(data.len() as u64).to_le_bytes(), data].concat())
    }

    fn reserve(&self, offset: u64, length: u64) -> io::Result<()> {
        self.device.reserve(offset, length)
    }

    fn flush(&self) -> io::Result<()> {
        // What is written meanwhile may last or not.
        let mut events = self.events.lock();
        events.write_all(&[FLUSH.to_le_bytes(), [0; 8]].concat())
    }
}

/// All that was noted, done to an image again; and how long the file was before each event.
pub(crate) fn again(base: Vec<u8>, mut noted: &[u8]) -> (Recorder, Vec<u64>) {
    let (recorder, length) = (Recorder::new(base), noted.len());
    let mut starts = Vec::new();
    while let Some((head, rest)) = noted.split_at_checked(16) {
        let [offset, bytes] = [0, 8].map(|at| u64::from_le_bytes(head[at..at + 8].try_into().unwrap()));
        starts.push((length - noted.len()) as u64);
        let data;
        (data, noted) = rest.split_at(bytes as usize);
        match offset {
            FLUSH => recorder.flush().unwrap(),
            _ => recorder.write_at(data, offset).unwrap(),
        }
    }
    assert_eq!(recorder.events().iter().filter(|event| matches!(event, Event::Flush)).count() > 0, length > 0);
    (recorder, starts)
}

struct Failing {
    device: FileDevice,
    calls: AtomicU64,
    /// Gets the number of calls.
    file: File,
    first: u64,
    count: u64,
    errno: i32,
    /// It is the room that ends.
    is_full: bool,
}

impl Failing {
    fn attempt(&self) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        self.file.write_all_at(&(call + 1).to_le_bytes(), 0)?;
        match call.checked_sub(self.first) {
            Some(since) if since < self.count => Err(io::Error::from_raw_os_error(self.errno)),
            _ => Ok(()),
        }
    }
}

/// How many calls were noted in a file.
pub(crate) fn calls(file: &[u8]) -> u64 {
    file.try_into().map_or(0, u64::from_le_bytes)
}

impl ReadAt for Failing {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        ReadAt::read_at(&self.device, buf, offset)
    }
}

impl Device for Failing {
    fn size(&self) -> u64 {
        self.device.size()
    }

    /// What fails may have been written in part.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let attempt = if self.is_full { Ok(()) } else { self.attempt() };
        let length = if attempt.is_err() { data.len() / 2 } else { data.len() };
        self.device.write_at(&data[..length], offset)?;
        attempt
    }

    fn reserve(&self, offset: u64, length: u64) -> io::Result<()> {
        if self.is_full {
            self.attempt()?;
        }
        self.device.reserve(offset, length)
    }

    fn flush(&self) -> io::Result<()> {
        if !self.is_full {
            self.attempt()?;
        }
        self.device.flush()
    }
}
