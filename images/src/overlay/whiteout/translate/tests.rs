//! A power cut at every instant of a translation: of what was written since the last sync any sectors may be on the disk, and any
//! not. e2fsck -p must heal each such state, no deletion may be lost, and the next translation must complete it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::tools::{e2fsck, e2fsprogs};
use condatainer_formats::overlayfs::is_whiteout;

/// What is written between two syncs: offsets and bytes.
type Epoch = Vec<(u64, Vec<u8>)>;

/// Writes through, and notes what lies between two syncs.
struct Recorder<'a> {
    file: &'a File,
    epochs: RefCell<Vec<Epoch>>,
}

impl Disk for Recorder<'_> {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.epochs.borrow_mut().last_mut().unwrap().push((offset, bytes.to_vec()));
        Disk::write(self.file, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.epochs.borrow_mut().push(Vec::new());
        Ok(())
    }
}

const SECTOR_BYTES: usize = SECTOR as usize;

/// Names of every length up to 90, so that some lie in two sectors in every way.
fn hidden() -> BTreeSet<String> {
    (1..90).map(|length| "abcdefghij".repeat(9).split_at(length).0.to_owned()).collect()
}

fn made(directory: &Path, options: &[&str]) -> Vec<u8> {
    let (source, image) = (directory.join("source"), directory.join("made.img"));
    let names = source.join("upper/dir");
    fs::create_dir_all(&names).unwrap();
    fs::create_dir_all(source.join("work")).unwrap();
    for name in hidden().iter().map(String::as_str).chain([".wh..opq"]) {
        let path = names.join(format!(".wh.{name}"));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    xattr::set(&names, "user.fuseoverlayfs.opaque", b"y").unwrap();
    let _ = fs::remove_file(&image);
    File::create(&image).and_then(|file| file.set_len(4 << 20)).unwrap();
    let mut mke2fs = e2fsprogs::tool("mke2fs").unwrap();
    mke2fs.args(["-q", "-F", "-t", "ext3"]).args(options).arg("-d").arg(&source).arg(&image);
    mke2fs.run(0).unwrap();
    fs::read(image).unwrap()
}

fn open(image: &Path) -> (File, Window) {
    let file = OpenOptions::new().read(true).write(true).open(image).unwrap();
    let size = file.metadata().unwrap().len();
    (file, Window::whole(size))
}

/// The sectors that an epoch changes, in the order of its writes.
fn changed_sectors(before: &[u8], epoch: &Epoch) -> Vec<(usize, Vec<u8>)> {
    let mut sectors: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let mut order = Vec::new();
    for (offset, bytes) in epoch {
        for (at, byte) in (*offset as usize..).zip(bytes) {
            let number = at / SECTOR_BYTES;
            let start = number * SECTOR_BYTES;
            let sector = sectors.entry(number).or_insert_with(|| {
                order.push(number);
                before[start..start + SECTOR_BYTES].to_vec()
            });
            sector[at - start] = *byte;
        }
    }
    let sector = |number: usize| (number * SECTOR_BYTES, sectors[&number].clone());
    let all = order.into_iter().map(sector);
    all.filter(|(start, bytes)| before[*start..*start + SECTOR_BYTES] != bytes[..]).collect()
}

/// Every prefix, every sector alone, and all but one.
fn subsets(count: usize) -> BTreeSet<BTreeSet<usize>> {
    let prefixes = (0..=count).map(|end| (0..end).collect());
    let single = (0..count).map(|one| [one].into());
    let but_one = (0..count).map(|one| (0..count).filter(|other| *other != one).collect());
    prefixes.chain(single).chain(but_one).collect()
}

fn fsck(image: &Path, how: &str, worst: i32) {
    e2fsck::tool().unwrap().args(["-f", how]).arg(image).run(worst).unwrap();
}

fn says_clean(image: &Path) -> bool {
    let (file, window) = open(image);
    condatainer_formats::ext::probe(&file, window).unwrap().state.is_clean()
}

/// All names of the directory; those that are devices under their own.
fn names(image: &Path) -> BTreeSet<String> {
    let (file, window) = open(image);
    let tree = Tree::open(&file, window).unwrap();
    let directory = tree.node(tree.child(&tree.upper().unwrap(), b"dir").unwrap().unwrap()).unwrap();
    let name = |name: condatainer_formats::ext::Name| {
        let text = String::from_utf8(name.name).unwrap();
        let node = tree.node(name.ino).unwrap();
        let is_device = is_whiteout(node.kind, node.device);
        assert!(is_device || text.starts_with(".wh."), "{text}");
        text
    };
    tree.names(&directory).unwrap().into_iter().map(name).collect()
}

#[test]
fn a_power_cut_tears_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("env.img");
    let mut states = 0;
    // Where only one block is free, one after the other is moved. There e2fsck must not take it for an index; our own repairs see to
    // that.
    let (small, large, full) = (&["-b", "1024"][..], &["-b", "4096"][..], &["-b", "1024", "-O", "^dir_index"][..]);
    for (options, free) in [(small, None), (large, None), (full, Some(1))] {
        fs::write(&image, made(dir.path(), &[options, &["-N", "256"]].concat())).unwrap();
        if let Some(free) = free {
            fill(dir.path(), &image, free);
        }
        states += assert_survives(&image, &format!("{options:?}, {free:?}"));
    }
    eprintln!("{states} states of the disk");
    assert!(states > 300, "{states}");
}

