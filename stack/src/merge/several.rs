//! In which directories of an image the files are that have several names.
//!
//! Of a file an image says how many names it has, not which. So all directories are read when that is asked for the first time.

use std::collections::HashSet;

use condatainer_formats::ext::FileType;

use crate::layer::{Key, Layer};

/// So many names are looked at, of 16 bytes each; in an image of more nothing is found.
const MOST_NAMES: usize = 2_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Several {
    /// Those of the image, from the root on.
    directories: Vec<Directory>,
    /// Files, and numbers of directories that they are in; in order.
    files: Vec<(Key, u32)>,
}

/// A directory, and the number of the one that it is in.
#[derive(Debug)]
struct Directory {
    name: Box<[u8]>,
    parent: u32,
}

/// The names of directories that lead to one from the root.
pub(crate) type Way = Vec<Box<[u8]>>;

impl Several {
    /// Looks through a layer for as long as `go_on` says so; nothing if it does not.
    pub(super) fn of(layer: &dyn Layer, go_on: &dyn Fn() -> bool) -> Option<Self> {
        let mut directories = vec![Directory { name: Box::default(), parent: 0 }];
        let (mut keys, mut seen) = (vec![layer.root()], HashSet::from([layer.root()]));
        let (mut files, mut at) = (Vec::new(), 0);
        while let Some(key) = keys.get(at).copied() {
            if !go_on() {
                return None;
            }
            // The names of a directory that cannot be read show nowhere.
            let _ = layer.entries(key, &mut |entry| {
                let kind = entry.kind.or_else(|| Some(layer.attributes(entry.key).ok()?.kind));
                if kind != Some(FileType::Directory) {
                    files.push((entry.key, at as u32));
                } else if seen.insert(entry.key) {
                    keys.push(entry.key);
                    directories.push(Directory { name: entry.name.into(), parent: at as u32 });
                }
                files.len() + keys.len() <= MOST_NAMES
            });
            if files.len() + keys.len() > MOST_NAMES {
                return Some(Self::default());
            }
            at += 1;
        }
        files.sort_unstable();
        let several = files.chunk_by(|one, other| one.0 == other.0).filter(|names| names.len() > 1);
        let mut files: Vec<(Key, u32)> = several.flatten().copied().collect();
        files.dedup();
        Some(Self { directories, files })
    }

    /// The directories that a file is in, if it has several names.
    pub(super) fn ways_to(&self, file: Key) -> Vec<Way> {
        let first = self.files.partition_point(|(key, _)| *key < file);
        let names = self.files.get(first..).unwrap_or_default().iter().take_while(|(key, _)| *key == file);
        names.map(|(_, directory)| self.way_to(*directory)).collect()
    }

    fn way_to(&self, directory: u32) -> Way {
        let (mut way, mut at) = (Vec::new(), directory);
        // The root is the first, and each other one is in one that was found before.
        while let Some(Directory { name, parent }) = self.directories.get(at as usize).filter(|_| at != 0) {
            way.push(name.clone());
            at = *parent;
        }
        way.reverse();
        way
    }
}
