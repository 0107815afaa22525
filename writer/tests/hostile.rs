//! Images that somebody has changed are written to: the fuzz target `written` on stable Rust.
//!
//! CONDATAINER_FUZZ_RUNS sets another number of changes, CONDATAINER_FUZZ_SEED another seed, and CONDATAINER_FUZZ_SEEDS=DIR writes what the
//! changes start from to DIR/written, for cargo-fuzz. An input that fails is kept and named; put into `fuzz/corpus/written` it is tried at
//! every start.

// A failing preparation is a failing test.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../fuzz/src/image.rs"]
mod image;
#[path = "../../core/tests/fuzz/mutate.rs"]
mod mutate;
#[path = "../../fuzz/src/written.rs"]
mod written;

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use fastrand::Rng;
use image::Sparse;
use peak_alloc::PeakAlloc;
use written::written;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// All that one image of some MiB may make us hold, in bytes.
const MOST_MEMORY: usize = 16 << 20;

fn number(variable: &str, usual: u64) -> u64 {
    env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

/// Few files of each kind: a directory with an index, files with holes and blocks of pointers, links.
fn plant(tree: &Path) {
    fs::create_dir_all(tree.join("upper/ext3")).unwrap();
    fs::create_dir_all(tree.join("many")).unwrap();
    fs::create_dir_all(tree.join("work/work")).unwrap();
    fs::write(tree.join("a"), "content").unwrap();
    fs::write(tree.join(".wh.deleted"), "").unwrap();
    for number in 0..60 {
        fs::hard_link(tree.join("a"), tree.join(format!("many/a-name-that-takes-some-room-{number:03}"))).unwrap();
    }
    let sparse = fs::File::create(tree.join("sparse")).unwrap();
    for kilobyte in [0, 13, 14, 300] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"not a hole", kilobyte << 10).unwrap();
    }
    std::os::unix::fs::symlink("/nowhere", tree.join("short")).unwrap();
    std::os::unix::fs::symlink("x".repeat(100), tree.join("long")).unwrap();
    xattr::set(tree.join("a"), "user.note", &[b'v'; 300]).unwrap();
}

/// As they are made, and as they are in use: with a journal that has something, and orphans.
fn made() -> Vec<Vec<u8>> {
    let scratch = tempfile::tempdir().unwrap();
    let (tree, path) = (scratch.path().join("tree"), scratch.path().join("image"));
    fs::create_dir(&tree).unwrap();
    plant(&tree);
    let mut all = Vec::new();
    for words in [["-b", "1024", "-I", "128"], ["-b", "1024", "-I", "256"], ["-b", "2048", "-I", "256"]] {
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-F", "-t", "ext3", "-m", "0", "-N", "64", "-d"]).arg(&tree).args(words);
        let [journal, size] = if words[1] == "1024" { ["size=1", "4M"] } else { ["size=2", "8M"] };
        assert!(mke2fs.args(["-J", journal]).arg(&path).arg(size).status().unwrap().success());
        let script = if words[1] == "1024" { "e2fsck -fyD" } else { "true" };
        let packed = Command::new("sh").args(["-c", &format!("{script} \"$0\" >/dev/null")]).arg(&path).status();
        assert!(matches!(packed.unwrap().code(), Some(0 | 1)));
        all.push(Sparse::encode(&fs::read(&path).unwrap()));
        used(&path);
        all.push(Sparse::encode(&fs::read(&path).unwrap()));
        fs::remove_file(&path).unwrap();
    }
    all
}

/// Work in it, and no end.
fn used(path: &Path) {
    use condatainer_writer::device::FileDevice;
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let window = condatainer_formats::ext::Window::whole(size);
    let volume = condatainer_writer::Volume::open(std::sync::Arc::new(FileDevice::new(file, window))).unwrap();
    for name in ["sparse", "long"] {
        volume.lookup(2, name.as_bytes()).unwrap();
        volume.remove(2, name.as_bytes(), false).unwrap();
    }
    volume.commit().unwrap();
    volume.rename((2, b"a"), (2, b"b"), condatainer_writer::Renaming::default()).unwrap();
    volume.commit().unwrap();
}

fn with_ops(random: &mut Rng, image: &[u8]) -> Vec<u8> {
    let count = random.u8(0..40);
    let mut data = vec![count];
    // The first ones look for names, so that there is something to work with.
    for op in 0..count {
        data.extend([
            if op < 4 { 0 } else { random.u8(..) },
            random.u8(..),
            random.u8(..),
            random.u8(..),
            random.u8(..),
        ]);
    }
    data.extend(image);
    data
}

fn attempt(input: &[u8], origin: &str) -> bool {
    catch_unwind(AssertUnwindSafe(|| written(input))).unwrap_or_else(|_| {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz-written");
        fs::write(&kept, input).unwrap();
        panic!("written failed ({origin}); the input is {}", kept.display());
    })
}

#[test]
fn images_that_somebody_has_changed_are_written_to() {
    let (runs, seed) = (number("CONDATAINER_FUZZ_RUNS", 20_000), number("CONDATAINER_FUZZ_SEED", 0x00C0_FFEE));
    let images = made();
    let mut random = Rng::with_seed(seed);
    if let Some(directory) = env::var_os("CONDATAINER_FUZZ_SEEDS") {
        let directory = Path::new(&directory).join("written");
        fs::create_dir_all(&directory).unwrap();
        for (index, image) in images.iter().enumerate() {
            fs::write(directory.join(format!("made-{index}")), with_ops(&mut random, image)).unwrap();
        }
    }
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/written");
    for entry in fs::read_dir(committed).into_iter().flatten() {
        let path = entry.unwrap().path();
        attempt(&fs::read(&path).unwrap(), &path.display().to_string());
    }
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let mut opened = 0;
    for run in 0..runs {
        // Every tenth is sound.
        let image = if run % 10 == 0 {
            images[random.usize(..images.len())].clone()
        } else {
            mutate::mutant(&images, &mut random)
        };
        let input = with_ops(&mut random, &image);
        opened += u64::from(attempt(&input, &format!("seed {seed}, run {run}")));
    }
    let peak = MEMORY.peak_usage().saturating_sub(before);
    assert!(opened > runs / 4, "only {opened} could be opened");
    eprintln!("written: {runs} runs, {opened} opened, with seed {seed}, at most {} KiB held", peak >> 10);
    assert!(peak < MOST_MEMORY, "{peak} bytes were held at one time");
}
