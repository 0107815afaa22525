//! The list of orphans: what is on it is deleted by us, by the kernel and by e2fsck alike, and lists that lie do no harm.

use std::sync::Arc;

use condatainer_formats::ext::Ids;

use super::*;
use crate::New;
use crate::inode;
use crate::store::Store;
use crate::testing::{FEATURES, Image, commit, fill};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn journalled(block_size: &str, fill: &[&str]) -> Image {
    let features = format!("{FEATURES},has_journal");
    Image::new(32 << 10, &["-b", block_size, "-O", &features], fill)
}

/// An image whose files have content of all levels and whose names are gone.
fn image(block_size: &str) -> (Image, (u64, u64), [u32; 6]) {
    let image = journalled(block_size, &NAMES);
    let inodes = NAMES.map(|name| image.inode(name));
    let (blocks, free_inodes) = image.free();
    let mut store = image.store();
    for (index, ino) in (0..).zip(inodes) {
        fill(&mut store, ino, 0, 1 + index * 100);
        fill(&mut store, ino, 70_000, 1 + index);
    }
    commit(&mut store);
    drop(store);
    for name in NAMES {
        image.spoil(&format!("unlink {name}"));
    }
    (image, (blocks, free_inodes + 6), inodes)
}

fn new() -> New<'static> {
    New { kind: FileType::Regular, mode: 0o644, ids: Ids::ROOT, device: (0, 0), target: &[], xattrs: &[] }
}

fn volume(image: &Image) -> Volume {
    Volume::open(Arc::new(image.device())).unwrap()
}

/// Takes the last link away.
fn unlink(handle: &mut Handle<'_>, ino: u32) {
    let mut node = Node::read(handle, ino).unwrap();
    node.inode_mut().unwrap().i_links_count = 0.into();
    add(handle, &mut node).unwrap();
    node.write(handle).unwrap();
}

/// Each in a change of its own, which is committed.
fn unlink_all(store: &mut Store, inodes: [u32; 6]) {
    for ino in inodes {
        let mut handle = store.begin();
        unlink(&mut handle, ino);
        handle.done();
    }
    commit(store);
}

fn listed(store: &mut Store) -> Vec<u32> {
    let handle = &mut store.begin();
    let mut inodes = vec![handle.superblock().unwrap().s_last_orphan.get()];
    while inodes.last() != Some(&0) {
        assert!(inodes.len() < 100, "{inodes:?}");
        inodes.push(next(handle, *inodes.last().unwrap()).unwrap());
    }
    inodes.pop();
    inodes
}

#[test]
fn what_has_no_name_is_deleted_when_the_image_is_opened() {
    for block_size in ["1024", "4096"] {
        let (image, free, inodes) = image(block_size);
        let mut store = image.store();
        unlink_all(&mut store, inodes);
        let volume = volume(&image);
        volume.close().unwrap();
        image.assert_sound();
        assert_eq!(image.free(), free);
    }
}

#[test]
fn the_kernel_deletes_what_is_on_our_list() {
    let (image, free, inodes) = image("1024");
    let mut store = image.store();
    unlink_all(&mut store, inodes);
    drop(image.mount());
    image.assert_sound();
    assert_eq!(image.free(), free);
}

#[test]
fn a_file_that_was_being_made_shorter_is_as_long_as_it_says() {
    let image = journalled("1024", &["file"]);
    let ino = image.inode("file");
    let mut store = image.store();
    fill(&mut store, ino, 0, 5);
    commit(&mut store);
    let sectors =
        |image: &Image| image.debugfs("stat file").split("Blockcount: ").nth(1).unwrap()[..4].trim().to_owned();
    let before = sectors(&image);
    fill(&mut store, ino, 5, 5000);
    let mut handle = store.begin();
    let mut node = Node::read(&mut handle, ino).unwrap();
    node.set_size(&mut handle, 4500).unwrap();
    add(&mut handle, &mut node).unwrap();
    node.write(&mut handle).unwrap();
    handle.done();
    commit(&mut store);
    assert_ne!(sectors(&image), before);
    let volume = volume(&image);
    volume.close().unwrap();
    image.assert_sound();
    assert_eq!(sectors(&image), before);
}

