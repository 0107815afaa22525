//! A tree as our layer shows it.

use std::fs::File;
use std::hash::Hasher;
use std::path::Path;

use condatainer_formats::ext::{FileType, Window};
use condatainer_stack::layer::ext::{ExtLayer, Start};
use condatainer_stack::layer::{Attributes, Key, Layer, Time};
use rustc_hash::FxHasher;

use crate::seen::{Seen, Tree, places};

/// A layer on a whole image.
pub fn open(image: &Path, start: Start) -> ExtLayer {
    let file = File::open(image).unwrap();
    let window = Window::whole(file.metadata().unwrap().len());
    ExtLayer::open(file, window, start, 1 << 20).unwrap_or_else(|error| panic!("{}: {error}", image.display()))
}

/// All of it.
pub fn walk(layer: &dyn Layer) -> Tree {
    let mut all = Tree::new();
    let mut pending = vec![(Vec::new(), layer.root(), None)];
    while let Some((path, key, claimed)) = pending.pop() {
        let seen = seen(layer, key, claimed).unwrap_or_else(|e| panic!("{}: {e}", String::from_utf8_lossy(&path)));
        if seen.kind == FileType::Directory {
            layer
                .entries(key, &mut |entry| {
                    let inner = if path.is_empty() { entry.name.to_vec() } else { [&path, entry.name].join(&b'/') };
                    pending.push((inner, entry.key, entry.kind));
                    true
                })
                .unwrap();
        }
        all.insert(path, seen);
    }
    all
}

fn seen(layer: &dyn Layer, key: Key, claimed: Option<FileType>) -> std::io::Result<Seen> {
    let Attributes { kind, mode, ids, size, blocks, links, device, accessed, modified, changed } =
        layer.attributes(key)?;
    let is_file = kind == FileType::Regular;
    let xattrs = layer.xattrs(key)?.into_iter().map(|xattr| (xattr.name, xattr.value));
    let mut xattrs: Vec<_> = xattrs.collect();
    xattrs.sort();
    Ok(Seen {
        ino: key.0,
        kind,
        mode,
        ids: (ids.uid, ids.gid),
        links: links.into(),
        size,
        blocks,
        device: (device.0.into(), device.1.into()),
        times: [accessed, modified, changed].map(|Time { seconds, nanoseconds }| (seconds, nanoseconds.into())),
        target: if kind == FileType::Symlink { layer.target(key)? } else { Vec::new() },
        data: if is_file { data(layer, key)? } else { Vec::new() },
        pieces: if is_file { pieces(layer, key, size)? } else { 0 },
        xattrs,
        claimed,
    })
}

fn data(layer: &dyn Layer, key: Key) -> std::io::Result<Vec<(u64, u64, u64)>> {
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some(start) = layer.seek(key, at, false)? {
        let end = layer.seek(key, start, true)?.unwrap();
        let mut digest = FxHasher::default();
        let mut buf = vec![0xEE; (end - start).min(1 << 20) as usize];
        let mut from = start;
        while from < end {
            let length = (buf.len() as u64).min(end - from) as usize;
            assert_eq!(layer.read(key, from, &mut buf[..length])?, length);
            digest.write(&buf[..length]);
            from += length as u64;
        }
        all.push((start, end, digest.finish()));
        at = end;
    }
    Ok(all)
}

fn pieces(layer: &dyn Layer, key: Key, size: u64) -> std::io::Result<u64> {
    let mut digest = FxHasher::default();
    for (offset, length) in places(size) {
        let mut buf = vec![0xEE; length];
        let read = layer.read(key, offset, &mut buf)?;
        digest.write(&buf[..read]);
    }
    Ok(digest.finish())
}
