//! An ext image as a layer: what lies in its `upper`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::LowerError;
use super::layer::{Child, Layer};
use super::node::{At, LowerNode};
use crate::overlay::upper::is_users;
use condatainer_formats::ext::raw::ROOT_INO;
use condatainer_formats::ext::{ExtError, FileType, Node, Tree, Window};
use condatainer_formats::overlayfs::is_opaque;

pub(super) struct LowerExt {
    path: PathBuf,
    file: File,
    window: Window,
    root: u32,
}

/// Where in an ext file system the layer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Root,
    Upper,
}

impl LowerExt {
    pub(super) fn open(path: &Path, file: File, window: Window, start: Start) -> Result<Self, LowerError> {
        let mut layer = Self { path: path.into(), file, window, root: ROOT_INO };
        if start == Start::Upper {
            layer.root = layer.with(|tree| tree.upper())?.ino;
        }
        Ok(layer)
    }

    /// Opening anew costs one small read, where a tree cannot be kept beside the file that it borrows.
    fn with<T>(&self, look: impl FnOnce(&Tree<'_>) -> Result<T, ExtError>) -> Result<T, LowerError> {
        let result = Tree::open(&self.file, self.window).and_then(|tree| look(&tree));
        result.map_err(|error| LowerError::ext(&self.path, error))
    }
}

fn node(tree: &Tree<'_>, at: &At) -> Result<Node, ExtError> {
    match at {
        At::Inode(ino) => tree.node(*ino),
        _ => Err(ExtError::corrupt("a place of another layer")),
    }
}

impl Layer for LowerExt {
    fn path(&self) -> &Path {
        &self.path
    }

    fn root(&self) -> At {
        At::Inode(self.root)
    }

    fn node(&self, at: &At) -> Result<LowerNode, LowerError> {
        self.with(|tree| {
            let node = node(tree, at)?;
            let target = (node.kind == FileType::Symlink).then(|| tree.target(&node)).transpose()?;
            let Node { kind, mode, ids, size, mtime, links, device, .. } = node;
            let links = u32::from(links);
            Ok(LowerNode {
                kind,
                size,
                mode,
                ids,
                mtime,
                links,
                device,
                target,
                host_ids: false,
                layer: 0,
                at: at.clone(),
            })
        })
    }

    fn list(&self, directory: &At, visit: &mut dyn FnMut(Child)) -> Result<(), LowerError> {
        self.with(|tree| {
            let names = tree.names(&node(tree, directory)?)?;
            names.into_iter().for_each(|name| visit(Child { name: name.name, at: At::Inode(name.ino), kind: None }));
            Ok(())
        })
    }

    fn is_opaque(&self, directory: &At) -> Result<bool, LowerError> {
        self.with(|tree| Ok(tree.xattrs(&node(tree, directory)?)?.iter().any(is_opaque)))
    }

    fn is_users(&self, at: &At) -> Result<bool, LowerError> {
        let At::Inode(ino) = at else { return Ok(false) };
        self.with(|tree| Ok(is_users(tree, *ino)))
    }

    fn read(&self, file: &At, visit: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>) -> Result<(), LowerError> {
        let read = self.with(|tree| Ok(visit(&mut tree.open_file(&node(tree, file)?)?)))?;
        read.map_err(|error| LowerError::content(&self.path, error))
    }
}
