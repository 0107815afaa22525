//! What lies below an image: a stack of read-only layers, merged the way an overlay merges them, and read without a mount.
//!
//! seal and diff ask it what an image's files and whiteouts hide. The lowest layer is the base image; whiteouts of both kinds
//! and opaque directories count in every layer. A place is remembered from one question to the next, so a caller that walks a tree
//! directory by directory has each directory read once.
//!
//! `open` finds the layers that a path means. A `layer` is a `directory`, an `ext` image or a `squashfs`, and all of them can do the same.
//! `merged` is one directory of several layers, in which whiteouts count; this file leads from one to the next.
//!
//! `merge` of the crate `stack` merges layers too, for a server: many threads ask it, at any place, and its memory is bounded. This one
//! walks a tree once, and reads directories of the host too. `stack/tests/merge.rs` compares both with the kernel.

mod directory;
mod error;
mod ext;
mod layer;
mod links;
mod merged;
mod names;
mod node;
mod open;
mod squashfs;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use error::LowerError;
pub use links::first_with_hard_links;
pub use node::LowerNode;

use crate::overlay::path::{join, split};
use condatainer_formats::ext::FileType;
use layer::Layer;
use merged::{Found, Merged};
use open::Wanted;

/// Bytes that are compared at a time.
const PIECE: usize = 128 * 1024;
/// A deeper tree is not believed, nor a longer path: no system call takes one.
const DEEPEST: usize = 2048;
const LONGEST: usize = 4096;
/// What is kept at one time: names of the directories on the way to the one that was asked for, and paths that are still to be
/// looked into, in bytes. Real trees have a hundredth of that.
const MOST_NAMES: usize = 1_000_000;
const MOST_PENDING: usize = 32 << 20;
/// Directories below one that are counted.
const MOST_DIRECTORIES: usize = 500_000;

/// What to do about a layer that has more.
const OR_ELSE: &str = "split its large directories, or leave this layer out of the comparison";

/// A merged read-only tree.
pub struct Lower {
    layers: Vec<Box<dyn Layer>>,
    /// The directories that lead to the one that was asked for last; the root has no name.
    chain: RefCell<Vec<(Vec<u8>, Rc<Merged>)>>,
}

/// What a directory holds in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Below {
    /// Everything that is not a directory; hard links count by name.
    pub files: u64,
    /// Directories below it.
    pub directories: u64,
    /// Sizes of the regular files, in bytes.
    pub bytes: u64,
}

impl Lower {
    /// Opens layers, lowest first. The first is the base: a SIF, a squashfs, or a directory that is the root of a system. Of the
    /// others, a SIF means its overlays, and an image or directory with an `upper` means what lies in there. No layers at all
    /// make an empty tree.
    ///
    /// # Errors
    /// One of them cannot be read, or holds no tree.
    pub fn open(layers: &[PathBuf]) -> Result<Self, LowerError> {
        let mut opened = Vec::new();
        for (number, path) in layers.iter().enumerate() {
            open::layers(path, if number == 0 { Wanted::Base } else { Wanted::Layer }, &mut opened)?;
        }
        Ok(Self::of(opened))
    }

    /// What lies below the writable overlay in the SIF at `sif`: the rest of it. Further layers follow, lowest first.
    ///
    /// # Errors
    /// As [`Lower::open`].
    pub fn open_inside(sif: &Path, layers: &[PathBuf]) -> Result<Self, LowerError> {
        let mut opened = Vec::new();
        open::layers(sif, Wanted::BaseOfItself, &mut opened)?;
        for path in layers {
            open::layers(path, Wanted::Layer, &mut opened)?;
        }
        Ok(Self::of(opened))
    }

    fn of(layers: Vec<Box<dyn Layer>>) -> Self {
        Self { layers, chain: RefCell::default() }
    }

    /// What is at `path`: relative, its names separated by `/`; an empty path is the root. Symbolic links are never followed.
    ///
    /// # Errors
    /// A layer that cannot be read there.
    pub fn get(&self, path: &[u8]) -> Result<Option<LowerNode>, LowerError> {
        let (directory, name) = split(path);
        let Some(name) = name else { return self.root() };
        let Some(directory) = self.enter(directory)? else { return Ok(None) };
        Ok(directory.find(&self.layers, name)?.map(|found| found.node))
    }

    /// The names in the directory at `path`; none where there is no directory.
    ///
    /// # Errors
    /// A layer that cannot be read there.
    pub fn names(&self, path: &[u8]) -> Result<BTreeSet<Vec<u8>>, LowerError> {
        match self.enter(path)? {
            Some(directory) => directory.names(&self.layers),
            None => Ok(BTreeSet::new()),
        }
    }

    /// As [`Lower::names`], one after the other and in any order.
    ///
    /// # Errors
    /// A layer that cannot be read there, or what `visit` returns.
    pub(crate) fn each_name<E: From<LowerError>>(
        &self,
        path: &[u8],
        visit: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.enter(path)? {
            Some(directory) => directory.each_name(&self.layers, visit),
            None => Ok(()),
        }
    }

