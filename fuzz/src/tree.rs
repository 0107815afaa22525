//! The target `ext`: everything that reads an ext image, on one image.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use condatainer_formats::ext::{ExtError, FileType, Ids, Node, Tree, Window, probe_measured};
use condatainer_images::overlay::whiteout::scan;
use condatainer_images::verbs::chown::{Request, preview};

use super::image::Sparse;

/// A probe ends here, however large the image.
const MOST_OF_A_PROBE: u64 = (1 << 20) + (1 << 17);
/// Bytes read for each byte of the image, by whoever looks at every inode and every directory once. Inodes are read in pieces of
/// 16 KiB, and the place of a directory's block is looked up each time.
const MOST_TIMES: u64 = 64;
const SLACK: u64 = 4 << 20;
/// Nodes that a walk visits, and bytes of each file that it reads.
const NODES: usize = 150;
const PER_FILE: u64 = 64 << 10;

/// An ext image in the form of [`Sparse`].
pub fn ext(data: &[u8]) {
    let image = Sparse::decode(data);
    let window = Window::whole(image.size);
    let probed = probe_measured(&image, window);
    assert!(image.take_read() <= MOST_OF_A_PROBE);
    if probed.is_err() {
        return;
    }
    search(&image, window);
    look(&image, window);
    let _ = walk(&image, window);
}

fn within_bounds(image: &Sparse<'_>, what: &str) {
    let read = image.take_read();
    assert!(read <= MOST_TIMES * image.size + SLACK, "{what} read {read} bytes of an image of {}", image.size);
}

fn search(image: &Sparse<'_>, window: Window) {
    if let Ok(tree) = Tree::open(image, window) {
        let _ = scan(&tree, None);
    }
    within_bounds(image, "the search for whiteouts");
}

/// Chown's own look, by tables and by names.
fn look(image: &Sparse<'_>, window: Window) {
    for paths in [vec![], vec!["/".into(), "ext3/env".into()]] {
        let request = Request { paths, ..Request::new(Ids { uid: 1000, gid: 100 }, Ids::ROOT) };
        if let Err(error) = preview(Path::new("/some.img"), image, window, &request) {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        within_bounds(image, "chown");
    }
}

fn walk(image: &Sparse<'_>, window: Window) -> Result<(), ExtError> {
    let tree = Tree::open(image, window)?;
    let mut pending = vec![2];
    let mut met = HashSet::new();
    while let Some(ino) = pending.pop().filter(|_| met.len() < NODES) {
        if met.insert(ino)
            && let Ok(node) = tree.node(ino)
        {
            visit(&tree, &node, &mut pending);
        }
    }
    within_bounds(image, "the walk");
    Ok(())
}

fn visit(tree: &Tree<'_>, node: &Node, pending: &mut Vec<u32>) {
    if let Ok(xattrs) = tree.xattrs(node) {
        assert!(xattrs.iter().map(|xattr| xattr.value.len()).sum::<usize>() <= 1 << 20);
    }
    // Also what its kind does not call for must be refused in good order.
    if let Ok(names) = tree.names(node) {
        assert!(names.iter().all(|n| !n.name.is_empty() && n.name.iter().all(|b| !matches!(b, b'/' | 0))));
        let first = names.first().map(|name| (name.name.clone(), tree.child(node, &name.name)));
        assert!(first.is_none_or(|(name, found)| matches!(found, Ok(Some(_))) || name == b"."));
        pending.extend(names.iter().map(|name| name.ino));
    }
    if let Ok(target) = tree.target(node) {
        assert_eq!((target.len() as u64, node.kind), (node.size, FileType::Symlink));
    }
    let _ = read(tree, node);
}

/// Where a file's content lies, and its beginning and the first piece behind a hole.
fn read(tree: &Tree<'_>, node: &Node) -> Result<(), ExtError> {
    let extents = tree.extents(node)?;
    let mut end = 0;
    for extent in &extents {
        assert!(extent.offset >= end, "{extents:?}");
        end = extent.offset + extent.length;
    }
    assert!(end <= node.size, "{extents:?} in {} bytes", node.size);
    let mut content = Vec::new();
    let length = tree.open_file(node)?.take(PER_FILE).read_to_end(&mut content)? as u64;
    assert_eq!(length, node.size.min(PER_FILE));
    Ok(())
}