#[test]
fn a_long_file_is_made_shorter_in_several_changes() {
    let image = journalled("1024", &["file", "other"]);
    let (free, [ino, other]) = (image.free(), ["file", "other"].map(|name| image.inode(name)));
    let volume = volume(&image);
    for piece in 0..2000 {
        // In pieces all over the groups.
        fill(&mut volume.store.lock(), ino, piece * 2, 1);
        fill(&mut volume.store.lock(), other, 0, 1);
    }
    let mut changes = 0;
    shorten(&volume, ino, 1, |handle, node| {
        changes += 1;
        node.set_size(handle, 1000)
    })
    .unwrap();
    shorten(&volume, ino, 0, |handle, node| node.set_size(handle, 0)).unwrap();
    shorten(&volume, other, 0, |handle, node| node.set_size(handle, 0)).unwrap();
    assert_eq!((changes, listed(&mut volume.store.lock())), (1, vec![]));
    volume.close().unwrap();
    image.assert_sound();
    assert_eq!(image.free(), free);
}

#[test]
fn inodes_leave_the_list_in_any_order() {
    let (image, free, inodes) = image("1024");
    let mut store = image.store();
    let mut random = fastrand::Rng::with_seed(3);
    let mut model: Vec<u32> = Vec::new();
    for _ in 0..300 {
        let (ino, is_kept) = (*random.choice(inodes.iter()).unwrap(), random.u8(..4) > 0);
        let mut handle = store.begin();
        let mut node = Node::read(&mut handle, ino).unwrap();
        let mut after = model.clone();
        if random.bool() {
            add(&mut handle, &mut node).unwrap();
            if !model.contains(&ino) {
                after.insert(0, ino);
            }
        } else {
            assert_eq!(remove(&mut handle, &mut node).is_ok(), model.contains(&ino), "{ino} {model:?}");
            after.retain(|other| *other != ino);
        }
        node.write(&mut handle).unwrap();
        if is_kept {
            handle.done();
            model = after;
        } else {
            drop(handle);
        }
        assert_eq!(listed(&mut store), model);
    }
    drop(store);
    let volume = volume(&image);
    for ino in inodes {
        volume.change(|handle| Ok(unlink(handle, ino))).unwrap();
    }
    for ino in [inodes[2], inodes[0], inodes[5], inodes[1], inodes[3], inodes[4]] {
        release(&volume, ino).unwrap();
    }
    volume.close().unwrap();
    image.assert_sound();
    assert_eq!(image.free(), free);
}

#[test]
fn lists_that_lead_nowhere_are_damage() {
    let (image, _, [a, b, c, ..]) = image("1024");
    let lists: [&[u32]; 7] = [&[a, b, a], &[a, a], &[a, 7], &[2], &[5_000_000], &[a, c + 40], &[b, c, u32::MAX]];
    let original = std::fs::read(&image.path).unwrap();
    for list in lists {
        std::fs::write(&image.path, &original).unwrap();
        image.spoil(&format!("set_super_value last_orphan {}", list[0]));
        for pair in list.windows(2) {
            image.spoil(&format!("set_inode_field <{}> links_count 0", pair[0]));
            image.spoil(&format!("set_inode_field <{}> dtime @{}", pair[0], pair[1]));
        }
        let volume = volume(&image);
        let untold: Vec<String> = volume.untold().iter().map(ToString::to_string).collect();
        assert!(untold.len() == 1 && untold[0].contains("the list of orphans leads to inode"), "{list:?}: {untold:?}");
        let made = volume.make(2, b"new", &new()).unwrap();
        volume.release(made.ino, 1).unwrap();
        volume.remove(2, b"new", false).unwrap();
        volume.close().unwrap();
        let error = Volume::open(Arc::new(image.device())).err().unwrap().to_string();
        assert!(error.contains("with errors"), "{error}");
        assert!(image.mended().success());
        Volume::open(Arc::new(image.device())).unwrap().close().unwrap();
        image.assert_sound();
    }
}

