//! The tree inside an ext image: names, what their inodes say, and contents, read without a mount.
//!
//! What [`super::probe`] is to one look, this is to whole trees: seal, diff and the search for whiteouts stand on it. Nothing
//! here recurses by itself, so a directory that contains itself costs its caller a check and nothing more. Reading every
//! directory and file once reads no more than the image has.
//!
//! [`super::volume`] reads the same for a server: at any place, by many threads, and through the journal. This one reads the disk as it
//! is, so that a writer sees what it wrote, and streams each file once.

mod walk;
pub(crate) mod xattr;

use std::cell::RefCell;
use std::ops::ControlFlow;

use zerocopy::IntoBytes;

use super::blocks::claims::Claims;
use super::blocks::content::{Content, Extent};
use super::directory::{Entry, block_count, check_plain, each_entry, lookup, read_block};
use super::error::ExtError;
use super::fs::Fs;
use super::inode::{Inode, InodeRecord};
use super::probe::find_upper_and_work;
use super::superblock::ROOT_INO;
use crate::file::{FileType, Ids, Xattr};
use crate::source::{ReadAt, Window};
pub use walk::{Visit, Walk};
use xattr::xattrs;

/// Neighbouring inodes are read together.
const TABLE_PIECE: u64 = 16 * 1024;
/// The longest target that a symbolic link can have.
const LONGEST_TARGET: u64 = 4096;

/// A file system opened to be read as a tree.
pub struct Tree<'a> {
    fs: Fs<'a>,
    piece: RefCell<(u64, Vec<u8>)>,
    claims: RefCell<Claims>,
}

/// A file, directory or anything else with an inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its number; two names with the same number are hard links.
    pub ino: u32,
    /// What it is.
    pub kind: FileType,
    /// Permission bits (the low twelve).
    pub mode: u16,
    /// Owner and group.
    pub ids: Ids,
    /// Number of names.
    pub links: u16,
    /// In bytes.
    pub size: u64,
    /// Last change of the content, in seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds to add to `mtime`.
    pub mtime_nanoseconds: u32,
    /// Last change of anything, in seconds since 1970: no program can set it.
    pub ctime: i64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    inode: Inode,
    record: Vec<u8>,
}

impl Node {
    /// Its fields as they are on disk.
    #[must_use]
    pub fn inode(&self) -> &Inode {
        &self.inode
    }

    /// Whether there is a block with extended attributes, perhaps shared with other inodes.
    #[must_use]
    pub fn has_attribute_block(&self) -> bool {
        self.inode.file_acl() != 0
    }
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Without any directory; any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// The inode behind it.
    pub ino: u32,
}

impl<'a> Tree<'a> {
    /// Opens the file system in `window` of `reader`.
    ///
    /// # Errors
    /// No readable ext superblock.
    pub fn open(reader: &'a dyn ReadAt, window: Window) -> Result<Self, ExtError> {
        Fs::open(reader, window, u64::MAX).map(Self::of)
    }

    /// As [`Tree::open`], for a file system that is open already.
    #[must_use]
    pub fn of(fs: Fs<'a>) -> Self {
        Self { fs, piece: RefCell::default(), claims: RefCell::default() }
    }

