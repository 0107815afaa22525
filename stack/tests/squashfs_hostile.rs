//! Squashfs images that somebody has made to harm: changed at random, as the fuzz target `layer` has them, and built on purpose.
//!
//! CONDATAINER_FUZZ_RUNS sets another number of changes, CONDATAINER_FUZZ_SEED another seed.

// A failing preparation is a failing test.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/chance.rs"]
mod chance;
#[path = "../../fuzz/src/layer.rs"]
mod layer;
#[path = "../../core/tests/fuzz/mutate.rs"]
mod mutate;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, symlink};
use std::panic::catch_unwind;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use condatainer_formats::ext::Window;
use condatainer_formats::squashfs::Budget;
use condatainer_stack::layer::squashfs::SquashfsLayer;
use condatainer_stack::layer::{Key, Layer};
use fastrand::Rng;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// All that one image may make us hold, in bytes: what the target lets it keep, what is being unpacked, and the image itself.
const MOST_MEMORY: usize = 24 << 20;

/// Few files of each kind: an image of some kilobytes.
fn plant(tree: &Path) {
    fs::create_dir_all(tree.join("d/many")).unwrap();
    for i in 0..30 {
        fs::write(tree.join(format!("d/many/{i}")), format!("{i}").repeat(i * 9)).unwrap();
    }
    fs::write(tree.join("large"), "some words".repeat(2000)).unwrap();
    let sparse = File::create(tree.join("sparse")).unwrap();
    sparse.write_all_at(b"not a hole", 40_000).unwrap();
    sparse.set_len(90_000).unwrap();
    fs::hard_link(tree.join("large"), tree.join("d/large")).unwrap();
    symlink("x".repeat(100), tree.join("link")).unwrap();
    for name in ["large", "d"] {
        xattr::set(tree.join(name), "user.long", &[b'v'; 500]).unwrap();
        xattr::set(tree.join(name), "trusted.short", b"y").unwrap();
    }
}

fn made() -> Vec<Vec<u8>> {
    let scratch = tempfile::tempdir().unwrap();
    let (tree, image) = (scratch.path().join("tree"), scratch.path().join("image"));
    fs::create_dir(&tree).unwrap();
    plant(&tree);
    // Plain tables, so that changes reach what is in them; and packed ones.
    let make = |options: &str| {
        let mut command = Command::new("mksquashfs");
        command.arg(&tree).arg(&image).args(["-quiet", "-no-progress", "-noappend", "-nopad", "-b", "4096"]);
        let output = command.args(options.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "mksquashfs {options}: {output:?}");
        fs::read(&image).unwrap()
    };
    let compressions = ["gzip", "lzo", "lz4", "xz", "xz -Xbcj x86", "zstd"].map(|name| format!("-comp {name}"));
    let plain = ["-noI -noD -noF -noX", "-noI -noX", "-noI -noX -no-fragments", "-noI -noX -always-use-fragments"];
    plain.map(make).into_iter().chain(compressions.iter().map(|options| make(options))).collect()
}

#[test]
fn changed_at_random() {
    let (runs, seed) = (chance::runs(10_000), chance::seed());
    let (inputs, mut rng) = (made(), Rng::with_seed(seed));
    inputs.iter().for_each(|input| layer::layer(input));
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    for count in 0..runs {
        let input = mutate::mutant(&inputs, &mut rng);
        if catch_unwind(|| layer::layer(&input)).is_err() {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz-layer");
            fs::write(&kept, input).unwrap();
            panic!("it failed (seed {seed}, run {count}); the input is {}", kept.display());
        }
    }
    let peak = MEMORY.peak_usage().saturating_sub(before);
    eprintln!("{runs} runs from {} inputs with seed {seed}, at most {} KiB held", inputs.len(), peak >> 10);
    assert!(peak < MOST_MEMORY, "{peak} bytes were held at one time");
}

