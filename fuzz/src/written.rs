//! The target `written`: everything that a program can do to an ext3 image, on one image.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, RwLock};
use std::time::Instant;

use condatainer_formats::ext::{FileType, Ids, ReadAt, Time};
use condatainer_writer::device::Device;
use condatainer_writer::{Changes, How, New, Renaming, Volume, recover};

use super::image::Sparse;

/// One operation, in bytes.
const OP: usize = 5;
/// More are not done.
const MOST: usize = 48;
/// Inodes that are known at one time.
const KNOWN: usize = 64;
const ROOT: u32 = 2;
const BLOCK: usize = 1024;
/// Names that are tried; some of them are in the images that tests start from.
const NAMES: [&str; 14] = [
    "a",
    "b",
    "c",
    "upper",
    "work",
    "many",
    "sparse",
    "short",
    "long",
    "ext3",
    "lost+found",
    ".wh.deleted",
    "a-name-that-takes-some-room-003",
    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
];
const XATTRS: [&str; 4] = ["user.a", "user.note", "trusted.overlay.opaque", "security.capability"];
const OFFSETS: [u64; 10] =
    [0, 1, 1000, 12 << 10, 13 << 10, 300_000, 70_000_000, 20_000_000_000, u64::MAX - 3, u64::MAX];
const LENGTHS: [usize; 5] = [1, 100, 1024, 9000, 70_000];

/// The number of operations, the operations, and an image in the form of [`Sparse`].
///
/// Returns whether the image could be opened.
pub fn written(data: &[u8]) -> bool {
    let (count, rest) = data.split_at(data.len().min(1));
    let count = count.first().map_or(0, |count| usize::from(*count)).min(MOST);
    let (ops, image) = rest.split_at(rest.len().min(count * OP));
    let memory = Arc::new(Memory::of(&Sparse::decode(image)));
    let Ok(volume) = Volume::open(Arc::clone(&memory) as Arc<dyn Device>) else {
        let _ = recover(memory);
        return false;
    };
    let mut work = Work { volume, known: vec![ROOT] };
    for op in ops.chunks_exact(OP) {
        work.apply(op);
    }
    let Work { volume, known } = work;
    for ino in known.into_iter().skip(1).step_by(2) {
        let _ = volume.release(ino, 1);
    }
    let ended = volume.end();
    drop(volume);
    // What was left in order can be had again, or says what is wrong with it.
    let replayed = recover(Arc::clone(&memory) as Arc<dyn Device>);
    assert!(ended.is_err() || !replayed.unwrap().was_needed);
    true
}

struct Work {
    volume: Volume,
    known: Vec<u32>,
}

impl Work {
    fn inode(&self, byte: u8) -> u32 {
        self.known[usize::from(byte) % self.known.len()]
    }

    fn knows(&mut self, ino: u32) {
        if self.known.len() < KNOWN {
            self.known.push(ino);
        } else {
            let _ = self.volume.release(ino, 1);
        }
    }

    /// Whatever it comes to: there is an answer.
    fn apply(&mut self, op: &[u8]) {
        let &[what, a, b, c, d] = op else { return };
        let (ino, other) = (self.inode(a), self.inode(b));
        let name = |byte: u8| NAMES[usize::from(byte) % NAMES.len()].as_bytes();
        let offset = |byte: u8| OFFSETS[usize::from(byte) % OFFSETS.len()].saturating_add(u64::from(byte) / 10 * 511);
        let length = |byte: u8| LENGTHS[usize::from(byte) % LENGTHS.len()];
        let xattr = XATTRS[usize::from(c) % XATTRS.len()].as_bytes();
        let volume = &self.volume;
        match what % 18 {
            0..3 => {
                if let Ok(named) = volume.lookup(ino, name(c)) {
                    self.knows(named.ino);
                }
            }
            3 | 4 => {
                let kinds = [FileType::Regular, FileType::Directory, FileType::Symlink, FileType::CharDevice];
                let kind = kinds[usize::from(d) % kinds.len()];
                let target = vec![b't'; usize::from(b) * 5];
                let xattrs: &[(&[u8], &[u8])] = if d > 128 { &[(xattr, b"value")] } else { &[] };
                let ids = Ids { uid: 1000, gid: 70_000 };
                let new = New { kind, mode: 0o755, ids, device: (0, 0), target: &target, xattrs };
                if let Ok(named) = volume.make(ino, name(c), &new) {
                    self.knows(named.ino);
                }
            }
            5 => drop(volume.link(ino, other, name(c)).map(|named| self.knows(named.ino))),
            6 | 7 => drop(volume.remove(ino, name(c), d % 2 == 0)),
            8 => {
                let how = Renaming {
                    no_replace: d & 3 == 1,
                    exchange: d & 3 == 2,
                    whiteout: d & 3 == 3,
                    ..Renaming::default()
                };
                drop(volume.rename((ino, name(c)), (other, name(d / 4)), how));
            }
            9 | 10 => {
                let data = vec![d; length(d)];
                if let Ok(done) = volume.write(ino, offset(c), &data, d & 1 == 0) {
                    assert!(done <= data.len());
                }
            }
            11 => drop(volume.truncate(ino, offset(c), d & 1 == 0)),
            12 => drop(volume.punch(ino, offset(c)..offset(c).saturating_add(length(d) as u64), true)),
            13 => drop(volume.allocate(ino, offset(c)..offset(c).saturating_add(length(d) as u64), true)),
            14 => {
                let changes = Changes {
                    mode: Some(u16::from(c) << 4),
                    uid: Some(u32::from(d)),
                    modified: Some(Time { seconds: i64::from(d) << 29, nanoseconds: 5 }),
                    xattr: (b > 128).then_some((xattr, Some(&[7; 300]))),
                    ..Changes::default()
                };
                drop(volume.alter(ino, &changes));
            }
            15 => {
                let how = [How::Any, How::Create, How::Replace][usize::from(d) % 3];
                drop(volume.set_xattr(ino, xattr, &vec![d; usize::from(b) * 20], how));
                if d > 200 {
                    drop(volume.remove_xattr(ino, xattr));
                }
            }
            16 => self.look(ino, offset(c)),
            _ => {
                let _ = match d % 4 {
                    0 => volume.commit(),
                    1 => volume.sync(ino, c & 1 == 0),
                    2 => volume.commit_due(Instant::now()).map(drop),
                    _ if self.known.len() > 1 => volume.release(self.known.remove(1), 1),
                    _ => Ok(()),
                };
            }
        }
    }

