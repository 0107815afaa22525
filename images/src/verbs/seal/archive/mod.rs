//! The tar stream that mksquashfs reads, written so that every release since 4.5 reads it right.
//!
//! Headers are GNU ones, with long names and targets in entries of their own: 4.5 strips `/` and `../` off the target of a
//! symbolic link that comes in a PAX record. PAX records carry the extended attributes only. Times are whole seconds from 1970
//! to 2106, as in squashfs itself; releases before 4.7.1 end at a negative one.

mod sparse;

use std::io::{Read, Write};

use tar::{EntryType, Header};

use super::error::SealError;
use super::walk::{Entry, What};
use crate::image::ImageError;
use condatainer_formats::ext::{ExtError, FileType, Node, Tree, Xattr};
use condatainer_formats::overlayfs::is_private;
use sparse::Piece;

const BLOCK: usize = 512;
/// Read at once from the image.
const PIECE: usize = 256 * 1024;
/// What fits into a header's name and target.
const SHORT: usize = 100;
/// GNU's name for an entry that holds a long name.
const LONG: &[u8] = b"././@LongLink";
/// Attributes that squashfs has a place for.
const CLASSES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

/// Whether an attribute gets into the layer. The tar reader ends its name at the first `=`.
pub(super) fn is_kept(xattr: &Xattr) -> bool {
    let class = CLASSES.iter().any(|class| xattr.name.starts_with(class) && xattr.name.len() > class.len());
    class && !is_private(xattr) && !xattr.name.contains(&b'=')
}

/// Whether an attribute that a program inside could see does not get into the layer; access control lists are counted apart.
pub(super) fn is_lost(xattr: &Xattr) -> bool {
    !is_kept(xattr) && !is_private(xattr) && !xattr.is_acl()
}

/// When an inode was changed, as squashfs can say it and not after `latest`.
pub(super) fn mtime_of(node: &Node, latest: u32) -> u32 {
    u32::try_from(node.mtime.max(0)).unwrap_or(u32::MAX).min(latest)
}

/// A tar archive under way.
pub(super) struct Archive<'a, 'b, W> {
    tree: &'a Tree<'b>,
    image: &'a std::path::Path,
    out: W,
    latest: u32,
    buffer: Vec<u8>,
}

impl<'a, 'b, W: Write> Archive<'a, 'b, W> {
    pub(super) fn new(tree: &'a Tree<'b>, image: &'a std::path::Path, out: W, latest: u32) -> Self {
        Self { tree, image, out, latest, buffer: vec![0; PIECE] }
    }

    /// Writes one entry; `progress` is called with every piece of content, in bytes.
    pub(super) fn add(
        &mut self,
        entry: &Entry<'_>,
        progress: &mut dyn FnMut(u64) -> Result<(), SealError>,
    ) -> Result<(), SealError> {
        match entry.what {
            // The root comes as options: the reader passes over an entry `./`.
            What::Itself(_) if entry.path.is_empty() => Ok(()),
            What::Itself(xattrs) => {
                self.attributes(xattrs)?;
                self.itself(entry.path, entry.node, progress)
            }
            What::Link(first) => self.header(entry.path, entry.node, EntryType::Link, first, 0),
            What::Whiteout => {
                let mut header = self.described(entry.node, EntryType::Char);
                header.set_mode(0);
                self.finish(entry.path, header, &[])
            }
        }
    }

    /// The two empty blocks at the end.
    pub(super) fn end(mut self) -> Result<(), SealError> {
        self.write(&[0; 2 * BLOCK])?;
        self.out.flush().map_err(SealError::Feed)
    }

    fn itself(
        &mut self,
        path: &[u8],
        node: &Node,
        progress: &mut dyn FnMut(u64) -> Result<(), SealError>,
    ) -> Result<(), SealError> {
        match node.kind {
            FileType::Regular => self.file(path, node, progress),
            FileType::Symlink => {
                let target = self.tree.target(node).map_err(|e| self.ext(e))?;
                self.header(path, node, EntryType::Symlink, &target, 0)
            }
            FileType::Directory => self.header(path, node, EntryType::Directory, &[], 0),
            FileType::Fifo => self.header(path, node, EntryType::Fifo, &[], 0),
            FileType::CharDevice => self.device(path, node, EntryType::Char),
            FileType::BlockDevice => self.device(path, node, EntryType::Block),
            FileType::Socket | FileType::Unknown => Ok(()),
        }
    }

    fn device(&mut self, path: &[u8], node: &Node, kind: EntryType) -> Result<(), SealError> {
        let mut header = self.described(node, kind);
        header.set_device_major(node.device.0).map_err(SealError::Feed)?;
        header.set_device_minor(node.device.1).map_err(SealError::Feed)?;
        self.finish(path, header, &[])
    }

    fn file(
        &mut self,
        path: &[u8],
        node: &Node,
        progress: &mut dyn FnMut(u64) -> Result<(), SealError>,
    ) -> Result<(), SealError> {
        let extents = self.tree.extents(node).map_err(|e| self.ext(e))?;
        let Some(pieces) = sparse::pieces(&extents, node.size) else {
            self.header(path, node, EntryType::Regular, &[], node.size)?;
            let whole = Piece { offset: 0, length: node.size };
            let on_disk: u64 = extents.iter().map(|extent| extent.length).sum();
            return self.content(node, &[whole], on_disk, progress);
        };
        let on_disk: u64 = pieces.iter().map(|piece| piece.length).sum();
        let (mut header, more) = sparse::describe(self.described(node, EntryType::GNUSparse), &pieces, node.size);
        header.set_size(on_disk);
        self.finish(path, header, &[])?;
        self.write(&more)?;
        self.content(node, &pieces, on_disk, progress)
    }

