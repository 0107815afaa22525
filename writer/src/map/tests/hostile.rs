//! Images whose bitmaps, pointers, counts and lists lie: an error at most, and nothing is written where no file's block can be.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use condatainer_formats::ext::{Ids, Time};
use condatainer_formats::source::ReadAt;
use parking_lot::Mutex;

use crate::device::Device;
use crate::geometry::Geometry;
use crate::inode::{self, New, Node};
use crate::store::Store;
use crate::testing::{FEATURES, Image, commit, fill, store, try_cut, try_fill};
use crate::{Volume, alloc};

/// Bytes in memory, and blocks that must not be written.
struct Watched {
    bytes: Mutex<Vec<u8>>,
    forbidden: BTreeSet<u64>,
    block_size: u64,
    /// Structures are being written.
    is_committing: AtomicBool,
    is_hit: AtomicBool,
}

impl ReadAt for Watched {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes.lock();
        let from = bytes.get(offset as usize..).unwrap_or_default();
        let length = from.len().min(buf.len());
        buf[..length].copy_from_slice(&from[..length]);
        Ok(length)
    }
}

impl Device for Watched {
    fn size(&self) -> u64 {
        self.bytes.lock().len() as u64
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let blocks = offset / self.block_size..(offset + data.len() as u64).div_ceil(self.block_size);
        let is_hit = blocks.into_iter().any(|block| self.forbidden.contains(&block));
        self.is_hit.fetch_or(is_hit && !self.is_committing.load(Ordering::Relaxed), Ordering::Relaxed);
        let mut bytes = self.bytes.lock();
        let to = bytes.get_mut(offset as usize..offset as usize + data.len());
        to.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(data);
        Ok(())
    }