    fn look(&self, ino: u32, offset: u64) {
        let volume = &self.volume;
        let size = volume.stat(ino).map(|stat| {
            assert!(stat.accessed.nanoseconds < 1_000_000_000);
            stat.size
        });
        let mut buf = [0; 5000];
        if let (Ok(size), Ok(length)) = (&size, volume.read(ino, offset, &mut buf)) {
            assert_eq!(length as u64, size.saturating_sub(offset).min(buf.len() as u64));
        }
        for hole in [false, true] {
            if let Ok(found) = volume.seek(ino, offset, hole) {
                assert!(found >= offset);
            }
        }
        let _ = volume.target(ino);
        if let Ok(names) = volume.xattrs(ino) {
            for name in names {
                let _ = volume.xattr(ino, &name);
            }
        }
        let (mut count, mut last) = (0, 0);
        let _ = volume.list(ino, 0, &mut |listed| {
            assert!(!listed.name.is_empty() && !listed.name.contains(&b'/') && listed.next > last);
            last = listed.next;
            count += 1;
            count < 2000
        });
        let _ = volume.room();
        let _ = volume.untold();
    }
}

/// The image, with what is written to it.
struct Memory {
    size: u64,
    blocks: RwLock<BTreeMap<u64, Box<[u8; BLOCK]>>>,
}

impl Memory {
    fn of(image: &Sparse<'_>) -> Self {
        let block = |(index, content): (u64, &[u8])| {
            let mut block = Box::new([0; BLOCK]);
            block[..content.len()].copy_from_slice(content);
            (index, block)
        };
        let blocks = RwLock::new(image.blocks().map(block).collect());
        Self { size: image.size, blocks }
    }
}

impl ReadAt for Memory {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.size.saturating_sub(offset).min(buf.len() as u64) as usize;
        let (blocks, mut done) = (self.blocks.read().unwrap(), 0);
        while done < count {
            let at = offset + done as u64;
            let within = at as usize % BLOCK;
            let length = (BLOCK - within).min(count - done);
            match blocks.get(&(at / BLOCK as u64)) {
                Some(block) => buf[done..done + length].copy_from_slice(&block[within..within + length]),
                None => buf[done..done + length].fill(0),
            }
            done += length;
        }
        Ok(count)
    }
}

impl Device for Memory {
    fn size(&self) -> u64 {
        self.size
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        assert!(offset.checked_add(data.len() as u64).is_some_and(|end| end <= self.size), "outside of the image");
        let (mut blocks, mut done) = (self.blocks.write().unwrap(), 0);
        while done < data.len() {
            let at = offset + done as u64;
            let within = at as usize % BLOCK;
            let length = (BLOCK - within).min(data.len() - done);
            let block = blocks.entry(at / BLOCK as u64).or_insert_with(|| Box::new([0; BLOCK]));
            block[within..within + length].copy_from_slice(&data[done..done + length]);
            done += length;
        }
        Ok(())
    }

    fn reserve(&self, offset: u64, length: u64) -> io::Result<()> {
        assert!(offset.checked_add(length).is_some_and(|end| end <= self.size), "outside of the image");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
