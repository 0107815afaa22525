//! Journals written by debugfs, block by block: each kind of checksum, narrow and wide block numbers, revoked and escaped blocks, a torn
//! last transaction; and what becomes of them when a byte is wrong. The kernel says what counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use condatainer_formats::ext::Window;
use condatainer_stack::layer::ext::{ExtLayer, Start};
use condatainer_stack::layer::{Entry, Layer};

use crate::dirty::{agree, agree_with_kernel};
use crate::kernel::{self, Mounted, format, ok};
use crate::layer;
use crate::seen::compare;
use crate::tool::tool;

const BLOCK: usize = 1024;

/// An image with a file of eight blocks, whose numbers are told.
fn image(bench: &Path, wide: bool, checksums: &str) -> (PathBuf, Vec<u64>) {
    let image = bench.join("image");
    // Each block of the journal has a checksum where the file system's own metadata have.
    let of_blocks = checksums.ends_with('2') || checksums.ends_with('3');
    let features = [if of_blocks { "" } else { "^" }, "metadata_csum,", if wide { "" } else { "^" }, "64bit"].concat();
    format(&image, &["-t", "ext4", "-b", "1024", "-O", &features, "-J", "size=1"], 16);
    let mounted = Mounted::new(&image, "rw");
    fs::write(mounted.path().join("target"), [b'0'; 8 * BLOCK]).unwrap();
    drop(mounted);
    let blocks = ok(tool("debugfs").args(["-R", "blocks /target"]).arg(&image).output().unwrap(), "blocks");
    (image, blocks.split_whitespace().map(|number| number.parse().unwrap()).collect())
}

/// debugfs gives a transaction that only revokes a wrong checksum of the first kind, which everybody refuses.
fn can_revoke(checksums: &str) -> bool {
    !checksums.ends_with('1')
}

/// Some transactions, the last of which has no commit block.
fn write_journal(image: &Path, blocks: &[u64], checksums: &str) {
    let bench = image.parent().unwrap();
    let content = |name: &str, bytes: &[u8]| {
        let path = bench.join(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let a = content("a", &[b'a'; 2 * BLOCK]);
    let b = content("b", &[b'b'; 2 * BLOCK]);
    let magic = content("magic", &[&[0xC0, 0x3B, 0x39, 0x98][..], &[b'm'; BLOCK - 4]].concat().repeat(2));
    let [zero, one, two, three, four, ..] = blocks else { panic!("{blocks:?}") };
    let revoked = if can_revoke(checksums) { format!("jw -r {one},{two},{four}") } else { String::new() };
    let script = [
        format!("jo {checksums}"),
        format!("jw -b {zero},{one} {a}"),
        format!("jw -b {two},{three} {a}"),
        // debugfs writes no commit block where a transaction both writes and revokes.
        format!("jw -b {zero},{four} {b}"),
        revoked,
        format!("jw -b {two},{three} {magic}"),
        format!("jw -c -b {zero} {magic}"),
        "jc".into(),
    ];
    let path = bench.join("script");
    fs::write(&path, script.join("\n") + "\n").unwrap();
    ok(tool("debugfs").arg("-w").arg("-f").arg(path).arg(image).output().unwrap(), "debugfs");
}

/// A letter of each block of the file.
fn letters(image: &Path) -> String {
    let layer = layer::open(image, Start::Root);
    let mut target = None;
    let mut visit = |entry: Entry<'_>| {
        target = target.or((entry.name == b"target").then_some(entry.key));
        true
    };
    layer.entries(layer.root(), &mut visit).unwrap();
    let mut content = [0; 8 * BLOCK];
    layer.read(target.unwrap(), 0, &mut content).unwrap();
    content.chunks(BLOCK).map(|block| char::from(block[9])).collect()
}

#[test]
fn every_kind_of_journal() {
    let bench = kernel::bench();
    for wide in [false, true] {
        for checksums in ["", "-c -v 1", "-c -v 2", "-c -v 3"] {
            let what = format!("wide {wide}, checksums {checksums}");
            let (image, blocks) = image(bench.path(), wide, checksums);
            write_journal(&image, &blocks, checksums);
            assert!(agree(&what, bench.path(), &fs::read(&image).unwrap()), "{what}: nothing was replayed");
            let expected = if can_revoke(checksums) { "b0mm0000" } else { "bammb000" };
            assert_eq!(letters(&image), expected, "{what}");
        }
    }
}

/// In a SIF the file system, and its journal, lie somewhere in a file.
#[test]
fn a_journal_behind_something_else() {
    let bench = kernel::bench();
    let (image, blocks) = image(bench.path(), true, "-c -v 3");
    write_journal(&image, &blocks, "-c -v 3");
    let expected = layer::walk(&layer::open(&image, Start::Root));
    let bytes = fs::read(&image).unwrap();
    let whole = bench.path().join("a.sif");
    fs::write(&whole, [&[7; 12_345][..], &bytes, &[8; 5000]].concat()).unwrap();
    let window = Window { offset: 12_345, size: bytes.len() as u64 };
    let file = fs::File::open(&whole).unwrap();
    let layer = ExtLayer::open(file, window, Start::Root, 1 << 20).unwrap();
    compare("behind something else", &layer::walk(&layer), &expected);
}

fn can_mount(image: &Path) -> bool {
    let at = tempfile::tempdir().unwrap();
    let mut command = Command::new("mount");
    command.args(["-o", "loop,rw,noatime"]).arg(image).arg(at.path());
    let mounted = command.output().unwrap().status.success();
    if mounted {
        ok(Command::new("umount").arg(at.path()).output().unwrap(), "umount");
    }
    mounted
}

/// What the kernel takes we take (e2fsck is older here, and knows one thing less about commit blocks), and see the same; what it refuses we refuse.
#[test]
fn one_wrong_byte() {
    let bench = kernel::bench();
    let mut refused = 0;
    for checksums in ["", "-c -v 1", "-c -v 3"] {
        let (image, blocks) = image(bench.path(), true, checksums);
        write_journal(&image, &blocks, checksums);
        let whole = fs::read(&image).unwrap();
        let start = ok(tool("debugfs").args(["-R", "blocks <8>"]).arg(&image).output().unwrap(), "blocks");
        let start = start.split_whitespace().next().unwrap().parse::<usize>().unwrap() * BLOCK;
        let mut dice = fastrand::Rng::with_seed(5);
        for number in 0..40 {
            let mut bytes = whole.clone();
            // In the journal's superblock, or in one of the first blocks behind it, most often near its start.
            let block = dice.usize(0..18);
            let at = start + block * BLOCK + if dice.bool() { dice.usize(0..BLOCK) } else { dice.usize(0..90) };
            bytes[at] ^= 1 << dice.u8(..8);
            let what = format!("{checksums}: number {number}, block {block}, byte {}", at % BLOCK);
            fs::write(&image, &bytes).unwrap();
            let file = fs::File::open(&image).unwrap();
            let opened = ExtLayer::open(file, Window::whole(bytes.len() as u64), Start::Root, 1 << 20);
            let taken = can_mount(&image);
            assert_eq!(opened.as_ref().err().map(ToString::to_string).is_none(), taken, "{what}: {:?}", opened.err());
            if taken {
                agree_with_kernel(&what, bench.path(), &bytes);
            } else {
                refused += 1;
            }
        }
    }
    assert!(refused > 5, "only {refused} were refused");
}
