//! The bounds of an index, and what happens when it is broken.

use std::collections::BTreeSet;

use condatainer_formats::ext::raw::flag;
use nix::errno::Errno;

use super::trial::Trial;
use crate::map;
use crate::testing::Opened;

fn long(number: usize) -> Vec<u8> {
    format!("{number}-{}", "n".repeat(255 - 7)).into_bytes()
}

fn short(number: usize) -> Vec<u8> {
    format!("name-{number}").into_bytes()
}

/// Writes a byte of the directory's first block.
fn spoil(opened: &mut Opened, dir: u32, at: usize, byte: u8) {
    let node = opened.node(dir);
    opened
        .change(|handle| {
            let block = map::block_of_directory(handle, &node, 0)?;
            handle.change(block).map(|bytes| bytes[at] = byte)
        })
        .unwrap();
}

#[test]
fn an_index_of_two_levels_that_is_full_takes_no_name_and_stays_right() {
    let trial = Trial::new(48, &["-b", "1024"], |_| {});
    let mut opened = trial.image.open();
    let mut names = BTreeSet::new();
    let error = (0..).find_map(|number| match trial.insert(&mut opened, &long(number)) {
        Ok(_) => {
            names.insert(long(number));
            None
        }
        Err(error) => Some(error),
    });
    assert_eq!(error.unwrap().errno(), Errno::ENOSPC);
    let free = opened.change(|handle| Ok(handle.superblock()?.s_free_blocks_count_lo.get())).unwrap();
    assert!(free > 1000, "the disk is full: {free}");
    assert!(names.len() > 15_000, "{}", names.len());
    for name in &names {
        assert!(trial.find(&mut opened, name).unwrap().is_some());
    }
    // Where one goes another fits.
    let first = names.pop_first().unwrap();
    assert!(trial.remove(&mut opened, &first).unwrap());
    trial.insert(&mut opened, &first).unwrap();
    names.insert(first);
    opened.close();
    trial.check(&names);
}

#[test]
fn a_broken_index_makes_a_list_of_the_directory() {
    // The hash version, the length of the information, the levels, the limit, the count.
    for (at, byte) in [(28, 9), (29, 7), (30, 2), (31, 1), (32, 1), (34, 0)] {
        let trial = Trial::new(16, &["-b", "1024"], |_| {});
        let mut opened = trial.image.open();
        let mut names: BTreeSet<_> = (0..400).map(short).collect();
        for name in &names {
            trial.insert(&mut opened, name).unwrap();
        }
        spoil(&mut opened, trial.dir, at, byte);
        for name in &names {
            assert!(trial.find(&mut opened, name).unwrap().is_some(), "byte {at}");
        }
        assert_eq!(trial.list(&mut opened, 30).unwrap().into_iter().collect::<BTreeSet<_>>(), names);
        for number in 400..500 {
            trial.insert(&mut opened, &short(number)).unwrap();
            names.insert(short(number));
        }
        assert!(!opened.node(trial.dir).inode().unwrap().has(flag::INDEX));
        opened.close();
        trial.check(&names);
    }
}
