//! Whole trees read from an image, with the kernel's own mount as the oracle: names, inodes, attributes, contents.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use condatainer_formats::ext::{FileType, Ids, Node, Tree};
use condatainer_images::overlay::whiteout;
use support::{Bench, GEOMETRIES, Mounted, debugfs_script, debugfs_write, populate, rich_tree, whole};

const OWNER: Ids = Ids { uid: 70_000, gid: 1_234_567 };

/// Bytes of a file that are kept, or are all zero, together.
const PIECE: usize = 64 << 10;

/// What both sides say about one name.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    ino: u64,
    kind: FileType,
    mode: u16,
    ids: (u32, u32),
    links: u64,
    mtime: (i64, i64),
    device: u64,
    content: Content,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What is in a file, or where a link leads: how long it is, and what is not zero.
#[derive(Debug, Default, PartialEq, Eq)]
struct Content {
    size: u64,
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Content {
    fn of(mut source: impl Read) -> Self {
        let mut content = Self::default();
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let length = source.by_ref().take(PIECE as u64).read_to_end(&mut piece).unwrap();
            if length == 0 {
                return content;
            }
            if piece[..] != [0; PIECE][..length] {
                content.pieces.push((content.size, piece));
            }
            content.size += length as u64;
        }
    }
}

fn by_the_kernel(root: &Path, at: &Path, all: &mut BTreeMap<Vec<u8>, Seen>) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = match meta.mode() & 0o170_000 {
            0o100_000 => Content::of(File::open(&path).unwrap()),
            0o120_000 => Content::of(fs::read_link(&path).unwrap().as_os_str().as_bytes()),
            _ => Content::default(),
        };
        let seen = Seen {
            ino: meta.ino(),
            kind: FileType::from_mode(meta.mode() as u16),
            mode: (meta.mode() & 0o7777) as u16,
            ids: (meta.uid(), meta.gid()),
            links: meta.nlink(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            device: meta.rdev(),
            content,
            xattrs: xattrs_by_getfattr(&path),
        };
        all.insert(path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec(), seen);
        if meta.is_dir() {
            by_the_kernel(root, &path, all);
        }
    }
}

/// Access control lists are left out: the kernel shows them in another form than the disk has.
fn xattrs_by_getfattr(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found: Vec<_> = xattr::list(path)
        .unwrap()
        .filter(|name| !name.as_bytes().starts_with(b"system.posix_acl") && name != OsStr::new("system.data"))
        .map(|name| (name.as_bytes().to_vec(), xattr::get(path, &name).unwrap().unwrap()))
        .collect();
    found.sort();
    found
}

fn by_us(tree: &Tree<'_>, directory: &Node, prefix: &[u8], all: &mut BTreeMap<Vec<u8>, Seen>) {
    for name in tree.names(directory).unwrap() {
        let node = tree.node(name.ino).unwrap();
        let path = [prefix, if prefix.is_empty() { b"" } else { b"/" }, &name.name].concat();
        all.insert(path.clone(), ours(tree, &node));
        if node.kind == FileType::Directory {
            by_us(tree, &node, &path, all);
        }
    }
}

fn ours(tree: &Tree<'_>, node: &Node) -> Seen {
    let content = match node.kind {
        FileType::Regular => Content::of(tree.open_file(node).unwrap()),
        FileType::Symlink => Content::of(&tree.target(node).unwrap()[..]),
        _ => Content::default(),
    };
    let attributes = tree.xattrs(node).unwrap().into_iter().filter(|xattr| !xattr.is_acl());
    Seen {
        ino: node.ino.into(),
        kind: node.kind,
        mode: node.mode,
        ids: (node.ids.uid, node.ids.gid),
        links: node.links.into(),
        mtime: (node.mtime, node.mtime_nanoseconds.into()),
        device: nix::sys::stat::makedev(node.device.0.into(), node.device.1.into()),
        content,
        xattrs: attributes.map(|xattr| (xattr.name, xattr.value)).collect(),
    }
}

/// Files whose blocks are laid out in every way: direct, one to three levels of indirection, holes in between and at the end.
fn laid_out_in_every_way(upper: &Path) {
    fs::write(upper.join("one-block"), "x".repeat(100)).unwrap();
    fs::write(upper.join("twelve-and-one"), vec![7; 12 * 4096 + 1]).unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i / 1000) as u8).collect();
    fs::write(upper.join("three-megabytes"), bytes).unwrap();
    let sparse = File::create(upper.join("sparse")).unwrap();
    for megabyte in [0, 1, 9, 70] {
        sparse.write_all_at(b"not a hole", (megabyte << 20) + 3).unwrap();
    }
    sparse.set_len(80 << 20).unwrap();
}