#[test]
fn directories_links_and_attributes_end_as_well() {
    let image = journalled("1024", &[]);
    let free = image.free();
    let mut store = image.store();
    for (number, mode) in (0..).zip([0o040_755, 0o120_777, 0o120_777, 0o020_600, 0o010_600, 0o100_644]) {
        let mut handle = store.begin();
        let root = Node::read(&mut handle, 2).unwrap();
        let mut node = inode::make(&mut handle, &root, inode::New { mode, ids: Ids::ROOT, time: now() }).unwrap();
        match number {
            0 => {
                for _ in 0..700 {
                    map::grow_directory(&mut handle, &mut node).unwrap();
                }
            }
            1 => map::set_target(&mut handle, &mut node, &[b'x'; 40]).unwrap(),
            2 => map::set_target(&mut handle, &mut node, &[b'x'; 900]).unwrap(),
            3 => node.inode_mut().unwrap().set_device((300, 70_000)),
            _ => {}
        }
        // Alike for all: the last ones may share a block.
        xattr::set(&mut handle, &mut node, b"trusted.large", &[7; 700], xattr::How::Any).unwrap();
        node.inode_mut().unwrap().i_links_count = 0.into();
        add(&mut handle, &mut node).unwrap();
        node.write(&mut handle).unwrap();
        handle.done();
    }
    commit(&mut store);
    drop(store);
    assert_ne!(image.free(), free);
    volume(&image).close().unwrap();
    image.assert_sound();
    assert_eq!(image.free(), free);
}

#[test]
fn a_file_that_cannot_be_freed_loses_its_name_all_the_same() {
    let image = journalled("1024", &["file", "other"]);
    let ino = image.inode("file");
    let mut store = image.store();
    fill(&mut store, ino, 0, 20);
    commit(&mut store);
    drop(store);
    // Its blocks of pointers are said to lie where the groups are described.
    image.spoil(&format!("set_inode_field <{ino}> block[IND] 2"));
    let volume = volume(&image);
    volume.remove(2, b"file", false).unwrap();
    assert_eq!(volume.lookup(2, b"file").unwrap_err().errno(), nix::errno::Errno::ENOENT);
    let untold = volume.untold();
    assert!(matches!(untold[..], [Error::Image(_)]), "{untold:?}");
    volume.remove(2, b"other", false).unwrap();
    volume.close().unwrap();
    assert!(Volume::open(Arc::new(image.device())).err().unwrap().to_string().contains("with errors"));
    assert!(image.mended().success());
    crate::recover(Arc::new(image.device())).unwrap();
    image.assert_sound();
}

#[test]
fn the_end_deletes_what_is_still_in_use() {
    let image = journalled("1024", &[]);
    let free = image.free();
    let volume = volume(&image);
    let made = volume.make(2, b"new", &new()).unwrap();
    volume.write(made.ino, 0, &[7; 100_000], false).unwrap();
    volume.remove(2, b"new", false).unwrap();
    volume.commit().unwrap();
    let killed = std::fs::read(&image.path).unwrap();
    volume.end().unwrap();
    // Who has it open still writes, and to nothing that somebody else gets.
    std::thread::scope(|scope| {
        let refused = scope.spawn(|| {
            let written = volume.write(made.ino, 0, &[9; 100_000], false).map(drop);
            [written, volume.make(2, b"late", &new()).map(drop), volume.truncate(made.ino, 5, false).map(drop)]
        });
        for error in refused.join().unwrap() {
            assert_eq!(error.unwrap_err().errno(), nix::errno::Errno::EROFS);
        }
        assert!(scope.spawn(|| volume.sync(made.ino, false)).join().unwrap().is_ok());
    });
    image.assert_sound();
    assert_eq!(image.free(), free);
    // So does who comes after one that was killed.
    std::fs::write(&image.path, killed).unwrap();
    assert!(crate::recover(Arc::new(image.device())).unwrap().was_needed);
    image.assert_sound();
    assert_eq!(image.free(), free);
}