    fn reserve(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The system's blocks; and those of them that a writer changes.
fn system(geometry: &Geometry) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let blocks = 0..geometry.sb.blocks_count;
    let all = blocks.filter(|block| geometry.require_free_for_files(*block..block + 1, "").is_err()).collect();
    let mut changed = BTreeSet::from([1024 / u64::from(geometry.sb.block_size)]);
    for (number, group) in geometry.groups().iter().enumerate() {
        let table = u64::from(geometry.sb.inodes_per_group / geometry.inodes_per_block());
        changed.extend([group.block_bitmap, group.inode_bitmap, geometry.descriptor_place(number).unwrap().0]);
        changed.extend(group.inode_table..group.inode_table + table);
    }
    (all, changed)
}

/// Where a lie can be told: in bitmaps, descriptors' counts, the inodes' table, and blocks of pointers.
fn places(geometry: &Geometry, store: &mut Store, inodes: &[u32]) -> Vec<(u64, std::ops::Range<u64>)> {
    let block_size = u64::from(geometry.sb.block_size);
    let mut places = Vec::new();
    for (number, group) in geometry.groups().iter().enumerate() {
        places.push((1, group.block_bitmap * block_size..(group.block_bitmap + 1) * block_size));
        places.push((1, group.inode_bitmap * block_size..(group.inode_bitmap + 1) * block_size));
        // The system's own blocks are the first.
        places.extend(vec![(4, group.block_bitmap * block_size..group.block_bitmap * block_size + 8); 5]);
        let (block, within) = geometry.descriptor_place(number).unwrap();
        let counts = block * block_size + within as u64 + 12;
        places.push((2, counts..counts + 6));
    }
    for ino in inodes {
        let (block, within) = geometry.inode_place(*ino).unwrap();
        let record = block * block_size + within as u64;
        places.push((4, record..record + 128));
        let mut handle = store.begin();
        let node = Node::read(&mut handle, *ino).unwrap();
        for pointer in &node.inode().unwrap().i_block[12..] {
            let block = u64::from(pointer.get());
            places.extend((block != 0).then_some((4, block * block_size..block * block_size + 64)));
        }
    }
    places
}

/// An image with two files of all levels, the first of them an orphan; and where lies can be told in it.
fn original(journal: bool) -> (Vec<u8>, [u32; 2], Vec<(u64, std::ops::Range<u64>)>) {
    let features = if journal { format!("{FEATURES},has_journal") } else { FEATURES.into() };
    let image = Image::new(4 << 10, &["-b", "1024", "-g", "1024", "-N", "256", "-O", &features], &["a", "b"]);
    let inodes = ["a", "b"].map(|name| image.inode(name));
    let mut store = image.store();
    for ino in inodes {
        fill(&mut store, ino, 0, 300);
        fill(&mut store, ino, 12 + 256 + 256 * 256, 3);
    }
    let geometry = Arc::clone(&store.geometry);
    let places = places(&geometry, &mut store, &inodes);
    commit(&mut store);
    if journal {
        image.spoil(&format!("set_super_value last_orphan {}", inodes[0]));
        image.spoil(&format!("set_inode_field <{}> links_count 0", inodes[0]));
    }
    (std::fs::read(&image.path).unwrap(), inodes, places)
}

fn lie(random: &mut fastrand::Rng, bytes: &mut [u8], places: &[(u64, std::ops::Range<u64>)]) {
    for _ in 0..random.u32(1..6) {
        let (width, place) = random.choice(places).unwrap();
        let at = (random.u64(place.clone()) / width * width) as usize;
        let value = match random.u8(..4) {
            0 => random.u32(..),
            1 => random.u32(..4200),
            2 => u32::MAX,
            _ => 0,
        };
        bytes[at..at + *width as usize].copy_from_slice(&value.to_le_bytes()[..*width as usize]);
    }
}

#[test]
fn lies_are_errors_at_most_and_nothing_of_the_system_is_overwritten() {
    let (original, [a, b], places) = original(false);
    let mut random = fastrand::Rng::with_seed(15);
    let (mut refused, mut done) = (0, 0);
    for _ in 0..600 {
        let mut bytes = original.clone();
        lie(&mut random, &mut bytes, &places);
        let Some((device, mut store, changed)) = opened(bytes) else { continue };
        for _ in 0..12 {
            let ino = if random.bool() { a } else { b };
            let at = *random.choice(&[0, 11, 260, 270, 12 + 256 + 256 * 256]).unwrap();
            let result = match random.u8(..6) {
                0 | 1 => try_fill(&mut store, ino, at, random.u64(1..60)),
                2 => try_cut(&mut store, ino, at, at + random.u64(1..500)),
                3 => try_cut(&mut store, ino, 0, u64::MAX),
                4 => make(&mut store),
                _ => alloc_one(&mut store),
            };
            *if result.is_ok() { &mut done } else { &mut refused } += 1;
        }
        let geometry = Arc::clone(&store.geometry);
        for block in store.running().blocks.keys() {
            let is_files = geometry.require_free_for_files(*block..block + 1, "").is_ok();
            assert!(is_files || changed.contains(block), "{block} is the system's");
        }
        device.is_committing.store(true, Ordering::Relaxed);
        commit(&mut store);
        assert!(!device.is_hit.load(Ordering::Relaxed));
    }
    assert!(refused > 300 && done > 300, "{refused} {done}");
}

#[test]
fn lists_of_orphans_that_lie_are_errors_at_most() {
    let (original, _, places) = original(true);
    let mut random = fastrand::Rng::with_seed(16);
    let (mut refused, mut done) = (0, 0);
    for _ in 0..300 {
        let mut bytes = original.clone();
        lie(&mut random, &mut bytes, &places);
        let Some((device, ..)) = opened(bytes) else { continue };
        device.is_committing.store(true, Ordering::Relaxed);
        match Volume::open(device) {
            Ok(volume) => {
                let is_damaged = !volume.untold().is_empty();
                let is_closed = volume.close().is_ok();
                (refused, done) = (refused + u32::from(is_damaged), done + u32::from(is_closed && !is_damaged));
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 50 && done > 50, "{refused} {done}");
}

fn opened(bytes: Vec<u8>) -> Option<(Arc<Watched>, Store, BTreeSet<u64>)> {
    let watched = |bytes, forbidden| Watched {
        bytes: Mutex::new(bytes),
        forbidden,
        block_size: 1024,
        is_committing: AtomicBool::new(false),
        is_hit: AtomicBool::new(false),
    };
    let plain = watched(bytes, BTreeSet::new());
    let (forbidden, changed) = system(&Geometry::read(&plain, plain.size()).ok()?);
    let device = Arc::new(watched(plain.bytes.into_inner(), forbidden));
    let store = store(Arc::clone(&device) as Arc<dyn Device>);
    Some((device, store, changed))
}

fn make(store: &mut Store) -> crate::Result<()> {
    let mut handle = store.begin();
    let parent = Node::read(&mut handle, 2)?;
    let new = New { mode: 0o100_644, ids: Ids::ROOT, time: Time::default() };
    inode::make(&mut handle, &parent, new)?;
    handle.done();
    Ok(())
}

fn alloc_one(store: &mut Store) -> crate::Result<()> {
    let mut handle = store.begin();
    let blocks = alloc::blocks(&mut handle, 900, 5)?;
    handle.fresh(blocks.start)?;
    handle.done();
    Ok(())
}
