//! New inodes as the kernel's ext4 driver shows them: kinds, modes, owners, times, devices.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use condatainer_formats::ext::raw::flag;
use condatainer_formats::ext::{Ids, Time};

use super::{New, Node, make};
use crate::map;
use crate::store::Store;
use crate::testing::{Image, commit, content, fill};

/// Makes something in the root directory, which only lacks a name.
fn made(store: &mut Store, mode: u16, change: impl FnOnce(&mut crate::store::Handle<'_>, &mut Node)) -> u32 {
    let mut handle = store.begin();
    let root = Node::read(&mut handle, 2).unwrap();
    let time = Time { seconds: 5_000_000_000, nanoseconds: 123_456_789 };
    let mut node = make(&mut handle, &root, New { mode, ids: Ids { uid: 70_000, gid: 1 << 31 }, time }).unwrap();
    change(&mut handle, &mut node);
    node.write(&mut handle).unwrap();
    handle.done();
    node.ino
}

#[test]
fn the_kernel_shows_what_was_made() {
    for (block_size, inode_size) in [("1024", "256"), ("4096", "128")] {
        let image = Image::new(16 << 10, &["-b", block_size, "-I", inode_size], &[]);
        let mut store = image.store();
        let targets: Vec<String> = [1, 58, 59, 60, 61, 500, 1022].map(|length| "x".repeat(length)).into();
        let mut inodes = Vec::new();
        for target in &targets {
            inodes.push(made(&mut store, 0o120_777, |handle, node| {
                map::set_target(handle, node, target.as_bytes()).unwrap();
            }));
        }
        for device in [(1, 3), (255, 255), (256, 0), (8, 70_000)] {
            inodes.push(made(&mut store, 0o020_640, |_, node| node.inode_mut().unwrap().set_device(device)));
        }
        inodes.push(made(&mut store, 0o010_600, |_, _| ()));
        inodes.push(made(&mut store, 0o106_755, |_, _| ()));
        commit(&mut store);
        for (number, ino) in inodes.iter().enumerate() {
            image.spoil(&format!("link <{ino}> n{number}"));
        }
        image.assert_sound();
        let mount = image.mount();
        for (number, target) in targets.iter().enumerate() {
            assert_eq!(std::fs::read_link(mount.join(format!("n{number}"))).unwrap().to_str(), Some(target.as_str()));
        }
        let stat = |number: usize| std::fs::symlink_metadata(mount.join(format!("n{number}"))).unwrap();
        for (number, (major, minor)) in (7..).zip([(1, 3), (255, 255), (256, 0), (8, 70_000)]) {
            assert_eq!(stat(number).rdev(), nix::sys::stat::makedev(major, minor));
        }
        assert!(stat(11).file_type().is_fifo());
        let last = stat(12);
        assert_eq!((last.mode(), last.uid(), last.gid(), last.nlink()), (0o106_755, 70_000, 1 << 31, 1));
        let long = inode_size == "256";
        let time = if long { (5_000_000_000, 123_456_789) } else { (i32::MAX.into(), 0) };
        assert_eq!((last.mtime(), last.mtime_nsec()), time);
        assert_eq!(
            (last.ctime(), last.ctime_nsec(), last.atime(), last.atime_nsec()),
            (time.0, time.1, time.0, time.1)
        );
    }
}

#[test]
fn flags_are_those_that_the_kernel_would_hand_down() {
    let image = Image::new(8 << 10, &["-b", "1024"], &[]);
    let mount = image.mount();
    let chattr = |argument: &str| std::process::Command::new("chattr").arg(argument).arg(&*mount).status().unwrap();
    // Not `a`: nothing can be removed then.
    assert!(chattr("+sudASDT").success());
    std::fs::write(mount.join("file"), "").unwrap();
    std::fs::create_dir(mount.join("directory")).unwrap();
    drop(mount);
    let mut store = image.store();
    for (name, mode) in [("file", 0o100_644), ("directory", 0o040_755)] {
        let ino = made(&mut store, mode, |_, _| ());
        let mut handle = store.begin();
        let mut flags = |ino| Node::read(&mut handle, ino).unwrap().inode().unwrap().i_flags.get() & !flag::INDEX;
        assert_eq!(flags(ino), flags(image.inode(name)), "{name}");
        assert_ne!(flags(ino), 0);
    }
}

#[test]
fn the_first_large_file_is_told() {
    let image = Image::new(16 << 10, &["-b", "4096", "-O", "none,sparse_super,filetype"], &["file"]);
    let (ino, mut store) = (image.inode("file"), image.store());
    fill(&mut store, ino, 10, 1);
    commit(&mut store);
    assert!(!image.debugfs("show_super_stats -h").contains("large_file"));
    let far = (5 << 30) / 4096;
    fill(&mut store, ino, far, 1);
    commit(&mut store);
    assert!(image.debugfs("show_super_stats -h").contains("large_file"));
    image.assert_sound();
    let mount = image.mount();
    let file = std::fs::File::open(mount.join("file")).unwrap();
    let mut block = vec![0; 4096];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut block, far * 4096).unwrap();
    assert_eq!((file.metadata().unwrap().len(), block), ((far + 1) * 4096, content(ino, far, 4096)));
}

#[test]
fn files_can_be_as_long_as_the_kernels() {
    for block_size in ["1024", "2048", "4096"] {
        let image = Image::new(8 << 10, &["-b", block_size], &["file"]);
        let longest = map::longest(&image.store().geometry);
        let mount = image.mount();
        let file = std::fs::File::options().write(true).open(mount.join("file")).unwrap();
        file.set_len(longest).unwrap();
        assert_eq!(file.set_len(longest + 1).unwrap_err().kind(), std::io::ErrorKind::FileTooLarge, "{block_size}");
        drop((file, mount));
        // What is behind can be neither found nor inserted.
        let (ino, mut store) = (image.inode("file"), image.store());
        let mut handle = store.begin();
        let node = Node::read(&mut handle, ino).unwrap();
        let size: u64 = block_size.parse().unwrap();
        assert!(map::find(&mut handle, &node, longest / size - 1, 1).unwrap().physical.is_none());
        if size == 1024 {
            let error = map::find(&mut handle, &node, longest / size, 1).unwrap_err();
            assert_eq!(error.errno(), nix::errno::Errno::EFBIG);
        }
    }
}
