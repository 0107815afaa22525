//! The map of a file, from growing to shrinking: beside e2fsck, beside a model of it, and on images that lie.

mod hostile;
mod model;

use crate::inode::Node;
use crate::map;
use crate::testing::{Image, commit, cut, fill};

#[test]
fn blocks_of_all_levels_come_and_go() {
    for (block_size, inode_size) in [("1024", "128"), ("2048", "256"), ("4096", "256")] {
        let image = Image::new(64 << 10, &["-b", block_size, "-I", inode_size], &["file", "other"]);
        let free = image.debugfs("show_super_stats -h");
        let (file, other) = (image.inode("file"), image.inode("other"));
        let mut store = image.store();
        let n = store.geometry.pointers_per_block();
        let [second, third] = [12 + n, 12 + n + n * n];
        for (at, blocks) in
            [(0, 5), (10, 30), (second - 3, 6), (third - 2, 7), (third + n * n * 3, 1), (5, 5), (40, 2000)]
        {
            fill(&mut store, file, at, blocks);
            fill(&mut store, other, 0, 1);
        }
        commit(&mut store);
        image.assert_sound();
        cut(&mut store, file, 20, 30);
        cut(&mut store, file, third - 1, third + 3);
        commit(&mut store);
        image.assert_sound();
        let longest = map::longest(&store.geometry);
        cut(&mut store, file, 1, longest);
        cut(&mut store, file, 0, 1);
        cut(&mut store, other, 0, 1);
        commit(&mut store);
        image.assert_sound();
        let counts =
            |text: &str| text.lines().filter(|line| line.starts_with("Free")).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(counts(&free), counts(&image.debugfs("show_super_stats -h")));
    }
}

#[test]
fn a_file_written_in_one_go_lies_in_one_piece() {
    let image = Image::new(256 << 10, &["-b", "4096"], &["a", "b"]);
    let (a, b) = (image.inode("a"), image.inode("b"));
    let mut store = image.store();
    for piece in 0..500 {
        fill(&mut store, a, piece * 16, 16);
        fill(&mut store, b, piece * 16, 16);
    }
    commit(&mut store);
    image.assert_sound();
    let mut handle = store.begin();
    let node = Node::read(&mut handle, a).unwrap();
    let (mut at, mut runs) = (0, 0);
    while at < 8000 {
        at += map::find(&mut handle, &node, at, 8000).unwrap().blocks;
        runs += 1;
    }
    assert!(runs < 40, "{runs}");
}

#[test]
fn a_directory_grows_block_by_block() {
    let image = Image::new(16 << 10, &["-b", "1024"], &["file"]);
    let mut store = image.store();
    let mut handle = store.begin();
    let mut node = Node::read(&mut handle, 2).unwrap();
    for count in 0..600_u64 {
        let before = node.inode().unwrap().size() / 1024;
        let block = map::grow_directory(&mut handle, &mut node).unwrap();
        // One empty entry that has the whole block.
        handle.change(block).unwrap()[4..6].copy_from_slice(&1024_u16.to_le_bytes());
        assert_eq!(map::block_of_directory(&mut handle, &node, before).unwrap(), block);
        assert!(map::block_of_directory(&mut handle, &node, before + 1).is_err(), "{count}");
    }
    node.write(&mut handle).unwrap();
    handle.done();
    commit(&mut store);
    image.assert_sound();
}

#[test]
fn taking_nothing_away_changes_nothing() {
    let image = Image::new(8 << 10, &["-b", "1024"], &["file"]);
    let (ino, mut store) = (image.inode("file"), image.store());
    fill(&mut store, ino, 0, 400);
    let mut handle = store.begin();
    let mut node = Node::read(&mut handle, ino).unwrap();
    for from in [400, 500, 12 + 256 + 256 * 256] {
        assert_eq!(map::punch(&mut handle, &mut node, from, u64::MAX).unwrap(), from);
    }
    assert_eq!(handle.effort(), 0);
}
