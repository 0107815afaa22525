//! One difference.

use serde::ser::{SerializeStruct, Serializer};

use crate::overlay::lower::Below;
use condatainer_formats::ext::{FileType, Ids};

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is not below the image.
    Added,
    /// It is something else, or has another content or other properties.
    Changed,
    /// It is only below the image.
    Deleted,
}

/// In what two things differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Aspect {
    /// One is a file, the other a directory, and so on.
    Kind,
    /// A file's bytes.
    Content,
    /// Where a link leads.
    Target,
    /// A device's numbers.
    Device,
    /// Permission bits.
    Mode,
    /// Owner or group.
    Owner,
    /// A file's time of last change, where its content is the same.
    Time,
}

/// What something is or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// File, directory, …
    pub kind: FileType,
    /// In bytes: of a file its content, of a link its target, else 0.
    pub size: u64,
    /// Permission bits (the low twelve).
    pub mode: u16,
    /// Owner and group, as they are stored.
    pub ids: Ids,
}

impl Facts {
    /// Sizes of directories and devices mean nothing.
    pub(super) fn new(kind: FileType, size: u64, mode: u16, ids: Ids) -> Self {
        let size = if matches!(kind, FileType::Regular | FileType::Symlink) { size } else { 0 };
        Self { kind, size, mode, ids }
    }

    /// Bytes of content.
    pub(super) fn bytes(&self) -> u64 {
        if self.kind == FileType::Regular { self.size } else { 0 }
    }
}

/// One path that is added, changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As a container sees it, beginning with `/`; any bytes.
    pub path: Vec<u8>,
    /// What happened.
    pub change: Change,
    /// What was there before, unless it is added.
    pub before: Option<Facts>,
    /// What is there now, unless it is deleted.
    pub after: Option<Facts>,
    /// In what it differs, where it is changed.
    pub what: Vec<Aspect>,
    /// Of a directory that is deleted, or in whose place is something else now: what it held.
    pub below: Option<Below>,
    /// Of a further name of the same file: the first.
    pub hard_link_to: Option<Vec<u8>>,
    /// The inode, where it has more than one name.
    pub(super) shared: Option<u32>,
}

impl Entry {
    /// What it is now, or was.
    #[must_use]
    pub fn facts(&self) -> Option<&Facts> {
        self.after.as_ref().or(self.before.as_ref())
    }

    /// Its size now, or the size of what is gone, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match (&self.after, &self.below) {
            (None, Some(below)) => below.bytes,
            _ => self.facts().map_or(0, |facts| facts.size),
        }
    }

    /// Whether it is changed, but nothing of what a program reads from it.
    #[must_use]
    pub fn is_metadata_only(&self) -> bool {
        self.change == Change::Changed && self.what.iter().all(|aspect| *aspect >= Aspect::Mode)
    }
}

/// A path as text, and as hexadecimal digits of its bytes where it is no UTF-8, so that nothing is lost.
pub(super) fn put_path<S: SerializeStruct>(out: &mut S, keys: [&'static str; 2], path: &[u8]) -> Result<(), S::Error> {
    out.serialize_field(keys[0], &String::from_utf8_lossy(path))?;
    match std::str::from_utf8(path) {
        Ok(_) => Ok(()),
        Err(_) => out.serialize_field(keys[1], &path.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

impl serde::Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Entry", 9)?;
        put_path(&mut out, ["path", "path_hex"], &self.path)?;
        out.serialize_field("change", &self.change)?;
        out.serialize_field("kind", &self.facts().map(|facts| facts.kind))?;
        out.serialize_field("size_bytes", &self.size())?;
        if self.change == Change::Changed {
            out.serialize_field("what", &self.what)?;
            out.serialize_field("metadata_only", &self.is_metadata_only())?;
        }
        for (key, facts) in [("before", &self.before), ("after", &self.after)] {
            facts.as_ref().map_or(Ok(()), |facts| out.serialize_field(key, facts))?;
        }
        self.below.as_ref().map_or(Ok(()), |below| out.serialize_field("below", below))?;
        if let Some(first) = &self.hard_link_to {
            put_path(&mut out, ["hard_link_to", "hard_link_to_hex"], first)?;
        }
        out.end()
    }
}

impl serde::Serialize for Facts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Facts", 5)?;
        out.serialize_field("kind", &self.kind)?;
        out.serialize_field("size_bytes", &self.size)?;
        out.serialize_field("uid", &self.ids.uid)?;
        out.serialize_field("gid", &self.ids.gid)?;
        out.serialize_field("mode", &format!("{:04o}", self.mode))?;
        out.end()
    }
}
