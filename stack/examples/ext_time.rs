//! How fast an ext image is read as a layer: to be opened, all names and what their inodes say, all contents, and pieces at random places
//! by one thread and by four.
//!
//! `cargo run --release -p condatainer-stack --example ext_time -- IMAGE [upper]`

// A measurement that cannot be made has no figures to show.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::thread;
use std::time::Instant;

use condatainer_formats::ext::{FileType, Window};
use condatainer_stack::layer::ext::{ExtLayer, Start};
use condatainer_stack::layer::{Key, Layer};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap();
    let start = if arguments.next().is_some() { Start::Upper } else { Start::Root };
    let begin = Instant::now();
    let file = File::open(path).unwrap();
    let window = Window::whole(file.metadata().unwrap().len());
    let layer = ExtLayer::open(file, window, start, 8 << 20).unwrap();
    println!("opened in {:?}", begin.elapsed());
    for round in ["first", "second"] {
        let begin = Instant::now();
        let files = walk(&layer);
        println!("{round} walk: {} files, {:?}", files.len(), begin.elapsed());
    }
    let files = walk(&layer);
    let begin = Instant::now();
    let mut buf = vec![0; 1 << 20];
    let bytes: u64 = files.iter().map(|(key, size)| read_all(&layer, *key, *size, &mut buf)).sum();
    println!("all contents: {} MiB, {:?}", bytes >> 20, begin.elapsed());
    for threads in [1, 4] {
        let begin = Instant::now();
        thread::scope(|scope| {
            (0..threads).for_each(|seed| {
                drop(scope.spawn({
                    let (layer, files) = (&layer, &files);
                    move || pieces(layer, files, seed)
                }))
            })
        });
        println!("{threads} threads, 100,000 pieces of 4 KiB each: {:?}", begin.elapsed());
    }
}

fn walk(layer: &dyn Layer) -> Vec<(Key, u64)> {
    let (mut pending, mut files) = (vec![layer.root()], Vec::new());
    while let Some(directory) = pending.pop() {
        let mut keys = Vec::new();
        layer
            .entries(directory, &mut |entry| {
                keys.push(entry.key);
                true
            })
            .unwrap();
        for key in keys {
            let attributes = layer.attributes(key).unwrap();
            match attributes.kind {
                FileType::Directory => pending.push(key),
                FileType::Regular => files.push((key, attributes.size)),
                _ => {}
            }
        }
    }
    files
}

fn read_all(layer: &dyn Layer, key: Key, size: u64, buf: &mut [u8]) -> u64 {
    let mut at = 0;
    while at < size {
        at += layer.read(key, at, buf).unwrap() as u64;
    }
    size
}

fn pieces(layer: &dyn Layer, files: &[(Key, u64)], seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut buf = [0; 4096];
    for _ in 0..100_000 {
        let (key, size) = files[dice.usize(..files.len())];
        layer.read(key, dice.u64(..size.max(1)), &mut buf).unwrap();
    }
}
