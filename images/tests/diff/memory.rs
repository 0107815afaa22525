//! Small layers made to fill the memory of whoever looks at them. A packed directory of millions of names takes next to nothing in
//! an image, so what may be kept of one is bounded.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use condatainer_images::image;
use condatainer_images::overlay::lower::Lower;
use condatainer_images::verbs::diff::diff;
use peak_alloc::PeakAlloc;
use support::Bench;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What reading any layer may take, in bytes.
const MOST: usize = 96 << 20;
/// So many names of a directory are read.
const NAMES: u32 = 500_000;
/// So many deletions are told.
const DELETED: u32 = 250_000;

/// Metadata blocks of 8 KiB, stored as they are; a real attack packs them, a thousand to one.
fn metadata(content: &[u8]) -> Vec<u8> {
    let block = |piece: &[u8]| [&(0x8000 | piece.len() as u16).to_le_bytes(), piece].concat();
    content.chunks(8192).flat_map(block).collect()
}

/// An extended directory of which the list takes `length` bytes and begins at `at`, both in bytes of content.
fn directory(number: u32, at: usize, length: usize, xattr: u32) -> Vec<u8> {
    let place = (at / 8192 * 8194) as u32;
    let mut raw = [8_u16, 0o755, 0, 0].map(u16::to_le_bytes).concat();
    raw.extend([0, number, 2, (length + 3) as u32, place, 1].map(u32::to_le_bytes).concat());
    raw.extend([0_u16, (at % 8192) as u16].map(u16::to_le_bytes).concat());
    raw.extend(xattr.to_le_bytes());
    raw
}

/// Names in runs of 256 at most, each of which leads to the inode at `place`.
fn list(mut names: &mut dyn Iterator<Item = String>, place: u16, kind: u16) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let run: Vec<String> = (&mut names).take(256).collect();
        if run.is_empty() {
            return all;
        }
        all.extend([run.len() as u32 - 1, 0, 1].map(u32::to_le_bytes).concat());
        for name in run {
            all.extend([place, 0, kind, name.len() as u16 - 1].map(u16::to_le_bytes).concat());
            all.extend(name.as_bytes());
        }
    }
}

/// A squashfs with the directories `d` and `e`, in both of which all of `names` are empty files, and perhaps a list of attributes.
fn squashfs(names: &mut dyn Iterator<Item = String>, attributes: Option<(u32, &[u8])>) -> Vec<u8> {
    let xattr = if attributes.is_some() { 0 } else { u32::MAX };
    let top = list(&mut ["d", "e"].into_iter().map(String::from), 40, 1);
    let inner = list(names, 80, 2);
    let root = directory(1, 0, top.len(), xattr);
    let mut file = [2_u16, 0o644, 0, 0].map(u16::to_le_bytes).concat();
    file.extend([0, 3, 0, u32::MAX, 0, 0].map(u32::to_le_bytes).concat());
    image_of(&[root, directory(2, top.len(), inner.len(), xattr), file].concat(), &[top, inner].concat(), attributes)
}

/// A squashfs with a directory `d`, in which all names are directories of their own, and empty.
fn squashfs_of_directories(count: usize) -> Vec<u8> {
    const INODE: usize = 40;
    let top = list(&mut std::iter::once("d".to_owned()), INODE as u16, 1);
    let mut inner = Vec::new();
    let (mut inodes, empty) = (Vec::new(), directory(3, 0, 0, u32::MAX));
    assert_eq!(empty.len(), INODE);
    let place = |number: usize| ((number + 2) * INODE / 8192 * 8194, (number + 2) * INODE % 8192);
    let mut number = 0;
    while number < count {
        // A run shares the block of its inodes.
        let block = place(number).0;
        let run: Vec<usize> = (number..count).take_while(|one| place(*one).0 == block).collect();
        inner.extend([run.len() as u32 - 1, block as u32, 1].map(u32::to_le_bytes).concat());
        for one in &run {
            let name = format!("{one:x}");
            inner.extend([place(*one).1 as u16, 0, 1, name.len() as u16 - 1].map(u16::to_le_bytes).concat());
            inner.extend(name.as_bytes());
            inodes.extend(&empty);
        }
        number += run.len();
    }
    let first = [directory(1, 0, top.len(), u32::MAX), directory(2, top.len(), inner.len(), u32::MAX)].concat();
    image_of(&[first, inodes].concat(), &[top, inner].concat(), None)
}

