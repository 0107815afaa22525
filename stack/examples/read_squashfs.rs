//! How long it takes to walk through a squashfs and to read all files, through the layer that the server has: `read_squashfs IMAGE [THREADS [random]]`.
//!
//! Threads share the files among them. `random` reads 64 KiB pieces of files here and there instead.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::File;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use condatainer_formats::ext::FileType;
use condatainer_formats::source::Window;
use condatainer_formats::squashfs::Budget;
use condatainer_stack::layer::squashfs::SquashfsLayer;
use condatainer_stack::layer::{Key, Layer};

/// What the kernel asks for at once.
const REQUEST: usize = 128 << 10;
const PIECES: u64 = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let image = arguments.first().ok_or("read_squashfs IMAGE [THREADS [random]]")?;
    let threads = arguments.get(1).map_or(Ok(1), |text| text.parse())?;
    let file = File::open(image)?;
    let window = Window::whole(file.metadata()?.len());
    let start = Instant::now();
    let layer = SquashfsLayer::open(file, window, Budget { metadata: 8 << 20, data: 16 << 20 })?;
    println!("opened in {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    let files = walk(&layer)?;
    println!("{} files listed in {:.3} s", files.len(), start.elapsed().as_secs_f64());
    let (start, next, total) = (Instant::now(), AtomicUsize::new(0), AtomicU64::new(0));
    let is_random = arguments.get(2).is_some_and(|word| word == "random");
    thread::scope(|scope| {
        for number in 0..threads {
            let (layer, files, next, total) = (&layer, &files, &next, &total);
            scope.spawn(move || {
                let read =
                    if is_random { at_random(layer, files, number as u64) } else { in_order(layer, files, next) };
                match read {
                    Ok(read) => _ = total.fetch_add(read, Ordering::Relaxed),
                    Err(error) => eprintln!("{error}"),
                }
            });
        }
    });
    let (seconds, total) = (start.elapsed().as_secs_f64(), total.into_inner());
    println!("{} MiB read in {seconds:.3} s: {:.0} MiB/s", total >> 20, total as f64 / seconds / 1048576.0);
    Ok(())
}

/// All regular files, directories in the order in which `tar` goes through them.
fn walk(layer: &dyn Layer) -> Result<Vec<(Key, u64)>, Box<dyn Error>> {
    let (mut files, mut pending) = (Vec::new(), vec![layer.root()]);
    while let Some(key) = pending.pop() {
        let attributes = layer.attributes(key)?;
        match attributes.kind {
            FileType::Regular => files.push((key, attributes.size)),
            FileType::Directory => {
                let before = pending.len();
                layer.entries(key, &mut |entry| {
                    pending.push(entry.key);
                    true
                })?;
                pending.get_mut(before..).unwrap_or_default().reverse();
            }
            _ => {}
        }
    }
    Ok(files)
}

fn in_order(layer: &dyn Layer, files: &[(Key, u64)], next: &AtomicUsize) -> std::io::Result<u64> {
    let (mut buf, mut total) = (vec![0; REQUEST], 0);
    while let Some((key, size)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        let mut at = 0;
        while at < *size {
            at += layer.read(*key, at, &mut buf)? as u64;
        }
        total += size;
    }
    Ok(total)
}

fn at_random(layer: &dyn Layer, files: &[(Key, u64)], seed: u64) -> std::io::Result<u64> {
    let (mut buf, mut total, mut dice) = (vec![0; REQUEST / 2], 0, seed * 2 + 0x9E37_79B9_7F4A_7C15);
    for _ in 0..PIECES {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let Some((key, size)) = files.get(dice as usize % files.len().max(1)) else { break };
        total += layer.read(*key, (dice >> 16) % size.max(&1), &mut buf)? as u64;
    }
    Ok(total)
}
