//! Images made to keep a reader busy or to fill its memory: what they can make us read is bounded by their size.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use condatainer_formats::ext::{Ids, ReadAt, Tree, Window, probe};
use condatainer_images::overlay::whiteout::scan;
use condatainer_images::system::user::Caller;
use condatainer_images::verbs::check::{self, Code, Fix};
use condatainer_images::verbs::chown::{Request, chown, preview};
use support::{Bench, Mounted, debugfs, debugfs_script, debugfs_write, whole};

/// A file that counts what is read of it.
struct Counted {
    file: File,
    read: AtomicU64,
}

impl Counted {
    fn open(image: &Path) -> (Self, Window) {
        (Self { file: File::open(image).unwrap(), read: AtomicU64::new(0) }, whole(image))
    }
}

impl ReadAt for Counted {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.file.read_at(buf, offset)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// The search for whiteouts, and chown's walk, end with this word after having each read no more than twice the image.
fn both_end(image: &Path, why: &str) {
    let (reader, window) = Counted::open(image);
    let tree = Tree::open(&reader, window).unwrap();
    let searched = scan(&tree, None).unwrap_err().to_string();
    let walk = Request { paths: vec!["/".into()], ..Request::new(Ids { uid: 5, gid: 6 }, Ids::ROOT) };
    let walked = preview(image, &reader, window, &walk).unwrap_err().to_string();
    assert!(searched.contains(why) && walked.contains(why), "{searched}\n{walked}");
    assert!(reader.read.load(Ordering::Relaxed) <= 4 * window.size, "{} bytes", reader.read.load(Ordering::Relaxed));
}

fn first_block(image: &Path, path: &str) -> u32 {
    debugfs(image, &format!("blocks {path}")).split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_directory_of_one_block_a_thousand_million_times() {
    let bench = Bench::new();
    let image = bench.image("env.img", &["-t", "ext3", "-b", "4096", "-O", "^dir_index"], 16);
    let block = first_block(&image, "/upper");
    // Three free blocks become indirect blocks: full of the directory's own block, of the first of them, of the second.
    let [one, two, three] = [2000_u32, 2001, 2002];
    let mut bytes = fs::read(&image).unwrap();
    for (at, pointer) in [(one, block), (two, one), (three, two)] {
        let at = at as usize * 4096;
        bytes[at..at + 4096].copy_from_slice(&pointer.to_le_bytes().repeat(1024));
    }
    fs::write(&image, bytes).unwrap();
    let direct: String = (1..12).map(|i| format!("sif /upper block[{i}] {block}\n")).collect();
    debugfs_script(
        &image,
        &format!(
            "{direct}sif /upper block[IND] {one}\nsif /upper block[DIND] {two}\nsif /upper block[TIND] {three}\nsif /upper size 4096000\n"
        ),
    );
    both_end(&image, "a directory has the same block twice");
    e2fsck_is_not_asked(&image);
}

/// It would follow each pointer to its end: a check, a repair and the start of a writer all ask our own reader first.
fn e2fsck_is_not_asked(image: &Path) {
    for (fix, state) in [(Fix::No, 1), (Fix::Safe, 0), (Fix::Force, 0)] {
        debugfs_write(image, &format!("ssv state {state}"));
        let request = check::Request { fix, caller: root() };
        let why = check::check(image, &request, &mut |_, _| {}).unwrap_err().to_string();
        assert!(why.contains("its files claim the same blocks over and over again"), "{why}");
    }
    let user = Ids { uid: 5, gid: 6 };
    let request = Request { replay: true, ..Request::new(user, user) };
    let why = chown(image, &request, &mut |_, _| {}).unwrap_err().to_string();
    assert!(why.contains("its files claim the same blocks over and over again"), "{why}");
}

/// Room that was only reserved is written down with a length above 32768, of which just the rest is taken.
#[test]
fn reserved_room_does_not_go_on_without_end() {
    let bench = Bench::new();
    let image = bench.image("env.img", &["-t", "ext4", "-b", "4096", "-O", "has_journal"], 16);
    let mounted = Mounted::new(&image, "rw");
    // Many files, so that there are many extents.
    for i in 0..16 {
        let path = mounted.at.path().join(format!("upper/reserved-{i}"));
        let done = Command::new("fallocate").args(["-l", "65536"]).arg(path).status().unwrap();
        assert!(done.success());
    }
    drop(mounted);
    let extents = debugfs(&image, "dump_extents /upper/reserved-0");
    assert!(extents.contains("Uninit"), "{extents}");
    debugfs_write(&image, "ssv state 0");
    let request = check::Request { fix: Fix::Safe, caller: root() };
    let report = check::check(&image, &request, &mut |_, _| {}).unwrap();
    assert!(report.findings.iter().any(|finding| finding.code == Code::NotClean && finding.fixed), "{report:?}");
}

fn root() -> Caller {
    Caller { uid: 0, gid: 0, name: "root".into(), home: None, shell: None, has_subids: false }
}

#[test]
fn directories_that_share_all_their_blocks() {
    let bench = Bench::new();
    let tree = bench.tree();
    for i in 0..300 {
        fs::create_dir(tree.join(format!("upper/{i}-{}", "x".repeat(100)))).unwrap();
    }
    let image = bench.image_of("env.img", &["-t", "ext3", "-b", "1024", "-N", "512", "-O", "^dir_index"], 4, &tree);
    // Each of them becomes the one large directory that upper is, but for its number.
    let copies: String = (0..300).map(|i| format!("copy_inode /upper /upper/{i}-{}\n", "x".repeat(100))).collect();
    debugfs_script(&image, &copies);
    both_end(&image, "its files claim more blocks than there are");
}

#[test]
fn files_that_share_all_their_blocks() {
    let bench = Bench::new();
    let tree = bench.tree();
    fs::write(tree.join("upper/large"), vec![7; 12 << 20]).unwrap();
    fs::write(tree.join("upper/second"), "small").unwrap();
    for kind in ["ext3", "ext4"] {
        let image = bench.image_of("env.img", &["-t", kind], 16, &tree);
        debugfs_write(&image, "copy_inode /upper/large /upper/second");
        let (reader, window) = Counted::open(&image);
        let tree = Tree::open(&reader, window).unwrap();
        let upper = tree.upper().unwrap();
        let read = |name: &[u8]| {
            let node = tree.node(tree.child(&upper, name).unwrap().unwrap()).unwrap();
            tree.open_file(&node).map(|mut content| content.read_to_end(&mut Vec::new()).unwrap())
        };
        // The same file again is no new claim.
        assert_eq!((read(b"large").unwrap(), read(b"large").unwrap()), (12 << 20, 12 << 20), "{kind}");
        let error = read(b"second").unwrap_err().to_string();
        assert!(error.contains("its files claim more blocks than there are"), "{kind}: {error}");
    }
}

#[test]
fn a_file_longer_than_any_file_can_be() {
    let bench = Bench::new();
    for kind in ["ext3", "ext4"] {
        let image = bench.image("env.img", &["-t", kind], 16);
        debugfs_write(&image, "sif /upper/ext3/env/bin/python size 0x7fffffffffffffff");
        let (reader, window) = Counted::open(&image);
        let tree = Tree::open(&reader, window).unwrap();
        let mut node = tree.node(2).unwrap();
        for name in ["upper", "ext3", "env", "bin", "python"] {
            node = tree.node(tree.child(&node, name.as_bytes()).unwrap().unwrap()).unwrap();
        }
        let error = tree.extents(&node).unwrap_err().to_string();
        assert!(error.contains("longer than any file can be"), "{kind}: {error}");
    }
}

#[test]
fn attributes_without_end() {
    let bench = Bench::new();
    let image = bench.image("env.img", &["-t", "ext4", "-b", "4096", "-O", "ea_inode"], 48);
    let mounted = Mounted::new(&image, "rw");
    for i in 0..20_u8 {
        xattr::set(mounted.at.path().join("upper"), format!("user.large-{i}"), &[i; 60_000]).unwrap();
    }
    drop(mounted);
    let (reader, window) = Counted::open(&image);
    let tree = Tree::open(&reader, window).unwrap();
    let upper = tree.upper().unwrap();
    let error = tree.xattrs(&upper).map(|all| all.len()).unwrap_err().to_string();
    assert!(error.contains("more than 1 MiB of extended attributes"), "{error}");
    assert!(reader.read.load(Ordering::Relaxed) < 2 << 20, "{} bytes", reader.read.load(Ordering::Relaxed));
}

#[test]
fn groups_and_inodes_without_end() {
    let bench = Bench::new();
    let image = bench.image("env.img", &["-t", "ext3", "-b", "4096"], 16);
    let bytes = fs::read(&image).unwrap();
    let with = |changes: &[(usize, u32)]| {
        let mut bytes = bytes.clone();
        for (at, value) in changes {
            bytes[1024 + at..1024 + at + 4].copy_from_slice(&value.to_le_bytes());
        }
        probe(&bytes, Window::whole(bytes.len() as u64)).unwrap_err().to_string()
    };
    // 4096 blocks, and so 4096 groups of one block with 8 inodes each.
    let message = with(&[(0x20, 1), (0x28, 8), (0x0, 8 * 4096)]);
    assert!(message.contains("blocks per group are impossible"), "{message}");
    // One group with 32768 inodes of 4 KiB: eight times the image.
    let message = with(&[(0x28, 32768), (0x0, 32768), (0x58, 4096)]);
    assert!(message.contains("more inodes than the file system has room for"), "{message}");
}
