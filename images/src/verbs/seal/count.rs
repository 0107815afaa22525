//! What a layer will hold, counted before the first byte of it is written.
//!
//! It decides the options of mksquashfs and tells how far the work is, and in the end the finished layer must agree with it.

use super::archive::{self, mtime_of};
use super::walk::{Entry, What};
use crate::tools::mksquashfs::{Root, fits_in_an_option};
use condatainer_formats::ext::{ExtError, FileType, Ids, Tree, Xattr};

/// Where a Conda environment lies in an image.
const CONDA: &[u8] = b"ext3/env/bin";
const PYTHON: &[u8] = b"ext3/env/bin/python";

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Count {
    /// Inodes of the layer, its root included.
    pub(super) inodes: u64,
    /// Regular files; more names of one count once.
    pub(super) files: u64,
    /// Directories, the root included.
    pub(super) directories: u64,
    /// Bytes to be read from the image.
    pub(super) bytes: u64,
    /// The newest change, in seconds since 1970.
    pub(super) newest: u32,
    /// The newest change of anything, as the clock has told it.
    pub(super) changed: i64,
    /// Inodes with an access control list.
    pub(super) acls: u64,
    /// Other attributes for which squashfs or its tar reader has no place.
    pub(super) lost_xattrs: u64,
    pub(super) root: Root,
    /// The one owner of everything, if there is one.
    pub(super) owner: Owner,
    /// There is a Conda environment.
    pub(super) conda: bool,
    /// It has a python.
    pub(super) python: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Owner {
    #[default]
    None,
    One(Ids),
    Several,
}

impl Owner {
    pub(super) fn only(self) -> Option<Ids> {
        match self {
            Self::One(ids) => Some(ids),
            Self::None | Self::Several => None,
        }
    }

    fn and(self, ids: Ids) -> Self {
        match self {
            Self::None => Self::One(ids),
            Self::One(one) if one == ids => self,
            _ => Self::Several,
        }
    }
}

impl Count {
    /// Takes one entry into account; times are not later than `latest`.
    pub(super) fn add(&mut self, tree: &Tree<'_>, entry: &Entry<'_>, latest: u32) -> Result<(), ExtError> {
        let node = entry.node;
        if let What::Link(_) = entry.what {
            return Ok(());
        }
        self.inodes += 1;
        self.owner = self.owner.and(node.ids);
        let mtime = mtime_of(node, latest);
        self.newest = self.newest.max(mtime);
        self.changed = self.changed.max(node.ctime);
        let What::Itself(xattrs) = entry.what else { return Ok(()) };
        self.attributes(xattrs);
        match node.kind {
            FileType::Directory => self.directories += 1,
            FileType::Regular => {
                self.files += 1;
                self.bytes += tree.extents(node)?.iter().map(|extent| extent.length).sum::<u64>();
            }
            _ => {}
        }
        if entry.path.is_empty() {
            let kept = xattrs.iter().filter(|xattr| archive::is_kept(xattr));
            let (xattrs, lost): (Vec<_>, Vec<_>) = kept.cloned().partition(fits_in_an_option);
            self.lost_xattrs += lost.len() as u64;
            self.root = Root { mode: node.mode, ids: node.ids, mtime, xattrs };
        }
        self.conda |= entry.path == CONDA;
        self.python |= entry.path == PYTHON;
        Ok(())
    }

    fn attributes(&mut self, xattrs: &[Xattr]) {
        self.acls += u64::from(xattrs.iter().any(Xattr::is_acl));
        self.lost_xattrs += xattrs.iter().filter(|xattr| archive::is_lost(xattr)).count() as u64;
    }
}
