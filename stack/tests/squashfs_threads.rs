//! Many threads at one squashfs: what they want is unpacked once, what is kept is bounded, and helpers come and go.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use condatainer_formats::ext::{ReadAt, Window};
use condatainer_formats::squashfs::Budget;
use condatainer_stack::layer::squashfs::SquashfsLayer;
use condatainer_stack::layer::{Key, Layer};
use fastrand::Rng;
use peak_alloc::PeakAlloc;
use tempfile::TempDir;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const PATIENCE: Duration = Duration::from_secs(120);

/// They look at the memory and the threads of the whole process, so one is at it at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that can be packed to about a third.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(seed);
    let words = (0..length / 16).flat_map(|_| rng.u64(..).to_le_bytes().repeat(rng.usize(1..6)));
    words.chain(std::iter::repeat(7)).take(length).collect()
}

/// Hundred files of 300 kB, and one of 32 MiB.
fn image(options: &str) -> (TempDir, Vec<u8>) {
    let scratch = tempfile::tempdir().unwrap();
    let (tree, image) = (scratch.path().join("tree"), scratch.path().join("image"));
    fs::create_dir_all(tree.join("d")).unwrap();
    for i in 0..100 {
        fs::write(tree.join(format!("d/{i}")), bytes(300_000, i)).unwrap();
    }
    fs::write(tree.join("large"), bytes(32 << 20, 1000)).unwrap();
    let mut command = Command::new("mksquashfs");
    command.arg(&tree).arg(&image).args(["-quiet", "-no-progress", "-noappend", "-comp", "lz4"]);
    let output = command.args(options.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let bytes = fs::read(&image).unwrap();
    (scratch, bytes)
}

/// A file that counts what is read of it.
struct Counted(File, Arc<AtomicU64>);

impl ReadAt for Counted {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.0.read_at(buf, offset)?;
        self.1.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

fn open(at: &Path, metadata: usize, data: usize) -> (SquashfsLayer, Arc<AtomicU64>) {
    let (file, count) = (File::open(at.join("image")).unwrap(), Arc::new(AtomicU64::new(0)));
    let size = file.metadata().unwrap().len();
    let counted = Counted(file, Arc::clone(&count));
    (SquashfsLayer::open(counted, Window::whole(size), Budget { metadata, data }).unwrap(), count)
}

fn names(layer: &SquashfsLayer, directory: Key) -> Vec<(Vec<u8>, Key)> {
    let mut all = Vec::new();
    let mut visit = |entry: condatainer_stack::layer::Entry<'_>| {
        all.push((entry.name.to_vec(), entry.key));
        true
    };
    layer.entries(directory, &mut visit).unwrap();
    all
}

fn child(layer: &SquashfsLayer, name: &str) -> Key {
    names(layer, layer.root()).into_iter().find(|(other, _)| other == name.as_bytes()).unwrap().1
}

fn read_whole(layer: &SquashfsLayer, key: Key) {
    let (size, mut at, mut buf) = (layer.attributes(key).unwrap().size, 0, vec![0; 128 << 10]);
    while at < size {
        at += layer.read(key, at, &mut buf).unwrap() as u64;
    }
}

#[test]
fn what_many_want_is_unpacked_once() {
    let _alone = alone();
    let (scratch, image) = image("-b 128K");
    let (layer, count) = open(scratch.path(), 1 << 20, 128 << 20);
    let large = child(&layer, "large");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                read_whole(&layer, large);
                names(&layer, child(&layer, "d")).iter().for_each(|(_, file)| read_whole(&layer, *file));
            });
        }
    });
    // Some bytes of tables, which are looked up each time, come on top.
    let read = count.load(Ordering::Relaxed);
    assert!(read < image.len() as u64 * 11 / 10, "{read} of {}", image.len());
}

#[test]
fn what_is_kept_is_bounded() {
    let _alone = alone();
    let (scratch, _) = image("-b 1M");
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let (layer, _) = open(scratch.path(), 1 << 20, 4 << 20);
    let large = child(&layer, "large");
    thread::scope(|scope| {
        for number in 0..4 {
            let layer = &layer;
            scope.spawn(move || {
                let mut rng = Rng::with_seed(number);
                for _ in 0..100 {
                    layer.read(large, rng.u64(..32 << 20), &mut vec![0; 128 << 10]).unwrap();
                }
                read_whole(layer, large);
            });
        }
    });
    // Besides the budget each of eight threads may have one block, packed and unpacked.
    let peak = MEMORY.peak_usage().saturating_sub(before);
    assert!(peak < (5 + 8 * 2 + 2) << 20, "{peak} bytes");
    drop(layer);
}

fn helpers() -> usize {
    let name = |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    fs::read_dir("/proc/self/task").unwrap().flatten().filter(|task| name(task).trim_end() == "unpack ahead").count()
}

/// Waits until there are some, or none.
fn wait_for(some: bool, mut meanwhile: impl FnMut()) {
    let deadline = Instant::now() + PATIENCE;
    while (helpers() > 0) != some {
        assert!(Instant::now() < deadline, "{} helpers", helpers());
        meanwhile();
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn helpers_come_with_who_reads_in_order_and_go() {
    let _alone = alone();
    if thread::available_parallelism().unwrap().get() == 1 {
        eprintln!("NOT COVERED: helpers on a machine with one core");
        return;
    }
    let (scratch, _) = image("-b 128K");
    let (layer, _) = open(scratch.path(), 1 << 20, 8 << 20);
    let files = names(&layer, child(&layer, "d"));
    wait_for(false, || {});
    // Here and there: nobody can know what comes next.
    for (_, file) in files.iter().rev() {
        layer.read(*file, 200_000, &mut [0; 100]).unwrap();
    }
    assert_eq!(helpers(), 0);
    let mut order = files.iter().cycle();
    wait_for(true, || read_whole(&layer, order.next().unwrap().1));
    wait_for(false, || {});
    // They come again, and end with the layer at the latest.
    wait_for(true, || read_whole(&layer, order.next().unwrap().1));
    drop(layer);
    wait_for(false, || {});
}
