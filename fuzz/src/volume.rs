//! The target `volume`: what a server reads of an ext image, its journal first, in whatever order it is asked.

use std::collections::HashSet;
use std::ops::ControlFlow;

use condatainer_formats::ext::{FileType, Volume, Window};

use super::image::Sparse;

/// What is kept in memory of the metadata.
const CACHED: usize = 64 << 10;
/// The journal is read three times, its blocks once more for their checksums; inodes are read in pieces of 16 KiB.
const MOST_TIMES: u64 = 8;
const SLACK: u64 = 1 << 20;
/// Nodes that a walk visits, and names of each directory.
const NODES: usize = 100;
const NAMES: usize = 2000;

/// An ext image in the form of [`Sparse`].
pub fn volume(data: &[u8]) {
    let image = Sparse::decode(data);
    let opened = Volume::open(Box::new(&image), Window::whole(image.size), CACHED);
    let most = MOST_TIMES * image.size + SLACK;
    assert!(image.take_read() <= most);
    let Ok(volume) = opened else { return };
    let _ = volume.upper();
    let mut pending = vec![volume.root()];
    let mut met = HashSet::new();
    while let Some(ino) = pending.pop().filter(|_| met.len() < NODES) {
        if met.insert(ino) {
            image.take_read();
            visit(&volume, ino, &mut pending);
            assert!(image.take_read() <= 8 * most, "inode {ino}");
        }
    }
}

fn visit(volume: &Volume<'_>, ino: u32, pending: &mut Vec<u32>) {
    let Ok(stat) = volume.stat(ino) else { return };
    assert!(stat.accessed.nanoseconds < 1_000_000_000);
    if let Ok(xattrs) = volume.xattrs(ino) {
        assert!(xattrs.iter().map(|xattr| xattr.value.len()).sum::<usize>() <= 4 << 20);
    }
    // Also what its kind does not call for must be refused in good order.
    let mut count = 0;
    let _ = volume.entries(ino, &mut |entry| {
        assert!(!entry.name.is_empty() && entry.name.iter().all(|byte| !matches!(byte, b'/' | 0)));
        pending.push(entry.ino);
        count += 1;
        if count < NAMES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if let Ok(target) = volume.target(ino) {
        assert!(stat.kind == FileType::Symlink && (1..=4096).contains(&target.len()));
    }
    for offset in [0, 1, 12 << 10, 300_000, stat.size.saturating_sub(7), stat.size, u64::MAX] {
        read(volume, ino, stat.size, offset);
    }
}

/// A piece, which is as long as it must be, and what follows it: data or a hole.
fn read(volume: &Volume<'_>, ino: u32, size: u64, offset: u64) {
    let mut buf = [0xEE; 5000];
    if let Ok(length) = volume.read(ino, offset, &mut buf) {
        assert_eq!(length as u64, size.saturating_sub(offset).min(buf.len() as u64));
    }
    for hole in [false, true] {
        if let Ok(Some(found)) = volume.seek(ino, offset, hole) {
            assert!(found >= offset && found <= size, "{found} from {offset} of {size}");
        }
    }
}
