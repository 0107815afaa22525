//! Blocks and inodes are given away once, together where they belong together, and all that is free can be had.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use condatainer_formats::ext::{Ids, Time};
use condatainer_formats::source::ReadAt;
use nix::errno::Errno;

use crate::alloc;
use crate::device::Device;
use crate::inode::{self, New, Node};
use crate::map;
use crate::store::Store;
use crate::testing::{Image, commit, cut, fill, try_fill};

const DIRECTORY: u16 = 0o040_755;
const FILE: u16 = 0o100_644;

fn make(store: &mut Store, parent: u32, mode: u16) -> crate::Result<u32> {
    let mut handle = store.begin();
    let parent = Node::read(&mut handle, parent)?;
    let time = Time { seconds: 1_700_000_000, nanoseconds: 5 };
    let node = inode::make(&mut handle, &parent, New { mode, ids: Ids { uid: 70_000, gid: 5 }, time })?;
    handle.done();
    Ok(node.ino)
}

fn unmake(store: &mut Store, ino: u32) {
    let mut handle = store.begin();
    let mut node = Node::read(&mut handle, ino).unwrap();
    let was_directory = node.inode().unwrap().i_mode.get() == DIRECTORY;
    node.inode_mut().unwrap().delete(1_700_000_000);
    node.write(&mut handle).unwrap();
    alloc::free_inode(&mut handle, ino, was_directory).unwrap();
    handle.done();
}

/// How many pieces a file lies in.
fn pieces(store: &mut Store, ino: u32, blocks: u64) -> usize {
    let mut handle = store.begin();
    let node = Node::read(&mut handle, ino).unwrap();
    let (mut at, mut pieces) = (0, 0);
    while at < blocks {
        at += map::find(&mut handle, &node, at, blocks).unwrap().blocks;
        pieces += 1;
    }
    pieces
}

#[test]
fn every_block_can_be_had_and_none_twice() {
    for (block_size, kibibytes, in_group) in
        [("1024", 5100, "2048"), ("2048", 10_100, "2048"), ("4096", 20_200, "1024")]
    {
        let image = Image::new(kibibytes, &["-b", block_size, "-g", in_group], &["a", "b"]);
        let (a, b) = (image.inode("a"), image.inode("b"));
        let mut store = image.store();
        for _ in 0..2 {
            let mut at = 0;
            while try_fill(&mut store, a, at, 37).and_then(|()| try_fill(&mut store, b, at, 5)).is_ok() {
                at += 37;
            }
            // What is left is taken one by one; at the end a block of pointers finds no room any more, or all is in use.
            let mut rest = 1 << 16;
            while let Err(error) = try_fill(&mut store, a, rest, 1) {
                assert_eq!(error.errno(), Errno::ENOSPC);
                rest += 1;
                if rest > (1 << 16) + 3 {
                    break;
                }
            }
            commit(&mut store);
            image.assert_sound();
            assert!(image.free().0 <= 3, "{:?}", image.free());
            cut(&mut store, a, 0, 1 << 20);
            let error = try_fill(&mut store, a, 0, 1 << 18).unwrap_err();
            assert_eq!((error.errno(), store.has_pending()), (Errno::ENOSPC, true));
            cut(&mut store, a, 0, 1 << 20);
            cut(&mut store, b, 0, 1 << 20);
            commit(&mut store);
            image.assert_sound();
        }
    }
}

#[test]
fn programs_do_not_get_what_is_reserved_for_root() {
    let image = Image::new(10 << 10, &["-b", "1024", "-m", "10"], &["a"]);
    let (a, mut store) = (image.inode("a"), image.store());
    assert_eq!(try_fill(&mut store, a, 0, 1 << 20).unwrap_err().errno(), Errno::ENOSPC);
    commit(&mut store);
    image.assert_sound();
    assert!((1024..=1026).contains(&image.free().0), "{:?}", image.free());
}

#[test]
fn every_inode_can_be_had_and_none_twice() {
    for (inode_size, block_size) in [("128", "1024"), ("256", "4096")] {
        let image = Image::new(20 << 10, &["-b", block_size, "-I", inode_size, "-N", "600", "-g", "2048"], &[]);
        let (free, mut store) = (image.free(), image.store());
        for mode in [FILE, DIRECTORY] {
            let mut inodes = BTreeSet::new();
            let error = loop {
                match make(&mut store, 2, mode) {
                    Ok(ino) => assert!(ino >= 11 && inodes.insert(ino)),
                    Err(error) => break error,
                }
            };
            assert_eq!((error.errno(), inodes.len() as u64), (Errno::ENOSPC, free.1));
            inodes.iter().for_each(|ino| unmake(&mut store, *ino));
            commit(&mut store);
            image.assert_sound();
            assert_eq!(image.free(), free);
        }
    }
}

