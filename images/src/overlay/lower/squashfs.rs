//! A squashfs as a layer, bare or in a SIF.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::LowerError;
use super::layer::{Child, Layer};
use super::node::{At, LowerNode};
use condatainer_formats::ext::Window;
use condatainer_formats::overlayfs::{is_opaque, is_users};
use condatainer_formats::squashfs::{Inode, Squashfs, SquashfsError};

pub(super) struct LowerSquashfs {
    path: PathBuf,
    image: Squashfs,
}

impl LowerSquashfs {
    pub(super) fn open(path: &Path, file: File, window: Window) -> Result<Self, LowerError> {
        let image = Squashfs::open(file, window).map_err(|error| LowerError::squashfs(path, error))?;
        Ok(Self { path: path.into(), image })
    }

    fn inode(&self, at: &At) -> Result<Inode, SquashfsError> {
        match at {
            At::Reference(reference) => self.image.inode(*reference),
            _ => Err(SquashfsError::Corrupt("a place of another layer")),
        }
    }

    fn with_path<T>(&self, result: Result<T, SquashfsError>) -> Result<T, LowerError> {
        result.map_err(|error| LowerError::squashfs(&self.path, error))
    }
}

impl Layer for LowerSquashfs {
    fn path(&self) -> &Path {
        &self.path
    }

    fn root(&self) -> At {
        At::Reference(self.image.root())
    }

    fn node(&self, at: &At) -> Result<LowerNode, LowerError> {
        let Inode { kind, mode, ids, mtime, size, links, device, target, .. } = self.with_path(self.inode(at))?;
        Ok(LowerNode { kind, size, mode, ids, mtime, links, device, target, host_ids: false, layer: 0, at: at.clone() })
    }

    fn list(&self, directory: &At, visit: &mut dyn FnMut(Child)) -> Result<(), LowerError> {
        let mut child = |entry: condatainer_formats::squashfs::Entry| {
            visit(Child { name: entry.name, at: At::Reference(entry.reference), kind: Some(entry.kind) });
            true
        };
        self.with_path(self.inode(directory).and_then(|inode| self.image.each_entry(&inode, &mut child)))
    }

    fn is_opaque(&self, directory: &At) -> Result<bool, LowerError> {
        let xattrs = self.inode(directory).and_then(|inode| self.image.xattrs(&inode));
        Ok(self.with_path(xattrs)?.iter().any(is_opaque))
    }

    fn is_users(&self, at: &At) -> Result<bool, LowerError> {
        let xattrs = self.inode(at).and_then(|inode| self.image.xattrs(&inode));
        Ok(self.with_path(xattrs)?.iter().any(is_users))
    }

    fn read(&self, file: &At, visit: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>) -> Result<(), LowerError> {
        let mut content = self.with_path(self.inode(file).and_then(|inode| self.image.open_file(&inode)))?;
        visit(&mut content).map_err(|error| LowerError::content(&self.path, error))
    }
}
