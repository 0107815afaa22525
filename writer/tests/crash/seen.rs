//! What is in an image, read as anybody reads it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use condatainer_formats::ext::{FileType, ReadAt, Stat, Volume, Window};

/// What stands under each path.
pub type Tree = BTreeMap<String, Seen>;

#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub ino: u32,
    pub stat: Stat,
    pub target: Vec<u8>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The tree, and the content of each file.
pub fn of(device: &dyn ReadAt, size: u64) -> (Tree, BTreeMap<u32, Vec<u8>>) {
    let volume = Volume::open(Box::new(device), Window::whole(size), 1 << 20).unwrap();
    let (mut tree, mut contents) = (Tree::new(), BTreeMap::new());
    walk(&volume, volume.root(), String::new(), &mut tree, &mut contents);
    (tree, contents)
}

fn walk(volume: &Volume<'_>, ino: u32, path: String, tree: &mut Tree, contents: &mut BTreeMap<u32, Vec<u8>>) {
    let stat = volume.stat(ino).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut target = Vec::new();
    match stat.kind {
        FileType::Symlink => target = volume.target(ino).unwrap(),
        FileType::Regular => {
            contents.entry(ino).or_insert_with(|| whole(volume, ino, stat.size));
        }
        _ => {}
    }
    let xattrs = volume.xattrs(ino).unwrap().into_iter().map(|xattr| (xattr.name, xattr.value)).collect();
    tree.insert(path.clone(), Seen { ino, stat, target, xattrs });
    if stat.kind == FileType::Directory {
        let mut names = Vec::new();
        let listed = volume.entries(ino, &mut |entry| {
            names.push((String::from_utf8(entry.name.to_vec()).unwrap(), entry.ino));
            ControlFlow::Continue(())
        });
        listed.unwrap();
        for (name, ino) in names {
            walk(volume, ino, format!("{path}/{name}"), tree, contents);
        }
    }
}

fn whole(volume: &Volume<'_>, ino: u32, size: u64) -> Vec<u8> {
    let mut content = vec![0; size as usize];
    let mut done = 0;
    while done < content.len() {
        let length = volume.read(ino, done as u64, &mut content[done..]).unwrap();
        assert!(length > 0);
        done += length;
    }
    content
}
