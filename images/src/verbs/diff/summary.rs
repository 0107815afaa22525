//! Sums: in all, and by directory.

use std::collections::BTreeMap;

use super::entry::{Change, Entry};
use condatainer_formats::ext::FileType;

/// How many and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Count {
    /// Everything that is not a directory.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Sizes of regular files, in bytes; a file with several names counts once.
    pub bytes: u64,
}

/// Sums by what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Totals {
    /// New things.
    pub added: Count,
    /// Changed things, with their sizes now.
    pub changed: Count,
    /// Things that are gone, what deleted directories held included.
    pub deleted: Count,
}

/// What happened in and below one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The directory, at most two levels deep.
    pub path: Vec<u8>,
    /// What happened there.
    pub totals: Totals,
}

impl Totals {
    /// Adds them all up.
    pub(super) fn of(entries: &[Entry]) -> Self {
        let mut totals = Self::default();
        entries.iter().for_each(|entry| totals.add(entry));
        totals
    }

    fn add(&mut self, entry: &Entry) {
        let Some(facts) = entry.facts() else { return };
        let count = match entry.change {
            Change::Added => &mut self.added,
            Change::Changed => &mut self.changed,
            Change::Deleted => &mut self.deleted,
        };
        let directory = facts.kind == FileType::Directory;
        count.directories += u64::from(directory);
        count.files += u64::from(!directory);
        count.bytes += if entry.hard_link_to.is_none() { facts.bytes() } else { 0 };
        if let Some(below) = entry.below {
            self.deleted.files += below.files;
            self.deleted.directories += below.directories;
            self.deleted.bytes += below.bytes;
        }
    }
}

/// Sums by directory, at most two levels deep: `/usr/lib`, `/etc`, `/`. That tells where an image has grown, in a few lines.
#[must_use]
pub fn by_directory(entries: &[Entry]) -> Vec<Summary> {
    let mut all: BTreeMap<&[u8], Totals> = BTreeMap::new();
    for entry in entries {
        all.entry(directory(&entry.path)).or_default().add(entry);
    }
    all.into_iter().map(|(path, totals)| Summary { path: path.to_vec(), totals }).collect()
}

/// The directory that a path is counted in.
fn directory(path: &[u8]) -> &[u8] {
    let mut slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).skip(1);
    match (slashes.next(), slashes.next()) {
        (_, Some(end)) | (Some(end), None) => path.get(..end).unwrap_or_default(),
        (None, _) => b"/",
    }
}

impl serde::Serialize for Summary {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("Summary", 5)?;
        super::entry::put_path(&mut out, ["path", "path_hex"], &self.path)?;
        out.serialize_field("added", &self.totals.added)?;
        out.serialize_field("changed", &self.totals.changed)?;
        out.serialize_field("deleted", &self.totals.deleted)?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::directory;

    #[test]
    fn two_levels_at_most() {
        for (path, expected) in [("/f", "/"), ("/etc/passwd", "/etc"), ("/usr/lib/x", "/usr/lib"), ("/a/b/c/d", "/a/b")]
        {
            assert_eq!(directory(path.as_bytes()), expected.as_bytes());
        }
    }
}