/// An image with one large file, plain tables, and a file name to look for.
fn with_one_file(content: &[u8], options: &str) -> (Vec<u8>, u64) {
    let scratch = tempfile::tempdir().unwrap();
    let (tree, image) = (scratch.path().join("tree"), scratch.path().join("image"));
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), content).unwrap();
    let mut command = Command::new("mksquashfs");
    command.arg(&tree).arg(&image).args(["-quiet", "-no-progress", "-noappend", "-noI", "-b", "4096"]);
    let output = command.args(options.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let bytes = fs::read(&image).unwrap();
    let inodes = u64::from_le_bytes(bytes[64..72].try_into().unwrap());
    (bytes, inodes)
}

fn open(image: Vec<u8>, data: usize) -> SquashfsLayer {
    let size = image.len() as u64;
    SquashfsLayer::open(image, Window::whole(size), Budget { metadata: 64 << 10, data }).unwrap()
}

fn file_in(layer: &SquashfsLayer) -> Key {
    let mut found = None;
    let mut visit = |entry: condatainer_stack::layer::Entry<'_>| {
        found = Some(entry.key);
        true
    };
    layer.entries(layer.root(), &mut visit).unwrap();
    found.unwrap()
}

/// A basic inode says its length at 28; the list of its blocks would be 4 GiB / 4 KiB long, and there is no such list.
#[test]
fn a_file_longer_than_its_list() {
    let (mut image, inodes) = with_one_file(&[7; 8192], "-no-fragments");
    // The metadata block's header, then the file's inode, which is the first.
    let at = inodes as usize + 2 + 28;
    assert_eq!(image[at..at + 4], 8192_u32.to_le_bytes());
    image[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let layer = open(image, 1 << 20);
    let key = file_in(&layer);
    let mut buf = vec![0; 5000];
    assert_eq!(layer.read(key, 0, &mut buf).unwrap(), 5000);
    let message = layer.read(key, u64::from(u32::MAX) - 4096, &mut buf).unwrap_err().to_string();
    assert!(message.starts_with("is damaged: "), "{message}");
}

/// A thread that meets a broken block is told so each time; the others go on, and nothing of it is kept.
#[test]
fn a_broken_block_in_the_middle() {
    let mut rng = Rng::with_seed(1);
    let content: Vec<u8> = (0..20_000).flat_map(|_| rng.u64(..).to_le_bytes().repeat(rng.usize(1..9))).collect();
    let (mut image, _) = with_one_file(&content, "-comp gzip -no-fragments");
    // Each block has a checksum.
    image[96 + 20_000..96 + 20_100].fill(0xFF);
    let layer = Arc::new(open(image, 64 << 10));
    let key = file_in(&layer);
    let told = |layer: &SquashfsLayer| -> Vec<bool> {
        let mut buf = vec![0; 4096];
        let blocks = (0..content.len() as u64).step_by(4096);
        blocks.map(|at| layer.read(key, at, &mut buf).is_ok()).collect()
    };
    let first = told(&layer);
    let broken = first.iter().filter(|is_sound| !**is_sound).count();
    assert!((1..=3).contains(&broken), "{broken} of {} blocks", first.len());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(told(&layer), first)));
        }
    });
}

/// What is asked of the wrong kind of thing is refused as a system call would.
#[test]
fn errors_are_those_of_system_calls() {
    let (image, _) = with_one_file(b"hello", "");
    let layer = open(image, 1 << 20);
    let (root, file) = (layer.root(), file_in(&layer));
    let number = |error: std::io::Error| error.raw_os_error().unwrap();
    assert_eq!(layer.entries(file, &mut |_| true).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(number(layer.read(root, 0, &mut [0]).unwrap_err()), libc::EINVAL);
    assert_eq!(number(layer.seek(root, 0, true).unwrap_err()), libc::EINVAL);
    assert_eq!(number(layer.target(file).unwrap_err()), libc::EINVAL);
    assert!(layer.attributes(Key(u64::MAX)).is_err());
}
