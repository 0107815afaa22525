//! Images that nobody unmounted: their bytes are taken while the kernel has them mounted and writes to them, as a power cut leaves them.
//!
//! What the layer shows of one copy is what the kernel shows of a second one, whose journal it replays itself, and of a third one, in which
//! e2fsck does.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use condatainer_formats::ext::{FileType, Window};
use condatainer_stack::layer::ext::{ExtLayer, Start};

use crate::kernel::{self, Mounted, format};
use crate::layer;
use crate::seen::{Seen, Tree, compare};
use crate::tool::tool;

/// A name, options of mke2fs, and of the mount.
const KINDS: &[(&str, &[&str], &str)] = &[
    ("as images are made", &["-t", "ext3", "-b", "4096", "-J", "size=4"], "commit=1"),
    ("small blocks", &["-t", "ext3", "-b", "1024", "-J", "size=1"], "commit=1"),
    ("data=journal", &["-t", "ext3", "-b", "1024", "-J", "size=1"], "data=journal,commit=1"),
    (
        "journal_checksum",
        &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^64bit", "-J", "size=1"],
        "journal_checksum,commit=1",
    ),
    (
        "journal_async_commit",
        &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum", "-J", "size=1"],
        "journal_async_commit,data=writeback,commit=1",
    ),
    ("64bit,metadata_csum", &["-t", "ext4", "-b", "1024", "-O", "64bit,metadata_csum", "-J", "size=1"], "commit=1"),
    ("metadata_csum, data=journal", &["-t", "ext4", "-b", "4096", "-J", "size=4"], "data=journal,commit=1"),
    (
        "metadata_csum, async",
        &["-t", "ext4", "-b", "4096", "-J", "size=4"],
        "journal_async_commit,data=writeback,commit=1",
    ),
    ("inline_data", &["-t", "ext4", "-b", "1024", "-O", "inline_data,orphan_file", "-J", "size=1"], "commit=1"),
];

/// Of an image, in bytes, when it is copied.
const PIECE: usize = 16 << 10;
/// Bytes that the journal must not take for its own.
const MAGIC: [u8; 4] = [0xC0, 0x3B, 0x39, 0x98];

/// One of the things that programs do to files, and now and then makes sure that it is on the disk.
fn disturb(root: &Path, dice: &mut fastrand::Rng) {
    let place = |dice: &mut fastrand::Rng| root.join(format!("d{}/e{}", dice.u8(..4), dice.u8(..6)));
    let path = place(dice);
    let _ = fs::create_dir_all(path.parent().unwrap());
    let _ = match dice.u8(..10) {
        0..=2 => {
            // Each block of it looks like one of the journal's.
            let content = [&MAGIC[..], &[dice.u8(..); 508]].concat().repeat(dice.usize(1..160));
            fs::write(&path, content)
        }
        // Many directories, whose blocks are journalled, and that go soon.
        3 => (0..40).try_for_each(|i| fs::create_dir_all(path.join(format!("{i}/below")))),
        4 | 5 => fs::remove_dir_all(&path),
        6 => fs::remove_file(&path),
        7 => fs::rename(&path, place(dice)),
        8 => xattr::set(&path, OsStr::new("user.note"), &[dice.u8(..); 200]),
        _ => OpenOptions::new().write(true).open(&path).and_then(|file| {
            file.write_all_at(&[dice.u8(..); 3000], dice.u64(0..200_000))?;
            file.set_len(dice.u64(0..300_000))
        }),
    };
    if dice.u8(..3) == 0 {
        let _ = File::open(&path).and_then(|file| file.sync_all());
    }
}

/// The bytes of the image at one moment: those that are the same before and after they were read.
fn cut(image: &Path) -> Vec<u8> {
    let mut before = fs::read(image).unwrap();
    loop {
        let after = fs::read(image).unwrap();
        if before == after {
            return after;
        }
        before = after;
    }
}

