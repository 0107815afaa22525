//! Directories that grow and shrink, looked at by e2fsck and the kernel.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use condatainer_formats::ext::raw::{FileType, flag};
use condatainer_formats::ext::{Ids, Time};
use nix::errno::Errno;

use super::trial::{Trial, colliding};
use crate::directory;
use crate::error::Error;
use crate::inode::{self, Node};
use crate::testing::{Image, Opened};

const SIZES: [&str; 3] = ["1024", "2048", "4096"];

fn name(number: usize) -> Vec<u8> {
    format!("name-{number}-{}", "y".repeat(number * 7 % 40)).into_bytes()
}

fn sorted(names: Vec<Vec<u8>>) -> BTreeSet<Vec<u8>> {
    let count = names.len();
    let names: BTreeSet<_> = names.into_iter().collect();
    assert_eq!(names.len(), count, "a name was listed twice");
    names
}

fn has_index(opened: &mut Opened, dir: u32) -> bool {
    opened.node(dir).inode().unwrap().has(flag::INDEX)
}

/// Puts `count` names in, then takes every third away and puts it in again, and looks at it all.
fn grow_and_shrink(trial: &Trial, count: usize) {
    let mut opened = trial.image.open();
    for number in 0..count {
        trial.insert(&mut opened, &name(number)).unwrap();
    }
    for number in (0..count).step_by(3) {
        assert!(trial.remove(&mut opened, &name(number)).unwrap());
        assert!(trial.find(&mut opened, &name(number)).unwrap().is_none());
    }
    for number in (0..count).step_by(6) {
        trial.insert(&mut opened, &name(number)).unwrap();
    }
    let names = (0..count).filter(|number| number % 3 != 0 || number % 6 == 0).map(name).collect::<BTreeSet<_>>();
    for name in &names {
        assert_eq!(trial.find(&mut opened, name).unwrap(), Some(trial.file_of(name)));
    }
    assert_eq!(sorted(trial.list(&mut opened, 37).unwrap()), names);
    opened.close();
    trial.check(&names);
}

#[test]
fn directories_grow_and_shrink_in_every_block_size() {
    for block_size in SIZES {
        let trial = Trial::new(32, &["-b", block_size], |_| {});
        grow_and_shrink(&trial, 3000);
        assert!(has_index(&mut trial.image.open(), trial.dir));
    }
}

#[test]
fn every_hash_is_the_kernels() {
    for hash in ["legacy", "half_md4", "tea"] {
        for flags in ["1", "2"] {
            let image = Image::new(16384, &["-b", "1024", "-I", "128"], &[]);
            image.spoil(&format!("ssv def_hash_version {hash}"));
            image.spoil(&format!("ssv flags {flags}"));
            let trial = Trial::of(image, |_| {});
            let names: BTreeSet<_> = (0..700).map(|number| format!("è{number}ÿ漢").into_bytes()).collect();
            let mut opened = trial.image.open();
            for name in &names {
                trial.insert(&mut opened, name).unwrap();
            }
            assert_eq!(sorted(trial.list(&mut opened, 5).unwrap()), names);
            opened.close();
            trial.check(&names);
            let index = trial.image.debugfs("htree_dump d");
            assert!(index.contains("Number of entries"), "{index}");
        }
    }
}

#[test]
fn without_the_features_a_directory_is_a_list_and_entries_have_no_type() {
    for (features, is_typed) in [("^dir_index", true), ("^dir_index,^filetype", false)] {
        let trial = Trial::new(16, &["-b", "1024", "-O", features], |_| {});
        grow_and_shrink(&trial, 800);
        let mut opened = trial.image.open();
        assert!(!has_index(&mut opened, trial.dir));
        let dir = opened.node(trial.dir);
        let found = opened.change(|handle| directory::find(handle, &dir, &name(1))).unwrap().unwrap();
        assert_eq!(found.kind, is_typed.then_some(FileType::Regular));
    }
}