/// A squashfs of these inodes, the first of which is the root's, and lists of names.
fn image_of(inodes: &[u8], directories: &[u8], attributes: Option<(u32, &[u8])>) -> Vec<u8> {
    let (inodes, directories) = (metadata(inodes), metadata(directories));
    let mut image = vec![0; 96];
    let mut put = |bytes: &[u8]| {
        image.extend(bytes);
        (image.len() - bytes.len()) as u64
    };
    let (inode_table, directory_table) = (put(&inodes), put(&directories));
    let ids = put(&metadata(&[0; 4]));
    let id_table = put(&ids.to_le_bytes());
    let xattr_table = attributes.map_or(u64::MAX, |(count, values)| {
        let lists = put(&metadata(values));
        let record = [&0_u64.to_le_bytes()[..], &count.to_le_bytes(), &(values.len() as u32).to_le_bytes()].concat();
        let records = put(&metadata(&record));
        put(&[&lists.to_le_bytes()[..], &1_u32.to_le_bytes(), &[0; 4], &records.to_le_bytes()].concat())
    });
    let used = image.len() as u64;
    let words = [used, id_table, xattr_table, inode_table, directory_table, u64::MAX, u64::MAX];
    image[..4].copy_from_slice(b"hsqs");
    image[4..8].copy_from_slice(&3_u32.to_le_bytes());
    image[12..16].copy_from_slice(&131_072_u32.to_le_bytes());
    image[20..32].copy_from_slice(&[1, 0, 17, 0, 0, 0, 1, 0, 4, 0, 0, 0]);
    image[40..96].copy_from_slice(&words.map(u64::to_le_bytes).concat());
    image
}

fn short_names(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|i| format!("{i:x}"))
}

/// An image that hides all that is in these directories below it, and has itself a file in place of `removed`.
fn hiding(bench: &Bench, name: &str, opaque: &[&str], removed: &[&str]) -> PathBuf {
    let source = bench.path(&format!("source-{name}"));
    fs::create_dir_all(source.join("upper")).unwrap();
    fs::create_dir_all(source.join("work")).unwrap();
    for directory in opaque {
        fs::create_dir(source.join("upper").join(directory)).unwrap();
        xattr::set(source.join("upper").join(directory), "user.overlay.opaque", b"y").unwrap();
    }
    removed.iter().for_each(|name| fs::write(source.join("upper").join(name), "").unwrap());
    bench.image_of(name, &["-t", "ext3"], 16, &source)
}

/// How many changes are told, or why none are; and the memory that it took.
fn told(image: &Path, layer: &Path) -> (Result<usize, String>, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let told = Lower::open(&[layer.to_owned()]).map_err(|error| error.to_string()).and_then(|lower| {
        let changes = diff(&image::open(image).unwrap(), &lower).map_err(|error| error.to_string())?;
        Ok(changes.entries.len())
    });
    (told, MEMORY.peak_usage().saturating_sub(before))
}

/// One test, because they share the count of the memory.
#[test]
fn no_layer_fills_the_memory() {
    let bench = Bench::new();
    let layer = bench.path("layer.sqf");
    let one = hiding(&bench, "one.img", &["d"], &[]);
    let both = hiding(&bench, "both.img", &["d", "e"], &[]);
    let gone = hiding(&bench, "gone.img", &[], &["d"]);
    let mut peaks = Vec::new();
    let mut look = |image: &Path, bytes: Vec<u8>| {
        fs::write(&layer, bytes).unwrap();
        let (told, peak) = told(image, &layer);
        peaks.push(peak);
        told
    };
    assert_eq!(look(&one, squashfs(&mut short_names(1000), None)), Ok(1000));
    // Names that are each told, at the limit and behind it; in one directory, and in two that share their list.
    assert_eq!(look(&one, squashfs(&mut short_names(DELETED), None)), Ok(DELETED as usize));
    assert_eq!(look(&both, squashfs(&mut short_names(DELETED / 2), None)), Ok(DELETED as usize));
    let refused = |told: Result<usize, String>, why: &str| {
        assert!(
            told.as_ref().is_err_and(|error| error.contains(why) && error.contains("leave this layer out")),
            "{told:?}"
        );
    };
    for (image, names) in [(&one, DELETED + 1), (&both, DELETED / 2 + 1), (&one, NAMES)] {
        refused(look(image, squashfs(&mut short_names(names), None)), "deletes more than 250000 names");
    }
    let mut long = (0..125_000).map(|i| format!("{i:0240}"));
    refused(look(&one, squashfs(&mut long, None)), "or very long ones");
    // Names that are only counted.
    assert_eq!(look(&gone, squashfs(&mut short_names(NAMES), None)), Ok(1));
    assert_eq!(look(&gone, squashfs_of_directories(NAMES as usize)), Ok(1));
    refused(look(&gone, squashfs(&mut short_names(NAMES + 512), None)), "more names than");
    refused(look(&one, squashfs(&mut (0..NAMES + 512).map(|i| format!(".wh.{i:x}")), None)), "more names than");
    refused(look(&gone, squashfs_of_directories(NAMES as usize + 1)), "more directories than");
    // A million attributes without a value, called "user.".
    let attributes = look(&one, squashfs(&mut short_names(1), Some((1_000_000, &vec![0; 1_000_000 * 8]))));
    assert!(attributes.is_err_and(|error| error.contains("impossibly many attributes")));
    eprintln!("MiB held at most: {:?}", peaks.iter().map(|peak| peak >> 20).collect::<Vec<_>>());
    assert!(peaks.iter().all(|peak| *peak < MOST), "{peaks:?}");
}
