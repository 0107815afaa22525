//! The probe beside debugfs and dumpe2fs, over every geometry that mke2fs makes.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::path::Path;

use condatainer_formats::ext::{ExtError, FileType, Found, Window, probe, probe_measured};
use support::{Bench, GEOMETRIES, debugfs_write, stat, superblock_field, whole};

fn check_against_e2fsprogs(name: &str, image: &Path, most: u64) {
    let file = File::open(image).unwrap();
    let (probe, effort) = probe_measured(&file, whole(image)).unwrap_or_else(|e| panic!("{name}: {e}"));
    for (found, path) in [(&probe.upper, "upper"), (&probe.work, "work")] {
        let owner = found.owner().unwrap_or_else(|| panic!("{name}: {path}: {found:?}"));
        assert_eq!((owner.ids(), owner.mode), stat(image, path), "{name}: {path}");
    }
    assert_eq!(probe.features.names().join(" "), superblock_field(image, "Filesystem features"), "{name}");
    assert_eq!(probe.uuid, superblock_field(image, "Filesystem UUID"), "{name}");
    let numbers = [
        ("Block count", probe.blocks_total),
        ("Free blocks", probe.blocks_free),
        ("Inode count", probe.inodes_total.into()),
        ("Free inodes", probe.inodes_free.into()),
        ("Block size", probe.block_size.into()),
        ("Inode size", probe.inode_size.into()),
    ];
    for (field, number) in numbers {
        assert_eq!(superblock_field(image, field), number.to_string(), "{name}: {field}");
    }
    assert!(probe.state.is_clean(), "{name}: {:?}", probe.state);
    assert!(effort.bytes <= most && effort.reads <= most / 1024, "{name}: {effort:?}");
}

/// What a probe of a usual image reads at most, in bytes.
const USUAL: u64 = 16 * 1024;

#[test]
fn every_geometry() {
    let bench = Bench::new();
    for (name, options) in GEOMETRIES {
        let image = bench.image(name, options, 40);
        debugfs_write(&image, "sif upper uid 70001");
        debugfs_write(&image, "sif upper gid 1234567");
        debugfs_write(&image, "sif work mode 040700");
        check_against_e2fsprogs(name, &image, USUAL);
        fs::remove_file(image).unwrap();
    }
}

#[test]
fn two_hundred_sparse_gigabytes_cost_the_same() {
    let bench = Bench::new();
    let image = bench.image("huge", &["-t", "ext3", "-i", "1048576", "-J", "size=4"], 200 << 10);
    check_against_e2fsprogs("200 GiB", &image, USUAL);
}

#[test]
fn an_indexed_root_directory() {
    let bench = Bench::new();
    for hash in ["half_md4", "tea", "legacy"] {
        let image = bench.image("htree", &["-t", "ext3", "-b", "1024", "-N", "4096"], 24);
        let choose = support::tool("tune2fs").arg("-E").arg(format!("hash_alg={hash}")).arg(&image).output().unwrap();
        support::ok(choose, "tune2fs");
        fill_root(&image, 400);
        let reindex = support::tool("e2fsck").args(["-fyD"]).arg(&image).output().unwrap();
        assert!(matches!(reindex.status.code(), Some(0 | 1)), "{reindex:?}");
        assert!(support::debugfs(&image, "stat /").contains("Flags: 0x1000"), "the root is not indexed");
        check_against_e2fsprogs(hash, &image, 2 * USUAL);
        fs::remove_file(image).unwrap();
    }
}

/// Adds `count` directories to the root in one run of debugfs.
fn fill_root(image: &Path, count: u32) {
    let lines: String = (0..count).map(|i| format!("mkdir a-rather-long-name-of-a-directory-{i:05}\n")).collect();
    support::debugfs_script(image, &lines);
}

#[test]
fn what_stands_under_upper() {
    let bench = Bench::new();
    let empty = bench.path("empty");
    fs::create_dir(&empty).unwrap();
    let image = bench.image_of("odd", &["-t", "ext3"], 16, &empty);
    let look = |image: &Path| probe(&File::open(image).unwrap(), whole(image)).unwrap();
    assert_eq!(look(&image).upper, Found::Missing);
    assert!(look(&image).upper.require("upper").unwrap_err().to_string().contains("without a directory upper/"));
    debugfs_write(&image, "symlink upper lost+found");
    debugfs_write(&image, "mknod work p");
    assert_eq!(look(&image).upper, Found::Other(FileType::Symlink));
    assert_eq!(look(&image).work, Found::Other(FileType::Fifo));
}

#[test]
fn states() {
    let bench = Bench::new();
    let image = bench.image("states", &["-t", "ext3"], 16);
    let state = || probe(&File::open(&image).unwrap(), whole(&image)).unwrap().state;
    assert!(state().is_clean());
    debugfs_write(&image, "ssv state 0");
    assert!(!state().valid);
    debugfs_write(&image, "ssv state 3");
    assert!(state().errors && state().valid);
    debugfs_write(&image, "ssv state 1");
    debugfs_write(&image, "ssv last_orphan 13");
    assert!(state().orphans && !state().is_clean());
    debugfs_write(&image, "ssv last_orphan 0");
    debugfs_write(&image, "feature needs_recovery");
    assert!(state().needs_recovery);
}

#[test]
fn inside_a_window() {
    let bench = Bench::new();
    let image = bench.image("bare", &["-t", "ext3"], 16);
    let mut shifted = vec![0xA5; 12345];
    shifted.extend(fs::read(&image).unwrap());
    let window = Window { offset: 12345, size: 16 << 20 };
    let plain = probe(&File::open(&image).unwrap(), whole(&image)).unwrap();
    assert_eq!(probe(&shifted, window).unwrap(), plain);
}

#[test]
fn a_truncated_image_says_by_how_much() {
    let bench = Bench::new();
    let image = bench.image("short", &["-t", "ext3"], 16);
    File::options().write(true).open(&image).unwrap().set_len(10 << 20).unwrap();
    let error = probe(&File::open(&image).unwrap(), whole(&image)).unwrap_err();
    assert!(matches!(error, ExtError::Truncated { needed: 16_777_216, present: 10_485_760 }), "{error}");
}

#[test]
fn an_inline_directory_is_refused_by_name() {
    let bench = Bench::new();
    let image = bench.image("inline", &["-t", "ext4", "-O", "inline_data"], 16);
    debugfs_write(&image, "sif / flags 0x10000000");
    let probe = probe(&File::open(&image).unwrap(), whole(&image)).unwrap();
    assert!(matches!(&probe.upper, Found::Unreadable(why) if why.contains("inline_data")), "{:?}", probe.upper);
}

#[test]
fn unknown_bits_are_refused_by_name() {
    let bench = Bench::new();
    let image = bench.image("future", &["-t", "ext3"], 16);
    let mut bytes = fs::read(&image).unwrap();
    bytes[1024 + 0x63] |= 0x08;
    let error = probe(&bytes, whole(&image)).unwrap_err();
    assert!(error.to_string().contains("FEATURE_I27"), "{error}");
}