/// Tells in how many states a power cut could leave the disk.
fn assert_survives(image: &Path, what: &str) -> usize {
    let (mut disk, mut states) = (fs::read(image).unwrap(), 0);
    let (file, window) = open(image);
    let recorder = Recorder { file: &file, epochs: RefCell::new(vec![Vec::new()]) };
    let done = once(&file, &recorder, window).unwrap();
    assert_eq!(done, Translated { translated: 89, removed: 1, left: 0 }, "{what}");
    for epoch in recorder.epochs.into_inner() {
        let sectors = changed_sectors(&disk, &epoch);
        for subset in subsets(sectors.len()) {
            let mut torn = disk.clone();
            for (start, bytes) in subset.iter().map(|one| &sectors[*one]) {
                torn[*start..start + SECTOR_BYTES].copy_from_slice(bytes);
            }
            fs::write(image, &torn).unwrap();
            assert_healed(image, &format!("{what}, {subset:?} of {}", sectors.len()));
            states += 1;
        }
        sectors.iter().for_each(|(start, bytes)| disk[*start..start + SECTOR_BYTES].copy_from_slice(bytes));
    }
    states
}

fn assert_healed(image: &Path, state: &str) {
    if says_clean(image) {
        // Nobody would look any further before it is used.
        fsck(image, "-n", 0);
    }
    fsck(image, "-p", 1);
    let now: BTreeSet<String> = names(image).iter().map(|name| name.trim_start_matches(".wh.").to_owned()).collect();
    let wrong: Vec<_> = now.symmetric_difference(&hidden()).filter(|name| *name != ".opq").cloned().collect();
    assert!(wrong.is_empty(), "{state}: {wrong:?}");
    let (file, window) = open(image);
    translate(&file, window).unwrap();
    assert_eq!(names(image), hidden(), "{state}");
    fsck(image, "-n", 0);
}

/// Made by a user on a mount of ours.
#[test]
fn a_users_file_is_no_mark() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("env.img");
    fs::write(&image, made(dir.path(), &["-b", "1024"])).unwrap();
    for mark in [".wh.a", ".wh..wh..opq"] {
        let words = format!("ea_set /upper/dir/{mark} user.condatainer.own y");
        e2fsprogs::tool("debugfs").unwrap().args(["-w", "-R", &words]).arg(&image).run(0).unwrap();
    }
    let (file, window) = open(&image);
    let kinds =
        |file: &File| crate::overlay::whiteout::scan(&Tree::open(file, window).unwrap(), None).unwrap().unwrap().kinds;
    let found = kinds(&file);
    assert_eq!((found.fuse, found.ordinary), (hidden().len() as u64 - 1, 0));
    assert_eq!(translate(&file, window).unwrap().left, 0);
    let mut expected = hidden();
    expected.remove("a");
    expected.extend([".wh.a".to_owned(), ".wh..wh..opq".to_owned()]);
    assert_eq!(names(&image), expected);
    assert_eq!((kinds(&file).fuse, kinds(&file).ordinary), (0, 0));
    fsck(&image, "-n", 0);
}

/// Without a free block to move to, such names stay as they are; with one, they are moved one after the other.
#[test]
fn a_full_image_is_translated_as_far_as_it_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("env.img");
    let counts = [0, 1].map(|free: usize| {
        fs::write(&image, made(dir.path(), &["-b", "1024", "-N", "256"])).unwrap();
        fill(dir.path(), &image, free);
        let (file, window) = open(&image);
        let done = translate(&file, window).unwrap();
        fsck(&image, "-n", 0);
        (done.translated, done.left)
    });
    assert_eq!(counts[1], (89, 0));
    assert!(counts[0].1 > 0 && counts[0].0 + counts[0].1 == 89, "{counts:?}");
}

/// Until only `free` blocks of 1 KiB are left: a large file, and some of a single block.
fn fill(directory: &Path, image: &Path, free: usize) {
    let large = directory.join("large");
    // Some are for its own map.
    fs::write(&large, vec![7; (free_blocks(image) - free - 16) * 1024]).unwrap();
    write_into(image, &large, "filler");
    let one = directory.join("one");
    fs::write(&one, [7; 100]).unwrap();
    for number in 0..64 {
        if free_blocks(image) <= free {
            return;
        }
        write_into(image, &one, &format!("one-{number}"));
    }
    panic!("it does not become full");
}

fn free_blocks(image: &Path) -> usize {
    let (file, window) = open(image);
    Fs::open(&file, window, u64::MAX).unwrap().sb.free_blocks_count as usize
}

fn write_into(image: &Path, file: &Path, name: &str) {
    let request = format!("write {} {name}", file.display());
    e2fsprogs::tool("debugfs").unwrap().args(["-w", "-R", &request]).arg(image).run(0).unwrap();
}
