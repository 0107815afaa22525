//! What an image changes through a kernel overlay, beside a comparison of the trees that the kernel shows.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use condatainer_images::image;
use condatainer_images::overlay::lower::Lower;
use condatainer_images::verbs::diff::{Change, Entry, diff};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use support::{Bench, Mounted, Overlay, set_mode, squashfs_with};

/// What a look at both trees tells: the letter of every path that differs; below something deleted nothing is said.
fn by_looking(below: &Path, merged: &Path) -> BTreeMap<Vec<u8>, char> {
    let (mut all, mut pending) = (BTreeMap::new(), vec![(Vec::new(), true)]);
    while let Some((path, both)) = pending.pop() {
        let names = |tree: &Path| -> BTreeSet<Vec<u8>> {
            let listing = fs::read_dir(tree.join(OsStr::from_bytes(&path))).unwrap();
            listing.map(|entry| entry.unwrap().file_name().into_vec()).collect()
        };
        let (before, now) = (if both { names(below) } else { BTreeSet::new() }, names(merged));
        for name in before.union(&now) {
            let inner = if path.is_empty() { name.clone() } else { [&path[..], name].join(&b'/') };
            let place = |tree: &Path| tree.join(OsStr::from_bytes(&inner));
            let is_dir = |tree: &Path| place(tree).symlink_metadata().is_ok_and(|meta| meta.is_dir());
            let key = [b"/", &inner[..]].concat();
            let both = match (before.contains(name), now.contains(name)) {
                (true, false) => all.insert(key, 'D').is_some(),
                (false, _) => all.insert(key, 'A').is_some(),
                (true, true) => {
                    if look(&place(below)) != look(&place(merged)) {
                        all.insert(key, 'M');
                    }
                    is_dir(below)
                }
            };
            if now.contains(name) && is_dir(merged) {
                pending.push((inner, both));
            }
        }
    }
    all
}

fn letter(entry: &Entry) -> char {
    match entry.change {
        Change::Added => 'A',
        Change::Changed => 'M',
        Change::Deleted => 'D',
    }
}

fn look(path: &Path) -> (u32, u32, u32, Vec<u8>, i64) {
    let meta = path.symlink_metadata().unwrap();
    let content = match () {
        () if meta.is_file() => fs::read(path).unwrap(),
        () if meta.is_symlink() => fs::read_link(path).unwrap().into_os_string().into_vec(),
        () => meta.rdev().to_le_bytes().to_vec(),
    };
    let mode = if meta.is_symlink() { 0 } else { meta.mode() & 0o7777 };
    (meta.mode() & 0o170_000 | mode, meta.uid(), meta.gid(), content, if meta.is_file() { meta.mtime() } else { 0 })
}

/// Numbers that are always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % limit
    }
}

/// One of the things that people do to files. What is impossible just fails.
fn disturb(root: &Path, dice: &mut Dice) {
    let mut path = root.to_owned();
    for _ in 0..=dice.below(3) {
        path.push(format!("n{}", dice.below(4)));
    }
    let other = root.join(format!("n{}", dice.below(4))).join(format!("n{}", dice.below(4)));
    let _ = match dice.below(13) {
        0 => fs::write(&path, "x".repeat(dice.below(9000))),
        1 => fs::remove_file(&path),
        2 => fs::remove_dir_all(&path),
        3 => fs::create_dir_all(&path),
        4 => symlink(format!("to{}", dice.below(3)), &path),
        5 => fs::rename(&path, &other),
        6 => fs::hard_link(&path, &other),
        7 => fs::OpenOptions::new().append(true).open(&path).map(drop),
        8 => std::os::unix::fs::lchown(&path, Some(dice.below(2) as u32 * 42), None),
        9 => fs::remove_file(&path).and_then(|()| symlink(format!("to{}", dice.below(3)), &path)),
        10 => fs::File::open(&path).and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH)),
        11 => mknod(&path, SFlag::S_IFCHR, Mode::empty(), makedev(1, dice.below(4) as u64)).map_err(Into::into),
        _ if path.is_symlink() => Ok(()),
        _ => fs::metadata(&path).map(|_| set_mode(&path, [0o700, 0o755, 0o644][dice.below(3)])),
    };
}

#[test]
fn changes_through_a_kernel_overlay_are_what_a_look_tells() {
    let bench = Bench::new();
    let (mut seen, empty) = (BTreeSet::new(), bench.path("empty"));
    ["upper", "work"].iter().for_each(|name| fs::create_dir_all(empty.join(name)).unwrap());
    for round in 0..12 {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15 + round);
        let trees = [0, 1].map(|number| {
            let tree = bench.path(&format!("tree-{round}-{number}"));
            fs::create_dir(&tree).unwrap();
            (0..60).for_each(|_| disturb(&tree, &mut dice));
            let image = tree.with_extension("sqf");
            fs::write(&image, squashfs_with(&bench, &tree, &[])).unwrap();
            image
        });
        let image = bench.image_of(&format!("env-{round}.img"), &["-t", "ext3"], 32, &empty);
        let lower = trees.each_ref().map(|image| Mounted::new(image, "ro"));
        let found = {
            let mounted = Mounted::new(&image, "rw");
            let below = Overlay::new(&[lower[1].at.path(), lower[0].at.path()], None);
            let above = Overlay::new(&[lower[1].at.path(), lower[0].at.path()], Some(mounted.at.path()));
            (0..150).for_each(|_| disturb(&above.path(), &mut dice));
            by_looking(&below.path(), &above.path())
        };
        let lower = Lower::open(&trees).unwrap();
        let changes = diff(&image::open(&image).unwrap(), &lower).unwrap_or_else(|e| panic!("{e}"));
        let told: BTreeMap<Vec<u8>, char> =
            changes.entries.iter().map(|entry| (entry.path.clone(), letter(entry))).collect();
        assert_eq!(told, found, "round {round}");
        seen.extend(changes.entries.iter().flat_map(|entry| entry.what.iter().map(|aspect| format!("{aspect:?}"))));
        seen.extend(found.values().map(char::to_string));
    }
    let all = ["A", "Content", "D", "Device", "Kind", "M", "Mode", "Owner", "Target", "Time"];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), all, "the trial met too little");
}
