//! Squashfs images of every kind that mksquashfs can make, beside the kernel's own squashfs.

// A failing preparation is a failing test.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/oracle.rs"]
mod oracle;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use condatainer_formats::ext::Window;
use condatainer_formats::squashfs::Budget;
use condatainer_stack::layer::squashfs::SquashfsLayer;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use oracle::{Dice, Mounted, Seen, assert_same};

/// So little that blocks are let go and come back all the time.
const SCARCE: Budget = Budget { metadata: 64 << 10, data: 300 << 10 };
const AMPLE: Budget = Budget { metadata: 4 << 20, data: 16 << 20 };

/// Bytes that can be packed, but not to nothing.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed * 2 + 1);
    let mut all = Vec::new();
    while all.len() < length {
        let word = dice.below(1 << 40).to_le_bytes();
        all.extend(word.repeat(1 + dice.below(9) as usize));
    }
    all.truncate(length);
    all
}

/// Files of every layout, names and links of every length, attributes, owners, devices.
fn tree(at: &Path) {
    let file = |name: &str, content: &[u8]| fs::write(at.join(name), content).unwrap();
    fs::create_dir_all(at.join("deep/er/and/deeper")).unwrap();
    fs::create_dir(at.join("empty")).unwrap();
    fs::create_dir(at.join("small")).unwrap();
    file("nothing", b"");
    file("one", b"1");
    for length in [4095, 4096, 4097, 131_071, 131_072, 131_073, 1_048_576, 1_500_001] {
        file(&format!("deep/{length}"), &bytes(length, length as u64));
    }
    // A program, for filters that know programs.
    fs::copy(std::env::current_exe().unwrap(), at.join("whole-program")).unwrap();
    let program = fs::read(at.join("whole-program")).unwrap();
    file("whole-program", &program[..program.len().min(1 << 20)]);
    file("never-packs", &(0..200_000).map(|i| bytes(1, i)[0]).collect::<Vec<_>>());
    for i in 0..700_u64 {
        file(&format!("small/{i}"), &bytes(i as usize * 7 % 3000, i));
    }
    let sparse = File::create(at.join("sparse")).unwrap();
    sparse.write_all_at(&bytes(50_000, 5), 3 << 20).unwrap();
    sparse.write_all_at(b"not a hole", (5 << 20) + 99).unwrap();
    sparse.set_len((9 << 20) + 7).unwrap();
    File::create(at.join("only-a-hole")).unwrap().set_len(3 << 20).unwrap();
    fs::hard_link(at.join("deep/131073"), at.join("deep/er/and/the-same")).unwrap();
    fs::hard_link(at.join("one"), at.join("uno")).unwrap();
    symlink("y".repeat(4000), at.join("longest-link")).unwrap();
    symlink(OsStr::from_bytes(b"to-\xFF\xFE"), at.join("odd-link")).unwrap();
    fs::hard_link(at.join("odd-link"), at.join("odd-link-again")).unwrap();
    for name in [&b"odd-\xFF\x1b[31m"[..], b" ", b"a\nb", &[b'n'; 255]] {
        fs::write(at.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let special =
        |name: &str, kind, number| mknod(&at.join(name), kind, Mode::from_bits_truncate(0o640), number).unwrap();
    special("fifo", SFlag::S_IFIFO, 0);
    special("disk", SFlag::S_IFBLK, makedev(259, 70_000));
    special("whiteout", SFlag::S_IFCHR, makedev(0, 0));
    special("tty", SFlag::S_IFCHR, makedev(4, 64));
    drop(UnixListener::bind(at.join("socket")).unwrap());
    owners_and_attributes(at);
}

fn owners_and_attributes(at: &Path) {
    for (name, uid, gid) in
        [("one", 1000, 65_536), ("deep", 70_000, 4_000_000_000), ("odd-link", 65_535, 7), ("fifo", 4_294_967_294, 0)]
    {
        lchown(at.join(name), Some(uid), Some(gid)).unwrap();
    }
    for (name, mode) in [("small/1", 0o4755), ("small/2", 0o2070), ("empty", 0o1777), ("nothing", 0)] {
        fs::set_permissions(at.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    for (name, seconds) in [("small/3", 0), ("small/4", 1), ("small/5", 4_294_967_295)] {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        File::options().write(true).open(at.join(name)).unwrap().set_modified(time).unwrap();
    }
    for (number, name) in ["one", "deep", "whole-program", "sparse", "small/8", "small/9"].iter().enumerate() {
        let set = |key: &str, value: &[u8]| xattr::set(at.join(name), key, value).unwrap();
        // The same long value in several lists is stored once, elsewhere.
        set("user.long", &[b'v'; 1000]);
        set("user.number", &[number as u8]);
        set("trusted.overlay.opaque", b"y");
        set("security.note", b"");
    }
    for name in ["longest-link", "fifo", "disk", "whiteout", "socket"] {
        xattr::set(at.join(name), "trusted.some", name.as_bytes()).unwrap();
    }
}

fn make(source: &Path, options: &str, at: &Path) {
    let mut command = Command::new("mksquashfs");
    command.arg(source).arg(at).args(["-quiet", "-no-progress", "-noappend", "-processors", "2"]);
    let output = command.args(options.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "mksquashfs {options}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The image that mksquashfs makes with these options is the same to the kernel and to us, with little memory and with much.
fn compare(source: &Path, options: &str) -> Seen {
    compare_with(source, options, &[AMPLE, SCARCE])
}

fn compare_with(source: &Path, options: &str, budgets: &[Budget]) -> Seen {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image.sqf");
    make(source, options, &image);
    let mounted = Mounted::new(&image);
    let open = |budget| {
        let file = File::open(&image).unwrap();
        let size = file.metadata().unwrap().size();
        SquashfsLayer::open(file, Window::whole(size), budget).unwrap()
    };
    budgets.iter().fold(Seen::default(), |_, budget| assert_same(&open(*budget), mounted.path(), options))
}

#[test]
fn every_compression_and_block_size() {
    let source = tempfile::tempdir().unwrap();
    tree(source.path());
    for compression in ["gzip", "lzo", "lz4", "lz4 -Xhc", "xz", "xz -Xbcj x86", "xz -Xdict-size 50%", "zstd"] {
        for block in ["4K", "128K", "1M"] {
            // With options of xz the kernel takes the length of a data block for its dictionary, which with 4K is too small for metadata.
            if block != "128K" && compression.starts_with("xz -X") {
                continue;
            }
            // How hard it tries to pack makes no other format; each tries as hard as it does by itself once.
            let quick = match compression {
                _ if block == "128K" => "",
                "gzip" => "-Xcompression-level 1",
                "lzo" => "-Xalgorithm lzo1x_1",
                "zstd" => "-Xcompression-level 3",
                _ => "",
            };
            // What is kept in memory is the same whatever it was packed by.
            let seen = compare_with(source.path(), &format!("-comp {compression} -b {block} {quick}"), &[SCARCE]);
            assert!(seen.names > 730 && seen.kinds.len() == 7 && seen.links >= 2, "{seen:?}");
            assert!(seen.xattrs > 20 && seen.holes >= 3, "{seen:?}");
        }
    }
}

#[test]
fn every_way_to_lay_things_down() {
    let source = tempfile::tempdir().unwrap();
    tree(source.path());
    for options in [
        "-no-fragments",
        "-always-use-fragments",
        "-noI -noD -noF -noX",
        "-noI",
        "-noD",
        "-noF",
        "-no-duplicates -no-sparse",
        "-no-xattrs -no-exports",
        "-all-root",
        "-comp zstd -Xcompression-level 22 -b 1M -always-use-fragments",
    ] {
        // How hard it tries to pack is no way to lay things down, and takes most of the time.
        let quick = if options.contains("-comp") { "" } else { " -Xcompression-level 1" };
        compare(source.path(), &format!("{options}{quick}"));
    }
}

#[test]
fn a_directory_of_fifty_thousand_names_and_a_file_longer_than_four_gibibytes() {
    // In memory a hole is read without a page for each of its blocks.
    let shared = Path::new("/dev/shm");
    let source = if shared.is_dir() { tempfile::tempdir_in(shared).unwrap() } else { tempfile::tempdir().unwrap() };
    let many = source.path().join("many");
    fs::create_dir(&many).unwrap();
    for i in 0..50_000 {
        File::create(many.join(format!("{i}-{}", "x".repeat(i % 40)))).unwrap();
    }
    let long = File::create(source.path().join("long")).unwrap();
    for i in 0..20_u64 {
        long.write_all_at(&bytes(9000, i), i * 217_000_003).unwrap();
    }
    long.set_len((4 << 30) + 12_345).unwrap();
    let seen = compare(source.path(), "-comp lz4 -b 4K");
    assert!(seen.names == 50_003 && seen.holes > 19, "{seen:?}");
    // mksquashfs reads all of the hole: four gibibytes once more would say nothing new about the names.
    long.set_len(12_345_678).unwrap();
    let seen = compare(source.path(), "-comp zstd");
    assert!(seen.names == 50_003 && seen.holes > 0, "{seen:?}");
}