    fn content(
        &mut self,
        node: &Node,
        pieces: &[Piece],
        on_disk: u64,
        progress: &mut dyn FnMut(u64) -> Result<(), SealError>,
    ) -> Result<(), SealError> {
        let mut content = self.tree.open_file(node).map_err(|e| self.ext(e))?;
        let (mut at, mut written, mut left) = (0, 0, on_disk);
        for piece in pieces {
            content.skip(piece.offset.saturating_sub(at));
            let mut rest = piece.length;
            while rest > 0 {
                let length = usize::try_from(rest).unwrap_or(PIECE).min(PIECE);
                let part = self.buffer.get_mut(..length).unwrap_or_default();
                content.read_exact(part).map_err(|e| SealError::image(self.image, e))?;
                self.out.write_all(part).map_err(SealError::Feed)?;
                rest -= length as u64;
                written += length as u64;
                progress(left.min(length as u64))?;
                left = left.saturating_sub(length as u64);
            }
            at = piece.offset + piece.length;
        }
        self.pad(written)
    }

    fn header(&mut self, path: &[u8], node: &Node, kind: EntryType, target: &[u8], size: u64) -> Result<(), SealError> {
        let mut header = self.described(node, kind);
        header.set_size(size);
        self.finish(path, header, target)
    }

    fn described(&self, node: &Node, kind: EntryType) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(node.mode.into());
        header.set_uid(node.ids.uid.into());
        header.set_gid(node.ids.gid.into());
        header.set_mtime(mtime_of(node, self.latest).into());
        header.set_size(0);
        header
    }

    fn finish(&mut self, path: &[u8], mut header: Header, target: &[u8]) -> Result<(), SealError> {
        self.long(EntryType::GNULongLink, target)?;
        self.long(EntryType::GNULongName, path)?;
        let fields = header.as_old_mut();
        fill(&mut fields.name, path);
        fill(&mut fields.linkname, target);
        header.set_cksum();
        self.write(header.as_bytes())
    }

    /// A name that fits into no header, in an entry before it.
    fn long(&mut self, kind: EntryType, text: &[u8]) -> Result<(), SealError> {
        if text.len() <= SHORT {
            return Ok(());
        }
        self.extra(kind, &[text, b"\0"].concat())
    }

    fn attributes(&mut self, xattrs: &[Xattr]) -> Result<(), SealError> {
        let records: Vec<u8> = xattrs.iter().filter(|xattr| is_kept(xattr)).flat_map(record).collect();
        if records.is_empty() { Ok(()) } else { self.extra(EntryType::XHeader, &records) }
    }

    fn extra(&mut self, kind: EntryType, content: &[u8]) -> Result<(), SealError> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        for set in [Header::set_uid, Header::set_gid, Header::set_mtime] {
            set(&mut header, 0);
        }
        header.set_mode(0o644);
        fill(&mut header.as_old_mut().name, LONG);
        header.set_cksum();
        self.write(header.as_bytes())?;
        self.write(content)?;
        self.pad(content.len() as u64)
    }

    fn pad(&mut self, written: u64) -> Result<(), SealError> {
        let length = written.next_multiple_of(BLOCK as u64) - written;
        let zeros = [0; BLOCK];
        self.write(zeros.get(..usize::try_from(length).unwrap_or(0)).unwrap_or_default())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SealError> {
        self.out.write_all(bytes).map_err(SealError::Feed)
    }

    fn ext(&self, error: ExtError) -> SealError {
        SealError::Image(ImageError::ext(self.image, error))
    }
}

/// As much of `text` as the field holds; where it is too long, an entry before has all of it.
fn fill(field: &mut [u8; SHORT], text: &[u8]) {
    field.iter_mut().zip(text.iter().chain(std::iter::repeat(&0))).for_each(|(to, from)| *to = *from);
}

/// `LENGTH SCHILY.xattr.NAME=VALUE\n`, where the length counts its own digits.
fn record(xattr: &Xattr) -> Vec<u8> {
    let text = [b" SCHILY.xattr.", xattr.name.as_slice(), b"=", &xattr.value, b"\n"].concat();
    let mut length = text.len() + 1;
    while length.to_string().len() + text.len() != length {
        length = length.to_string().len() + text.len();
    }
    [length.to_string().as_bytes(), &text].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattr(name: &str, value: &[u8]) -> Xattr {
        Xattr { name: name.into(), value: value.into() }
    }

    #[test]
    fn records_count_themselves() {
        assert_eq!(record(&xattr("user.a", b"b")), b"25 SCHILY.xattr.user.a=b\n".to_vec());
        for length in 60..100 {
            let record = record(&xattr("user.a", &vec![b'x'; length]));
            let said: usize = String::from_utf8_lossy(&record).split(' ').next().unwrap().parse().unwrap();
            assert_eq!(said, record.len());
        }
    }

    #[test]
    fn attributes_that_squashfs_holds() {
        for name in ["user.a", "trusted.b", "security.capability"] {
            assert!(is_kept(&xattr(name, b"")), "{name}");
        }
        for name in
            ["system.posix_acl_access", "user.", "user.a=b", "user.fuseoverlayfs.opaque", "trusted.overlay.origin"]
        {
            assert!(!is_kept(&xattr(name, b"")), "{name}");
        }
        assert!(is_lost(&xattr("user.a=b", b"")) && is_lost(&xattr("system.data", b"")));
        assert!(!is_lost(&xattr("system.posix_acl_access", b"")) && !is_lost(&xattr("trusted.overlay.origin", b"")));
    }
}