#[test]
fn names_of_one_hash_go_on_in_the_next_blocks() {
    let image = Image::new(16384, &["-b", "1024"], &[]);
    image.spoil("ssv def_hash_version legacy");
    let trial = Trial::of(image, |_| {});
    let mut opened = trial.image.open();
    let mut names: BTreeSet<Vec<u8>> = (0..40).map(name).collect();
    names.extend(colliding());
    for name in &names {
        trial.insert(&mut opened, name).unwrap();
    }
    for at_once in [1, 2, 3, 50] {
        assert_eq!(sorted(trial.list(&mut opened, at_once).unwrap()), names);
    }
    for name in colliding().iter().skip(3).step_by(2) {
        assert_eq!(trial.find(&mut opened, name).unwrap(), Some(trial.file_of(name)));
        assert!(trial.remove(&mut opened, name).unwrap());
        names.remove(name);
    }
    opened.close();
    trial.check(&names);
}

#[test]
fn the_kernel_and_we_change_the_same_directory_in_turns() {
    for (block_size, count) in [("1024", 4000), ("4096", 6000)] {
        let theirs = |number: usize| format!("kernel-{number}").into_bytes();
        let fill = |dir: &Path, range: std::ops::Range<usize>| {
            for number in range {
                std::fs::write(dir.join(std::ffi::OsStr::from_bytes(&theirs(number))), "").unwrap();
            }
        };
        let trial = Trial::new(64, &["-b", block_size, "-N", "16384"], |dir| fill(dir, 0..count));
        let mut opened = trial.image.open();
        let mut names: BTreeSet<_> = (0..count).map(theirs).collect();
        assert_eq!(sorted(trial.list(&mut opened, 100).unwrap()), names);
        for number in 0..count {
            trial.insert(&mut opened, &name(number)).unwrap();
            names.insert(name(number));
        }
        opened.close();
        trial.check(&names);
        let mount = trial.image.mount();
        fill(&mount.join("d"), count..count + 500);
        for number in (0..count).step_by(2) {
            std::fs::remove_file(mount.join("d").join(std::ffi::OsStr::from_bytes(&name(number)))).unwrap();
            names.remove(&name(number));
        }
        drop(mount);
        names.extend((count..count + 500).map(theirs));
        let mut opened = trial.image.open();
        assert!(has_index(&mut opened, trial.dir));
        assert_eq!(sorted(trial.list(&mut opened, 1000).unwrap()), names);
        for number in (0..count).step_by(2) {
            assert_eq!(trial.find(&mut opened, &name(number)).unwrap(), None);
            trial.insert(&mut opened, &name(number)).unwrap();
            names.insert(name(number));
        }
        opened.close();
        trial.check(&names);
    }
}

#[test]
fn directories_that_e2fsck_has_packed_are_changed_and_those_whose_index_is_gone() {
    let fill = |dir: &Path| {
        for number in 0..1500 {
            std::fs::write(dir.join(format!("kernel-{number}")), "").unwrap();
        }
    };
    for without_index in [false, true] {
        let trial = Trial::new(32, &["-b", "1024", "-N", "4096"], fill);
        let output = std::process::Command::new("e2fsck").args(["-fyD"]).arg(&trial.image.path).output().unwrap();
        assert!(output.status.code().is_some_and(|code| code <= 1), "{output:?}");
        if without_index {
            // As fuse2fs leaves it.
            trial.image.spoil("set_inode_field d flags 0");
        }
        let mut opened = trial.image.open();
        assert_eq!(has_index(&mut opened, trial.dir), !without_index);
        let mut names: BTreeSet<_> = (0..1500).map(|number| format!("kernel-{number}").into_bytes()).collect();
        for number in 0..500 {
            trial.insert(&mut opened, &name(number)).unwrap();
            names.insert(name(number));
        }
        assert_eq!(sorted(trial.list(&mut opened, 10).unwrap()), names);
        opened.close();
        trial.check(&names);
    }
}

#[test]
fn two_hundred_thousand_names_take_two_levels_and_linear_time() {
    let trial = Trial::new(64, &["-b", "4096"], |_| {});
    let mut opened = trial.image.open();
    let (mut changed, mut times) = (Vec::new(), Vec::new());
    for part in 0..10 {
        let start = std::time::Instant::now();
        let names = (part * 20_000..(part + 1) * 20_000).map(|number| format!("a-file-with-a-name-{number}"));
        let blocks: Vec<usize> = names.map(|name| trial.insert(&mut opened, name.as_bytes()).unwrap()).collect();
        times.push(start.elapsed());
        assert!(blocks.iter().all(|blocks| *blocks <= 16), "a name changed {:?} blocks", blocks.iter().max());
        changed.push(blocks.iter().sum::<usize>());
        opened.write();
    }
    eprintln!("20,000 names each: {times:?}, {changed:?} blocks");
    assert!(changed.iter().all(|blocks| *blocks <= changed[0] * 11 / 10), "{changed:?}");
    let names: BTreeSet<_> = (0..200_000).map(|number| format!("a-file-with-a-name-{number}").into_bytes()).collect();
    assert!(sorted(trial.list(&mut opened, 5000).unwrap()) == names, "other names are listed");
    opened.close();
    assert!(trial.image.debugfs("htree_dump d").contains("Indirect levels: 1"));
    trial.check(&names);
}