/// Cuts at so many moments, while somebody writes.
fn cuts(image: &Path, options: &str, moments: usize, seed: u64) -> Vec<Vec<u8>> {
    let mounted = Mounted::new(image, &format!("rw,noatime,{options}"));
    let root = mounted.path().to_owned();
    let enough = AtomicBool::new(false);
    // Whoever has it lets the other wait; the kernel goes on with what it has to write.
    let pen = Mutex::new(());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = fastrand::Rng::with_seed(seed);
            while !enough.load(Ordering::Relaxed) {
                {
                    let _held = pen.lock().unwrap();
                    (0..dice.u8(1..15)).for_each(|_| disturb(&root, &mut dice));
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        let cuts = (0..moments).map(|_| {
            thread::sleep(Duration::from_millis(30));
            let _held = pen.lock().unwrap();
            cut(image)
        });
        let cuts = cuts.collect();
        enough.store(true, Ordering::Relaxed);
        cuts
    })
}

/// A file that was cut off in the middle of being shortened: the kernel and e2fsck free what is behind its end, and the kernel
/// says that it changed it just now.
fn as_before_it_was_shortened(theirs: Tree, ours: &Tree, mounted: SystemTime) -> Tree {
    let mounted = mounted.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    let before = |(path, seen): (Vec<u8>, Seen)| match ours.get(&path) {
        Some(Seen { blocks, times, .. }) if seen.times[1].0 >= mounted => {
            (path, Seen { blocks: *blocks, times: *times, ..seen })
        }
        Some(Seen { blocks, .. }) if seen.kind == FileType::Regular => (path, Seen { blocks: *blocks, ..seen }),
        _ => (path, seen),
    };
    theirs.into_iter().map(before).collect()
}

fn copy(bench: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = bench.join(name);
    let file = File::create(&path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    // Most of it is empty, which need not be written.
    for (number, piece) in bytes.chunks(PIECE).enumerate().filter(|(_, piece)| **piece != [0; PIECE][..piece.len()]) {
        file.write_all_at(piece, (number * PIECE) as u64).unwrap();
    }
    path
}

/// The layer and the kernel agree on an image that nobody unmounted. Returns what they see.
pub fn agree_with_kernel(what: &str, bench: &Path, bytes: &[u8]) -> Tree {
    let first = copy(bench, "ours", bytes);
    let ours = layer::walk(&layer::open(&first, Start::Root));
    assert!(fs::read(&first).unwrap() == bytes, "{what}: the image has changed");
    let second = copy(bench, "the kernel's", bytes);
    let mounted = SystemTime::now();
    drop(Mounted::new(&second, "rw,noatime"));
    let theirs = kernel::walk(Mounted::new(&second, "ro").path());
    compare(&format!("{what}, kernel"), &ours, &as_before_it_was_shortened(theirs, &ours, mounted));
    ours
}

/// So does e2fsck; says whether there was anything to be replayed.
pub fn agree(what: &str, bench: &Path, bytes: &[u8]) -> bool {
    let ours = agree_with_kernel(what, bench, bytes);
    let (third, began) = (copy(bench, "e2fsck's", bytes), SystemTime::now());
    let output = tool("e2fsck").args(["-y", "-E", "journal_only"]).arg(&third).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{what}: {output:?}");
    let mounted = Mounted::new(&third, "ro,noload");
    let theirs = as_before_it_was_shortened(kernel::walk(mounted.path()), &ours, began);
    compare(&format!("{what}, e2fsck"), &ours, &theirs);
    String::from_utf8_lossy(&output.stdout).contains("recovering journal")
}

#[test]
fn a_power_cut_at_any_moment() {
    let bench = kernel::bench();
    for (what, options, mount) in KINDS {
        let image = bench.path().join("image");
        format(&image, options, 24);
        let cuts = cuts(&image, mount, 12, 7);
        let replayed = cuts
            .iter()
            .enumerate()
            .filter(|(number, bytes)| agree(&format!("{what}, moment {number}"), bench.path(), bytes));
        let replayed = replayed.count();
        assert!(replayed >= 9, "{what}: only {replayed} had a journal to be replayed");
    }
}

/// What fuse2fs leaves when it is killed: it writes the bitmaps and the counts at its end only, and uses no journal.
#[test]
fn stale_bitmaps_do_not_matter() {
    let bench = kernel::bench();
    for options in [&["-t", "ext3", "-b", "4096"][..], &["-t", "ext4", "-b", "1024"]] {
        let image = bench.path().join("image");
        format(&image, options, 64);
        let mounted = Mounted::new(&image, "rw,noatime");
        let mut dice = fastrand::Rng::with_seed(3);
        (0..200).for_each(|_| disturb(mounted.path(), &mut dice));
        drop(mounted);
        let theirs = kernel::walk(Mounted::new(&image, "ro").path());
        let text = kernel::ok(tool("dumpe2fs").arg(&image).output().unwrap(), "dumpe2fs");
        let block: u64 = options.last().unwrap().parse().unwrap();
        let file = OpenOptions::new().write(true).open(&image).unwrap();
        let bitmaps = text.lines().flat_map(|line| line.split("itmap at ").skip(1));
        let numbers = bitmaps.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap());
        let numbers: Vec<u64> = numbers.map(|number| number.parse().unwrap()).collect();
        assert!(numbers.len() >= 2);
        numbers.iter().for_each(|number| file.write_all_at(&vec![0; block as usize], number * block).unwrap());
        // Not valid, and an orphan that is none.
        file.write_all_at(&[0, 0], 1024 + 0x3A).unwrap();
        file.write_all_at(&[17, 0, 0, 0], 1024 + 0xE8).unwrap();
        compare("stale", &layer::walk(&layer::open(&image, Start::Root)), &theirs);
    }
}

