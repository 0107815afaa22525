//! The target `layer`: everything that the server asks of a squashfs, on one image.

use std::collections::HashSet;
use std::io;

use condatainer_formats::source::Window;
use condatainer_formats::squashfs::Budget;
use condatainer_stack::layer::squashfs::SquashfsLayer;
use condatainer_stack::layer::{Key, Layer};

/// Inodes that a walk visits, and names of one directory.
const NODES: usize = 100;
const NAMES: usize = 300;
/// What it may keep.
const BUDGET: Budget = Budget { metadata: 128 << 10, data: 2 << 20 };
/// Read at once.
const PIECE: usize = 20_000;

/// A squashfs. Whatever is wrong with it is told in one line.
pub fn layer(data: &[u8]) {
    let mut image = data.to_vec();
    image.resize(image.len().max(96), 0);
    image[..4].copy_from_slice(b"hsqs");
    let size = image.len() as u64;
    let Some(layer) = checked(SquashfsLayer::open(image, Window::whole(size), BUDGET).map_err(Into::into)) else {
        return;
    };
    let (mut pending, mut met) = (vec![layer.root(), Key(u64::MAX), Key(7)], HashSet::new());
    while let Some(key) = pending.pop().filter(|_| met.len() < NODES) {
        if met.insert(key) {
            visit(&layer, key, &mut pending);
        }
    }
}

/// Also what its kind does not call for must be refused in good order.
fn visit(layer: &SquashfsLayer, key: Key, pending: &mut Vec<Key>) {
    let told = checked(layer.attributes(key)).map(|attributes| attributes.size);
    let size = told.unwrap_or(PIECE as u64);
    checked(layer.xattrs(key));
    checked(layer.target(key));
    let mut count = 0;
    checked(layer.entries(key, &mut |entry| {
        assert!(!entry.name.is_empty() && entry.name.len() <= 255);
        assert!(!entry.name.contains(&b'/') && !entry.name.contains(&0) && entry.name != b"." && entry.name != b"..");
        pending.push(entry.key);
        count += 1;
        count < NAMES
    }));
    for offset in [0, 1, size / 2, size.saturating_sub(PIECE as u64 / 2), size, u64::MAX] {
        let mut buf = vec![0; PIECE];
        if let Some(length) = checked(layer.read(key, offset, &mut buf)) {
            assert!(told.is_none() || length as u64 == size.saturating_sub(offset).min(PIECE as u64));
        }
        for hole in [false, true] {
            let found = checked(layer.seek(key, offset, hole)).flatten();
            assert!(
                told.is_none() || found.is_none_or(|at| (offset..=size).contains(&at)),
                "{found:?} from {offset} of {size}"
            );
        }
    }
}

/// The answer, or a line that says why there is none.
fn checked<T>(answer: io::Result<T>) -> Option<T> {
    answer
        .map_err(|error| {
            let message = error.to_string();
            assert!(!message.is_empty() && !message.contains('\n'), "{message}");
        })
        .ok()
}