    /// What the directory at `path` holds in all; nothing where there is no directory.
    ///
    /// # Errors
    /// A layer that cannot be read there, or has a directory under two names.
    pub fn below(&self, path: &[u8]) -> Result<Below, LowerError> {
        let (mut total, mut pending, mut entered) = (Below::default(), vec![path.to_vec()], HashSet::new());
        let mut length = path.len();
        while let Some(path) = pending.pop() {
            length = length.saturating_sub(path.len());
            self.each_name(&path, &mut |name| {
                let inner = join(&path, name);
                let Some(node) = self.get(&inner)? else { return Ok(()) };
                if node.kind != FileType::Directory {
                    total.files += 1;
                    total.bytes += if node.kind == FileType::Regular { node.size } else { 0 };
                    return Ok(());
                }
                if !entered.insert((node.layer, node.at)) {
                    return Err(self.layer_error(node.layer, "is damaged: a directory has two names"));
                }
                total.directories += 1;
                length += inner.len();
                if length > MOST_PENDING || entered.len() > MOST_DIRECTORIES {
                    return Err(self.too_large(node.layer, "has more directories than can be looked into"));
                }
                pending.push(inner);
                Ok(())
            })?;
        }
        Ok(total)
    }

    /// Whether the file `node` has exactly the content that `other` yields. An error of `other` itself is the inner one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn has_content(&self, node: &LowerNode, other: &mut dyn Read) -> Result<io::Result<bool>, LowerError> {
        let mut same = Ok(true);
        if let Some(layer) = self.layers.get(node.layer) {
            let piece = usize::try_from(node.size).unwrap_or(PIECE).clamp(1, PIECE);
            layer.read(&node.at, &mut |content| {
                same = compare(content, other, piece)?;
                Ok(())
            })?;
        }
        Ok(same)
    }

    fn root(&self) -> Result<Option<LowerNode>, LowerError> {
        let Some(layer) = self.layers.last() else { return Ok(None) };
        let node = layer.node(&layer.root())?;
        Ok(Some(LowerNode { layer: self.layers.len() - 1, ..node }))
    }

    /// The directory at `path`, going on from the one that was asked for last.
    fn enter(&self, path: &[u8]) -> Result<Option<Rc<Merged>>, LowerError> {
        let mut chain = self.chain.borrow_mut();
        if chain.is_empty() {
            let roots = self.layers.iter().enumerate().rev().map(|(number, layer)| (number, layer.root()));
            chain.push((Vec::new(), Rc::new(Merged::open(&self.layers, roots)?)));
        }
        let names = || path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        if names().count() > DEEPEST || path.len() > LONGEST {
            return Ok(None);
        }
        let shared = chain.iter().skip(1).zip(names()).take_while(|((known, _), name)| known == name).count();
        chain.truncate(shared + 1);
        for name in names().skip(shared) {
            let found = chain.last().map(|(_, above)| above.find(&self.layers, name)).transpose()?.flatten();
            let Some(Found { below, .. }) = found.filter(|found| found.node.kind == FileType::Directory) else {
                return Ok(None);
            };
            let topmost = below.first().map_or(0, |(layer, _)| *layer);
            chain.push((name.to_vec(), Rc::new(Merged::open(&self.layers, below)?)));
            if chain.iter().map(|(_, directory)| directory.len()).sum::<usize>() > MOST_NAMES {
                chain.truncate(1);
                return Err(self.too_large(
                    topmost,
                    &format!("its directories have more names than {MOST_NAMES}, or very long ones"),
                ));
            }
        }
        Ok(chain.last().map(|(_, directory)| Rc::clone(directory)))
    }

    /// That the layer which has `node` has more that is deleted than is told.
    pub(crate) fn too_many_deleted(&self, node: &LowerNode, most: usize) -> LowerError {
        self.too_large(
            node.layer,
            &format!("the image deletes more than {most} names of the layers below, or very long ones"),
        )
    }

    fn too_large(&self, number: usize, what: &str) -> LowerError {
        self.layer_error(number, &format!("{what}: {OR_ELSE}"))
    }

    fn layer_error(&self, number: usize, what: &str) -> LowerError {
        let path = self.layers.get(number).map(|layer| layer.path().to_owned()).unwrap_or_default();
        LowerError::Unusable { path, what: what.into() }
    }
}

/// Whether both yield the same bytes, of which `piece` are looked at together. The inner error is that of `other`.
fn compare(content: &mut dyn Read, other: &mut dyn Read, piece: usize) -> io::Result<io::Result<bool>> {
    let (mut ours, mut theirs) = (vec![0; piece], vec![0; piece]);
    loop {
        let length = fill(content, &mut ours)?;
        match fill(other, &mut theirs) {
            Ok(other) if other == length && ours.get(..length) == theirs.get(..length) => {}
            differing => return Ok(differing.map(|_| false)),
        }
        if length == 0 {
            return Ok(Ok(true));
        }
    }
}

/// Reads until `buf` is full or the content ends.
fn fill(content: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match content.read(rest) {
            Ok(0) => break,
            Ok(length) => done += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_layers_are_an_empty_tree() {
        let lower = Lower::open(&[]).unwrap();
        assert_eq!((lower.get(b"").unwrap(), lower.names(b"").unwrap().len()), (None, 0));
    }
}