/// Nobody needs what a block of the table says of which no inode is in use. Those that are reserved are in use, whatever the bitmap says.
#[test]
fn a_block_of_the_table_without_inodes_in_use_is_not_read() {
    let image = Image::new(8 << 10, &["-b", "1024", "-I", "256"], &[]);
    let place = |store: &Store, ino| store.geometry.inode_place(ino).unwrap().0 * 1024;
    let mut store = image.store();
    let after_the_first = place(&store, 13);
    image.device().write_at(&[0x77; 1024], after_the_first).unwrap();
    assert_eq!([12, 13].map(|ino| make(&mut store, 2, FILE).unwrap() == ino), [true, true]);
    commit(&mut store);
    let mut block = [0; 1024];
    image.device().read_at(&mut block, after_the_first).unwrap();
    assert!(block[..256].contains(&0x81) && block[256..] == [0; 768]);
    drop(store);
    for request in ["freei <9>", "freei <10>", "freei <11>", "freei <12>"] {
        image.spoil(request);
    }
    let mut store = image.store();
    let with_reserved = place(&store, 9);
    image.device().write_at(&[0x77; 512], with_reserved).unwrap();
    assert_eq!(make(&mut store, 2, FILE).unwrap(), 11);
    commit(&mut store);
    image.device().read_at(&mut block, with_reserved).unwrap();
    assert_eq!(block[..512], [0x77; 512]);
}

#[test]
fn a_new_inode_says_what_the_kernel_reads() {
    let image = Image::new(8 << 10, &["-b", "1024", "-I", "256"], &["file"]);
    let mut store = image.store();
    let ino = make(&mut store, 2, FILE).unwrap();
    commit(&mut store);
    let stat = image.debugfs(&format!("stat <{ino}>"));
    for part in [
        "regular",
        "Mode:  0644",
        "User: 70000",
        "Group:     5",
        "Links: 1",
        "crtime: 0x6553f100:00000014",
        "extra inode fields: 32",
    ] {
        assert!(stat.contains(part), "{part}: {stat}");
    }
}

#[test]
fn directories_are_spread_and_files_stay_with_them() {
    let image = Image::new(64 << 10, &["-b", "1024"], &["file"]);
    let mut store = image.store();
    let group = |store: &Store, ino| store.geometry.group_of_inode(ino).0;
    let mut of_group: BTreeMap<usize, usize> = BTreeMap::new();
    for _ in 0..32 {
        let directory = make(&mut store, 2, DIRECTORY).unwrap();
        let home = group(&store, directory);
        *of_group.entry(home).or_default() += 1;
        for mode in [FILE, FILE, DIRECTORY] {
            let ino = make(&mut store, directory, mode).unwrap();
            assert_eq!(group(&store, ino), home);
        }
    }
    // As many in each of the groups, but for one that may have less room than the others.
    assert!(of_group.len() >= 4 && of_group.values().all(|count| *count <= 8), "{of_group:?}");
    let kernel = Image::new(64 << 10, &["-b", "1024"], &[]);
    let mount = kernel.mount();
    let mut kernels: BTreeMap<usize, usize> = BTreeMap::new();
    for number in 0..32 {
        let path = mount.join(number.to_string());
        std::fs::create_dir(&path).unwrap();
        *kernels.entry(group(&store, inode_of(&path))).or_default() += 1;
    }
    assert!(of_group.len() >= kernels.len(), "{of_group:?} {kernels:?}");
}

fn inode_of(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).unwrap().ino() as u32
}

/// Four files that grow at the same time, in pieces of 64 KiB.
#[test]
fn files_that_grow_at_the_same_time_lie_in_as_few_pieces_as_the_kernels() {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    let names = ["a", "b", "c", "d"];
    let image = Image::new(128 << 10, &["-b", "4096"], &names);
    let kernel = Image::new(128 << 10, &["-b", "4096"], &names);
    let inodes = names.map(|name| image.inode(name));
    let mut store = image.store();
    for piece in 0..200 {
        inodes.iter().for_each(|ino| fill(&mut store, *ino, piece * 16, 16));
    }
    let mount = kernel.mount();
    let files = names.map(|name| File::options().write(true).open(mount.join(name)).unwrap());
    for piece in 0..200 {
        files.iter().for_each(|file| file.write_all_at(&[7; 65536], piece * 65536).unwrap());
    }
    drop((files, mount));
    let ours: usize = inodes.iter().map(|ino| pieces(&mut store, *ino, 3200)).sum();
    let mut others = kernel.store();
    let theirs: usize = names.iter().map(|name| pieces(&mut others, kernel.inode(name), 3200)).sum();
    eprintln!("pieces: ours {ours}, the kernel's {theirs}");
    assert!(ours <= theirs.max(40), "{ours} {theirs}");
}

#[test]
fn small_files_fill_their_groups_without_gaps() {
    let names: Vec<String> = (0..100).map(|number| format!("f{number:02}")).collect();
    let image = Image::new(32 << 10, &["-b", "1024"], &names.iter().map(String::as_str).collect::<Vec<_>>());
    let inodes: Vec<u32> = names.iter().map(|name| image.inode(name)).collect();
    let mut store = image.store();
    let mut blocks = BTreeSet::new();
    for ino in inodes {
        fill(&mut store, ino, 0, 2);
        let mut handle = store.begin();
        let node = Node::read(&mut handle, ino).unwrap();
        let run = map::find(&mut handle, &node, 0, 2).unwrap();
        blocks.extend(run.physical.unwrap()..run.physical.unwrap() + run.blocks);
    }
    assert_eq!(blocks.len(), 200);
    assert!(blocks.last().unwrap() - blocks.first().unwrap() < 250, "{blocks:?}");
}
