//! What fsx does: one file is written, read, mapped, made longer and shorter at random, and compared with what it must be.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fastrand::Rng;
use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};

use super::mapping::Mapping;

const LONGEST: usize = 256 << 10;

fn open(path: &Path) -> File {
    File::options().create(true).truncate(false).read(true).write(true).open(path).unwrap()
}

/// So many operations.
pub(crate) fn run(path: &Path, seed: u64, count: u64) {
    let mut random = Rng::with_seed(seed);
    let (mut file, mut wanted) = (open(path), Vec::new());
    for step in 0..count {
        let at = random.usize(..LONGEST);
        let length = match random.u8(0..3) {
            0 => random.usize(1..100),
            1 => random.usize(1..9000),
            _ => random.usize(1..70_000),
        };
        let end = (at + length).min(LONGEST);
        let byte = random.u8(1..);
        match random.u8(0..16) {
            0..=3 => {
                file.write_all_at(&vec![byte; end - at], at as u64).unwrap();
                put(&mut wanted, at, end, byte);
            }
            4..=5 if at < wanted.len() => {
                let end = end.min(wanted.len());
                let mut mapping = Mapping::new(&file, wanted.len()).unwrap();
                mapping.bytes()[at..end].fill(byte);
                if random.bool() {
                    mapping.sync().unwrap();
                }
                put(&mut wanted, at, end, byte);
            }
            6 if !wanted.is_empty() => {
                let mut mapping = Mapping::new(&file, wanted.len()).unwrap();
                assert!(mapping.bytes() == wanted, "step {step}: mapped");
            }
            7..=8 => {
                file.set_len(at as u64).unwrap();
                wanted.resize(at, 0);
            }
            9 => {
                fallocate(&file, FallocateFlags::empty(), at as u64, (end - at) as u64).unwrap();
                wanted.resize(wanted.len().max(end), 0);
            }
            10 => {
                let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(&file, how, at as u64, (end - at) as u64).unwrap();
                let end = end.min(wanted.len());
                wanted.get_mut(at..end).unwrap_or_default().fill(0);
            }
            11 => file = open(path),
            12 => {
                file.sync_all().unwrap();
                fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            }
            13 => file.sync_data().unwrap(),
            _ => {
                let mut found = vec![0; wanted.len() + 1];
                let length = read(&file, &mut found);
                assert!(found[..length] == wanted, "step {step}: {length} bytes, not {}", wanted.len());
            }
        }
        assert_eq!(file.metadata().unwrap().len(), wanted.len() as u64, "step {step}");
    }
}

fn put(wanted: &mut Vec<u8>, at: usize, end: usize, byte: u8) {
    wanted.resize(wanted.len().max(end), 0);
    wanted[at..end].fill(byte);
}

fn read(file: &File, found: &mut [u8]) -> usize {
    let mut done = 0;
    loop {
        match file.read_at(&mut found[done..], done as u64).unwrap() {
            0 => return done,
            more => done += more,
        }
    }
}