#[test]
fn a_new_directory_is_empty_until_it_has_a_name() {
    let trial = Trial::new(16, &[], |dir| std::fs::create_dir(dir.join("sub")).unwrap());
    let mut opened = trial.image.open();
    let dir = opened.node(trial.dir);
    let sub = opened.change(|handle| directory::find(handle, &dir, b"sub")).unwrap().unwrap();
    assert_eq!(sub.kind, Some(FileType::Directory));
    opened
        .change(|handle| {
            let mut node = Node::read(handle, sub.ino)?;
            assert!(directory::is_empty(handle, &node)?);
            // Made once more, behind its first block, which then is in the way of nothing.
            directory::insert(handle, &mut node, b"name", sub.ino, FileType::Directory)?;
            assert!(!directory::is_empty(handle, &node)?);
            let found = directory::find(handle, &node, b"name")?.unwrap();
            directory::remove(handle, &node, &found.place)?;
            assert!(directory::is_empty(handle, &node)?);
            // `..` is a name as well.
            let parent = directory::find(handle, &node, b"..")?.unwrap();
            assert_eq!(parent.ino, dir.ino);
            directory::replace(handle, &parent.place, dir.ino, FileType::Directory)?;
            let again = directory::remove(handle, &node, &found.place);
            assert!(again.is_err(), "a name was removed twice");
            Ok(())
        })
        .unwrap();
    opened.close();
    trial.image.assert_sound();
}

#[test]
fn a_directory_that_we_make_is_one() {
    for block_size in SIZES {
        let trial = Trial::new(16, &["-b", block_size], |_| {});
        let mut opened = trial.image.open();
        let mut parent = opened.node(trial.dir);
        opened
            .change(|handle| {
                let new = inode::New { mode: 0o040_755, ids: Ids::ROOT, time: Time { seconds: 1, nanoseconds: 0 } };
                let mut made = inode::make(handle, &parent, new)?;
                directory::make_empty(handle, &mut made, parent.ino)?;
                assert!(directory::is_empty(handle, &made)?);
                made.inode_mut()?.i_links_count.set(2);
                made.write(handle)?;
                directory::insert(handle, &mut parent, b"made", made.ino, FileType::Directory)?;
                parent.inode_mut()?.i_links_count.set(3);
                parent.write(handle)
            })
            .unwrap();
        opened.close();
        trial.image.assert_sound();
        let mount = trial.image.mount();
        assert_eq!(std::fs::read_dir(mount.join("d/made")).unwrap().count(), 0);
        std::fs::write(mount.join("d/made/file"), "").unwrap();
        assert_eq!(mount.join("d/made/..").metadata().unwrap().ino(), u64::from(trial.dir));
    }
}

#[test]
fn what_cannot_be_a_name_is_refused() {
    let trial = Trial::new(16, &[], |_| {});
    let mut opened = trial.image.open();
    let errno = |result: Result<usize, Error>| result.unwrap_err().errno();
    assert_eq!(errno(trial.insert(&mut opened, b"")), Errno::EINVAL);
    assert_eq!(errno(trial.insert(&mut opened, &[b'a'; 256])), Errno::ENAMETOOLONG);
    trial.insert(&mut opened, &[b'a'; 255]).unwrap();
    assert_eq!(errno(trial.insert(&mut opened, &[b'a'; 255])), Errno::EEXIST);
    let file = opened.node(trial.file_of(b"x"));
    assert_eq!(errno(opened.change(|handle| directory::is_empty(handle, &file)).map(usize::from)), Errno::ENOTDIR);
    assert_eq!(trial.find(&mut opened, &[b'a'; 300]).unwrap(), None);
    opened.close();
    trial.check(&[vec![b'a'; 255]].into());
}