    /// The file system below.
    #[must_use]
    pub fn fs(&self) -> &Fs<'a> {
        &self.fs
    }

    /// Block `logical` of a directory: its number on disk, and its bytes.
    ///
    /// # Errors
    /// Not a directory, a hole or a broken map.
    pub fn directory_block(&self, directory: &Node, logical: u64) -> Result<(u64, Vec<u8>), ExtError> {
        check_plain(&directory.inode, "a directory")?;
        read_block(&self.fs, &directory.inode, logical)
    }

    /// The directory `upper`, which a container sees.
    ///
    /// # Errors
    /// It is missing, is something else, or cannot be read.
    pub fn upper(&self) -> Result<Node, ExtError> {
        let [upper, _] = find_upper_and_work(&self.fs)?;
        let upper = self.node(upper.ok_or_else(|| ExtError::without_directory("upper"))?)?;
        match upper.kind {
            FileType::Directory => Ok(upper),
            other => Err(ExtError::other_than_directory("upper", other)),
        }
    }

    /// The root directory of the file system.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn root(&self) -> Result<Node, ExtError> {
        self.node(ROOT_INO)
    }

    /// Highest inode number.
    #[must_use]
    pub fn inodes(&self) -> u32 {
        self.fs.sb.inodes_count
    }

    /// What inode `ino` says.
    ///
    /// # Errors
    /// It does not exist, is not in use, or cannot be read.
    pub fn node(&self, ino: u32) -> Result<Node, ExtError> {
        let record = self.record(ino)?;
        let fields = InodeRecord::of(&record);
        let fields = fields.ok_or_else(|| ExtError::corrupt(format!("inode {ino} is too short")))?;
        let inode = fields.inode;
        if !inode.is_live() {
            return Err(ExtError::corrupt(format!("a name points to inode {ino}, which is not in use")));
        }
        let (mtime, mtime_nanoseconds) = fields.mtime();
        Ok(Node {
            ino,
            kind: inode.file_type(),
            mode: inode.permissions(),
            ids: inode.ids(),
            links: inode.i_links_count.get(),
            size: inode.size(),
            mtime,
            mtime_nanoseconds,
            ctime: fields.ctime().0,
            device: inode.device(),
            inode,
            record,
        })
    }

    /// The whole record of an inode, from a piece of the table that usually holds the next one too.
    fn record(&self, ino: u32) -> Result<Vec<u8>, ExtError> {
        let at = self.fs.inode_offset(ino)?;
        let (start, length) = (at / TABLE_PIECE * TABLE_PIECE, usize::from(self.fs.sb.inode_size));
        let end = (start + TABLE_PIECE).min(self.fs.sb.blocks_count * u64::from(self.fs.sb.block_size));
        let mut piece = self.piece.borrow_mut();
        if piece.0 != start || piece.1.is_empty() {
            *piece = (start, self.fs.read(start, usize::try_from(end.saturating_sub(start)).unwrap_or(0))?);
        }
        let within = usize::try_from(at - start).unwrap_or(usize::MAX);
        match piece.1.get(within..within.saturating_add(length)) {
            Some(record) => Ok(record.to_vec()),
            None => self.fs.read(at, length),
        }
    }

    /// Calls `visit` with each name of a directory but `.` and `..`, in the order of the disk.
    ///
    /// # Errors
    /// Not a directory, or a broken one.
    pub fn each_name(
        &self,
        directory: &Node,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ExtError> {
        check_plain(&directory.inode, "a directory")?;
        self.claim(directory.ino, block_count(&self.fs.sb, &directory.inode))?;
        each_entry(&self.fs, &directory.inode, visit)
    }

    fn claim(&self, ino: u32, blocks: u64) -> Result<(), ExtError> {
        self.claims.borrow_mut().claim(&self.fs.sb, ino, blocks)
    }

    /// The names of a directory, sorted by their bytes.
    ///
    /// # Errors
    /// As [`Tree::each_name`], and a name that no file can have.
    pub fn names(&self, directory: &Node) -> Result<Vec<Name>, ExtError> {
        let mut names = Vec::new();
        let _ = self.each_name(directory, &mut |entry| {
            names.push(Name { name: entry.name.to_vec(), ino: entry.ino });
            ControlFlow::Continue(())
        })?;
        names.sort();
        match names.iter().find(|n| n.name.is_empty() || n.name.iter().any(|b| matches!(b, b'/' | 0))) {
            Some(_) => Err(ExtError::corrupt("a directory has a name that no file can have")),
            None => Ok(names),
        }
    }

    /// The inode of one name in a directory.
    ///
    /// # Errors
    /// As [`Tree::each_name`].
    pub fn child(&self, directory: &Node, name: &[u8]) -> Result<Option<u32>, ExtError> {
        check_plain(&directory.inode, "a directory")?;
        lookup(&self.fs, &directory.inode, [name]).map(|[found]| found)
    }

    /// The extended attributes of a node, by name.
    ///
    /// # Errors
    /// Attributes that are broken.
    pub fn xattrs(&self, node: &Node) -> Result<Vec<Xattr>, ExtError> {
        InodeRecord::of(&node.record).map_or(Ok(Vec::new()), |record| xattrs(&self.fs, record))
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// Not a symbolic link, or a broken one.
    pub fn target(&self, link: &Node) -> Result<Vec<u8>, ExtError> {
        if link.kind != FileType::Symlink || link.size > LONGEST_TARGET {
            return Err(ExtError::corrupt(format!("inode {} is no sound symbolic link", link.ino)));
        }
        let length = usize::try_from(link.size).unwrap_or(0);
        if link.inode.is_fast_symlink(&self.fs.sb) {
            return Ok(link.inode.i_block.as_bytes().get(..length).unwrap_or_default().to_vec());
        }
        self.open_file(link)?.read_whole(length)
    }

    /// The content of a file, to be read from its start; holes read as zeros.
    ///
    /// # Errors
    /// A broken file.
    pub fn open_file(&self, file: &Node) -> Result<Content<'_, 'a>, ExtError> {
        let content = Content::of(&self.fs, &file.inode)?;
        self.claim(file.ino, content.claimed())?;
        Ok(content)
    }

    /// Where a file has content on disk, in bytes and by rising position; what is left out are holes.
    ///
    /// # Errors
    /// A broken file.
    pub fn extents(&self, file: &Node) -> Result<Vec<Extent>, ExtError> {
        Ok(self.open_file(file)?.extents())
    }
}
