//! Images that lie: random bytes, real headers with bytes changed, pointers that go in circles.
//!
//! Whatever the bytes, the answer is a value or an error, soon.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use condatainer_formats::ext::{Ids, ReadAt, Window, probe};
use condatainer_images::image::identify;
use condatainer_images::verbs::chown::{Request, chown};
use proptest::prelude::*;
use support::Bench;

/// The most that any probe may read, however strange the image.
const MOST: u64 = (1 << 20) + (1 << 17);

/// Counts what is really read.
struct Counted<'a> {
    bytes: &'a [u8],
    read: AtomicU64,
}

impl ReadAt for Counted<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.bytes.read_at(buf, offset)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// A few cases each time, or as many as PROPTEST_CASES says.
fn cases(few: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { few };
    ProptestConfig { cases, failure_persistence: None, ..config }
}

fn look(bytes: &[u8]) {
    let counted = Counted { bytes, read: AtomicU64::new(0) };
    let _ = probe(&counted, Window::whole(bytes.len() as u64));
    assert!(counted.read.load(Ordering::Relaxed) <= MOST);
}

/// Small real images whose first 64 KiB hold all that a probe looks at, and more.
fn originals() -> &'static Vec<Vec<u8>> {
    static IMAGES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let bench = Bench::new();
        let kinds: [&[&str]; 4] = [
            &["-t", "ext3", "-b", "1024", "-N", "64"],
            &["-t", "ext4", "-b", "1024", "-N", "64"],
            &["-t", "ext4", "-N", "64"],
            &["-t", "ext3", "-b", "1024", "-I", "128", "-O", "meta_bg,^resize_inode"],
        ];
        kinds.iter().map(|options| fs::read(bench.image("original", options, 4)).unwrap()).collect()
    })
}

/// Where the bytes lie that steer a probe: superblock, descriptors, and whatever is not zero nearby.
fn steering(image: &[u8]) -> Vec<usize> {
    let near = image.len().min(2 << 20);
    (1024..near).filter(|&at| at < 3072 || image[at] != 0).collect()
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..8192)) {
        look(&bytes);
    }

    #[test]
    fn a_magic_and_random_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 4096..8192)) {
        bytes[1080..1082].copy_from_slice(&[0x53, 0xEF]);
        bytes[1024 + 0x60..1024 + 0x68].fill(0);
        look(&bytes);
    }

    #[test]
    fn real_images_with_bytes_changed(
        which in 0_usize..4,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut image = originals()[which].clone();
        let places = steering(&image);
        for (place, value) in changes {
            image[places[place.index(places.len())]] = value;
        }
        look(&image);
    }

    #[test]
    fn files_of_every_kind_with_bytes_changed(
        which in 0_usize..4,
        changes in proptest::collection::vec((0_usize..4096, any::<u8>()), 0..40),
        magic in prop::sample::select(vec![&b"hsqs"[..], b"#!/usr/bin/env run-singularity\n", b"", b"\x1f\x8b"]),
        sif in any::<bool>(),
    ) {
        let mut bytes = originals()[which][..16384].to_vec();
        bytes[..magic.len()].copy_from_slice(magic);
        if sif {
            bytes[32..42].copy_from_slice(b"SIF_MAGIC\0");
        }
        for (at, value) in changes {
            bytes[at] = value;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        if let Err(error) = identify(file.path()) {
            let message = error.to_string();
            prop_assert!(message.starts_with(&file.path().display().to_string()) && !message.contains('\n'), "{}", message);
        }
    }
}

proptest! {
    #![proptest_config(cases(60))]

    /// A chown of a damaged image may refuse or do its work; it may not panic, hang, or grow the file.
    #[test]
    fn chown_of_real_images_with_bytes_changed(
        which in 0_usize..4,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut image = originals()[which].clone();
        let places = steering(&image);
        for (place, value) in changes {
            image[places[place.index(places.len())]] = value;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &image).unwrap();
        for paths in [vec![], vec!["ext3".into()]] {
            let request = Request { paths, ..Request::new(Ids { uid: 5, gid: 6 }, Ids::ROOT) };
            let _ = chown(file.path(), &request, &mut |_, _| {});
        }
        prop_assert_eq!(fs::metadata(file.path()).unwrap().len(), image.len() as u64);
    }
}

#[test]
fn circles_end() {
    let bench = Bench::new();
    // An extent index that points to its own block, and an indirect block that does the same.
    for options in [&["-t", "ext4", "-b", "1024"][..], &["-t", "ext3", "-b", "1024"]] {
        let image = bench.image("circle", options, 8);
        let script: String = (0..400).map(|i| format!("mkdir some-name-that-is-not-short-{i:04}\n")).collect();
        support::debugfs_script(&image, &script);
        let blocks = support::debugfs(&image, "blocks /");
        let blocks: Vec<u64> = blocks.split_whitespace().map(|block| block.parse().unwrap()).collect();
        let mut bytes = fs::read(&image).unwrap();
        for block in &blocks {
            let at = usize::try_from(*block).unwrap() * 1024;
            let own = (*block as u32).to_le_bytes();
            for word in bytes[at..at + 1024].chunks_exact_mut(4) {
                word.copy_from_slice(&own);
            }
        }
        look(&bytes);
        fs::write(&image, &bytes).unwrap();
        chown(&image, &Request::new(Ids::ROOT, Ids { uid: 1, gid: 1 }), &mut |_, _| {}).unwrap_err();
        fs::remove_file(image).unwrap();
    }
}

#[test]
fn a_directory_that_contains_itself_is_walked_once() {
    let bench = Bench::new();
    let image = bench.image("loop", &["-t", "ext3", "-O", "^dir_index"], 16);
    support::debugfs_write(&image, "mkdir /beside");
    support::debugfs_write(&image, "link /upper /upper/ext3/again");
    let request = Request::new(Ids { uid: 5, gid: 6 }, Ids::ROOT);
    let report = chown(&image, &request, &mut |_, _| {}).unwrap();
    assert!(report.walked && report.scanned == 7, "{report:?}");
}

#[test]
fn an_absurd_size_of_the_root_directory() {
    let bench = Bench::new();
    for kind in ["ext3", "ext4"] {
        let image = bench.image("absurd", &["-t", kind], 16);
        support::debugfs_write(&image, "sif / size 0x7fffffffffff0000");
        support::debugfs_write(&image, "rm /upper/ext3/env/bin/python");
        support::debugfs_write(&image, "unlink /work");
        look(&fs::read(&image).unwrap());
        let error = chown(&image, &Request::new(Ids::ROOT, Ids::ROOT), &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("a hole"), "{error}");
        fs::remove_file(image).unwrap();
    }
}