#[test]
fn every_geometry_reads_as_the_kernel_reads_it() {
    for (name, options) in GEOMETRIES {
        let bench = Bench::new();
        let source = bench.path("rich");
        rich_tree(&source);
        laid_out_in_every_way(&source.join("upper"));
        let image = bench.image_of("image", options, 64, &source);
        populate(&image, OWNER);
        debugfs_script(&image, "ea_set /upper/plain user.second-of-them also\nsif /upper/plain mtime @0x17fffffff\n");
        let mut expected = BTreeMap::new();
        // Without noload the mount itself would replay and change things.
        let mounted = Mounted::new(&image, "ro");
        by_the_kernel(mounted.at.path(), mounted.at.path(), &mut expected);
        let file = File::open(&image).unwrap();
        let tree = Tree::open(&file, whole(&image)).unwrap();
        let mut found = BTreeMap::new();
        by_us(&tree, &tree.node(2).unwrap(), b"", &mut found);
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{name}");
        for (path, seen) in &found {
            assert_eq!(Some(seen), expected.get(path), "{name}: {}", String::from_utf8_lossy(path));
        }
    }
}

/// The blocks that count as a link's may be those of its attributes, in a block or in an inode of their own.
#[test]
fn links_with_attributes_lead_where_the_kernel_says() {
    let large = vec![7; 30_000];
    for (options, value) in [
        (&["-t", "ext3"][..], &large[..900]),
        (&["-t", "ext4", "-O", "ea_inode"], &large),
        (&["-t", "ext4", "-O", "bigalloc", "-C", "65536"], &large[..900]),
    ] {
        let bench = Bench::new();
        let source = bench.tree();
        for length in [1, 59, 60, 300] {
            std::os::unix::fs::symlink("t".repeat(length), source.join(format!("upper/link-{length}"))).unwrap();
        }
        let image = bench.image_of("image", options, 64, &source);
        let mut expected = BTreeMap::new();
        let mounted = Mounted::new(&image, "rw");
        for length in [1, 59, 60, 300] {
            xattr::set(mounted.at.path().join(format!("upper/link-{length}")), "trusted.large", value).unwrap();
        }
        by_the_kernel(mounted.at.path(), mounted.at.path(), &mut expected);
        drop(mounted);
        let file = File::open(&image).unwrap();
        let tree = Tree::open(&file, whole(&image)).unwrap();
        let mut found = BTreeMap::new();
        by_us(&tree, &tree.node(2).unwrap(), b"", &mut found);
        assert!(found == expected, "{options:?}");
    }
}

#[test]
fn holes_are_known() {
    let bench = Bench::new();
    let source = bench.tree();
    laid_out_in_every_way(&source.join("upper"));
    for options in [&["-t", "ext3", "-b", "4096"][..], &["-t", "ext4", "-b", "4096"]] {
        let image = bench.image_of("image", options, 64, &source);
        let file = File::open(&image).unwrap();
        let tree = Tree::open(&file, whole(&image)).unwrap();
        let upper = tree.upper().unwrap();
        let sparse = tree.node(tree.child(&upper, b"sparse").unwrap().unwrap()).unwrap();
        let extents = tree.extents(&sparse).unwrap();
        assert_eq!(extents.iter().map(|e| e.offset >> 20).collect::<Vec<_>>(), [0, 1, 9, 70], "{options:?}");
        assert_eq!(extents.iter().map(|e| e.length).sum::<u64>(), 4 * 4096);
    }
}

#[test]
fn an_upper_that_is_no_directory_is_named_as_such() {
    let bench = Bench::new();
    let empty = bench.path("empty");
    fs::create_dir(&empty).unwrap();
    let image = bench.image_of("odd.img", &["-t", "ext3"], 16, &empty);
    let why = || {
        let file = File::open(&image).unwrap();
        let tree = Tree::open(&file, whole(&image)).unwrap();
        let searched = whiteout::scan(&tree, None).map(drop).unwrap_err().to_string();
        assert_eq!(searched, tree.upper().unwrap_err().to_string());
        searched
    };
    assert_eq!(why(), "uses a layout without a directory upper/, which condatainer does not support");
    debugfs_write(&image, "symlink upper lost+found");
    assert_eq!(why(), "uses a layout in which upper is a symbolic link, which condatainer does not support");
}