/// Fast commits are not understood: an image that has some is refused, and read where it has none.
#[test]
fn fast_commits_are_refused() {
    let bench = kernel::bench();
    let image = bench.path().join("image");
    format(&image, &["-t", "ext4", "-b", "1024", "-O", "fast_commit", "-J", "size=4"], 32);
    let mut refused = 0;
    // When the kernel makes one is its own affair; a busy machine may see none for a while.
    let rounds = (0..10).map(|round| cuts(&image, "commit=1", 10, 11 + round));
    let mut moments = rounds.flatten().enumerate();
    while let Some((number, bytes)) = moments.next().filter(|(number, _)| *number < 10 || refused == 0) {
        let path = copy(bench.path(), "ours", &bytes);
        let window = Window::whole(bytes.len() as u64);
        match ExtLayer::open(File::open(&path).unwrap(), window, Start::Root, 1 << 20) {
            Ok(_) => drop(agree_with_kernel(&format!("moment {number}"), bench.path(), &bytes)),
            Err(error) => {
                let why = "uses fast commits that were not replayed, which condatainer does not support";
                assert_eq!(error.to_string(), why);
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "no moment had fast commits");
}

/// A journal that is needed and not there, or elsewhere.
#[test]
fn a_journal_elsewhere_is_refused() {
    let bench = kernel::bench();
    let image = bench.path().join("image");
    format(&image, &["-t", "ext3"], 16);
    for (request, why) in [
        ("feature needs_recovery", None),
        ("ssv journal_inum 0", Some("uses a journal in another file, which condatainer does not support")),
        (
            "feature -has_journal",
            Some("is damaged: it needs a journal that it does not have; try `condatainer overlay check`"),
        ),
    ] {
        kernel::ok(tool("debugfs").args(["-w", "-R", request]).arg(&image).output().unwrap(), request);
        let file = File::open(&image).unwrap();
        let opened = ExtLayer::open(file, Window::whole(16 << 20), Start::Root, 1 << 20);
        assert_eq!(opened.err().map(|error| error.to_string()).as_deref(), why, "{request}");
    }
}
