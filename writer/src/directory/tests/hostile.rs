//! Directories with bytes that nobody has written: an error or an answer, and always an end.

use std::ops::Range;

use super::trial::Trial;
use crate::directory;
use crate::directory::listing::Listed;
use crate::inode::Node;
use crate::map;
use crate::testing::Opened;

const ROUNDS: usize = 400;
const BLOCK: usize = 1024;

fn name(number: usize) -> Vec<u8> {
    format!("name-{number}-{}", "y".repeat(number * 7 % 40)).into_bytes()
}

/// The directory's blocks on the disk.
fn blocks_of(opened: &mut Opened, dir: u32) -> Vec<u64> {
    let node = opened.node(dir);
    let count = node.inode().unwrap().size() / BLOCK as u64;
    opened.change(|handle| (0..count).map(|logical| map::block_of_directory(handle, &node, logical)).collect()).unwrap()
}

/// Does everything that can be done, on a handle that is dropped.
fn use_it(opened: &mut Opened, dir: u32, random: &mut fastrand::Rng) {
    let numbers: Vec<usize> = (0..12).map(|_| random.usize(0..1200)).collect();
    let _ = opened.change(|handle| -> crate::Result<()> {
        let mut node = Node::read(handle, dir)?;
        let _ = directory::is_empty(handle, &node);
        let (mut from, mut shown) = (0, 0);
        while shown < 3000 {
            let before = from;
            let mut left = 50;
            let listed = directory::list(handle, &node, from, &mut |listed: &Listed<'_>| {
                assert!(listed.next > from && !listed.name.is_empty());
                (from, left, shown) = (listed.next, left - 1, shown + 1);
                left > 0
            });
            if listed.is_err() || from == before {
                break;
            }
        }
        assert!(shown < 3000, "a listing has no end");
        for number in numbers {
            let name = name(number);
            if let Ok(Some(found)) = directory::find(handle, &node, &name) {
                let _ = directory::replace(handle, &found.place, found.ino, condatainer_formats::ext::FileType::Fifo);
                let _ = directory::remove(handle, &node, &found.place);
            } else {
                let _ = directory::insert(handle, &mut node, &name, 12, condatainer_formats::ext::FileType::Regular);
            }
        }
        Err(nix::errno::Errno::ECANCELED.into())
    });
}

fn spoil(bytes: &mut [u8], random: &mut fastrand::Rng) {
    // Headers, the index and the beginnings of records are hit more often than names.
    let reach: Range<usize> = if random.bool() { 0..64 } else { 0..bytes.len() };
    for _ in 0..random.usize(1..6) {
        let at = random.usize(reach.clone());
        let any = random.u8(..);
        bytes[at] = *random.choice(&[0, 1, 0x7f, 0x80, 0xff, any]).unwrap();
    }
}

fn trial_of(names: usize) -> (Trial, Opened) {
    let trial = Trial::new(16, &["-b", "1024", "-I", "128"], |_| {});
    let mut opened = trial.image.open();
    for number in 0..names {
        trial.insert(&mut opened, &name(number)).unwrap();
    }
    (trial, opened)
}

#[test]
fn blocks_with_foreign_bytes_are_refused_or_read() {
    // One block, one level, and a root whose index is nearly full.
    for names in [10, 600] {
        let (trial, mut opened) = trial_of(names);
        let blocks = blocks_of(&mut opened, trial.dir);
        let mut random = fastrand::Rng::with_seed(names as u64);
        for _ in 0..ROUNDS {
            // The root is spoiled in every second round.
            let block = if random.bool() { blocks[0] } else { *random.choice(&blocks).unwrap() };
            let before = opened.change(|handle| handle.block(block)).unwrap();
            opened.change(|handle| handle.change(block).map(|bytes| spoil(bytes, &mut random))).unwrap();
            use_it(&mut opened, trial.dir, &mut random);
            opened.change(|handle| handle.change(block).map(|bytes| bytes.copy_from_slice(&before))).unwrap();
        }
        opened.close();
        trial.image.assert_sound();
    }
}

#[test]
fn blocks_in_a_circle_and_absurd_sizes_end() {
    let (trial, mut opened) = trial_of(600);
    let before = opened.node(trial.dir);
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..ROUNDS {
        let mut node = before.clone();
        let inode = node.inode_mut().unwrap();
        match round % 3 {
            0 => inode.i_size_lo.set(random.u32(..)),
            1 => inode.i_size_high.set(random.u32(..)),
            _ => {
                let from = inode.i_block[random.usize(0..15)];
                inode.i_block[random.usize(0..15)] = from;
            }
        }
        opened.change(|handle| node.write(handle)).unwrap();
        use_it(&mut opened, trial.dir, &mut random);
    }
    opened.change(|handle| before.write(handle)).unwrap();
    opened.close();
    trial.image.assert_sound();
}
