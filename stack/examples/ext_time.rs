//! How fast an ext image is read as a layer: to be opened, all names and what their inodes say, all contents, and pieces at random places
//! by one thread and by four.
//!
//! `cargo run --release -p condatainer-stack --example ext_time -- IMAGE [upper]`

use std::fs::File;
use std::io;
use std::thread;
use std::time::Instant;

use condatainer_formats::ext::{FileType, Window};
use condatainer_stack::layer::ext::{ExtLayer, Start};
use condatainer_stack::layer::{Key, Layer};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or_else(|| io::Error::other("which image?"))?;
    let start = if arguments.next().is_some() { Start::Upper } else { Start::Root };
    let begin = Instant::now();
    let file = File::open(path)?;
    let window = Window::whole(file.metadata()?.len());
    let layer = ExtLayer::open(file, window, start, 8 << 20).map_err(io::Error::other)?;
    println!("opened in {:?}", begin.elapsed());
    for round in ["first", "second"] {
        let begin = Instant::now();
        let files = walk(&layer)?;
        println!("{round} walk: {} files, {:?}", files.len(), begin.elapsed());
    }
    let files = walk(&layer)?;
    let begin = Instant::now();
    let mut buf = vec![0; 1 << 20];
    let mut bytes = 0;
    for (key, size) in &files {
        bytes += read_all(&layer, *key, *size, &mut buf)?;
    }
    println!("all contents: {} MiB, {:?}", bytes >> 20, begin.elapsed());
    for threads in [1, 4] {
        let begin = Instant::now();
        thread::scope(|scope| {
            let (layer, files) = (&layer, &files);
            let readers: Vec<_> = (0..threads).map(|seed| scope.spawn(move || pieces(layer, files, seed))).collect();
            readers
                .into_iter()
                .try_for_each(|reader| reader.join().unwrap_or_else(|_| Err(io::Error::other("a thread has panicked"))))
        })?;
        println!("{threads} threads, 100,000 pieces of 4 KiB each: {:?}", begin.elapsed());
    }
    Ok(())
}

fn walk(layer: &dyn Layer) -> io::Result<Vec<(Key, u64)>> {
    let (mut pending, mut files) = (vec![layer.root()], Vec::new());
    while let Some(directory) = pending.pop() {
        let mut keys = Vec::new();
        layer.entries(directory, &mut |entry| {
            keys.push(entry.key);
            true
        })?;
        for key in keys {
            let attributes = layer.attributes(key)?;
            match attributes.kind {
                FileType::Directory => pending.push(key),
                FileType::Regular => files.push((key, attributes.size)),
                _ => {}
            }
        }
    }
    Ok(files)
}

fn read_all(layer: &dyn Layer, key: Key, size: u64, buf: &mut [u8]) -> io::Result<u64> {
    let mut at = 0;
    while at < size {
        at += layer.read(key, at, buf)? as u64;
    }
    Ok(size)
}

fn pieces(layer: &dyn Layer, files: &[(Key, u64)], seed: u64) -> io::Result<()> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut buf = [0; 4096];
    for _ in 0..100_000 {
        let (key, size) = files[dice.usize(..files.len())];
        layer.read(key, dice.u64(..size.max(1)), &mut buf)?;
    }
    Ok(())
}
