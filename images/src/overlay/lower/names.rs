//! The names of one directory, kept tightly: a layer is data of any user, and may have half a million in each.

use super::node::At;
use condatainer_formats::ext::FileType;

/// Sorted once they are all there.
#[derive(Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    records: Vec<Record>,
}

/// Where a name stands in the bytes, and what it leads to.
struct Record {
    start: u32,
    length: u16,
    kind: Option<FileType>,
    at: At,
}

impl Names {
    /// One more; it is found only after [`Names::sort`]. A name that comes twice keeps the last place.
    pub(super) fn push(&mut self, name: &[u8], at: At, kind: Option<FileType>) {
        // No directory has 4 GiB of names: what reads them stops long before.
        let (start, length) = (self.bytes.len() as u32, name.len() as u16);
        self.bytes.extend_from_slice(name);
        self.records.push(Record { start, length, kind, at });
    }

    pub(super) fn sort(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        // The later of two goes first, and the first is found.
        self.records.sort_unstable_by(|a, b| name(&bytes, a).cmp(name(&bytes, b)).then(b.start.cmp(&a.start)));
        self.records.dedup_by(|later, kept| name(&bytes, later) == name(&bytes, kept));
        self.bytes = bytes;
    }

    pub(super) fn get(&self, wanted: &[u8]) -> Option<&At> {
        let found = self.records.binary_search_by(|record| name(&self.bytes, record).cmp(wanted)).ok()?;
        self.records.get(found).map(|record| &record.at)
    }

    pub(super) fn contains(&self, wanted: &[u8]) -> bool {
        self.get(wanted).is_some()
    }

    /// The number of names; every 64 bytes of them count as one more.
    pub(super) fn weight(&self) -> usize {
        self.records.len() + self.bytes.len() / 64
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<FileType>)> {
        self.records.iter().map(|record| (name(&self.bytes, record), record.kind))
    }
}

fn name<'a>(bytes: &'a [u8], record: &Record) -> &'a [u8] {
    let start = record.start as usize;
    bytes.get(start..start + usize::from(record.length)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_the_last_of_two_counts() {
        let mut names = Names::default();
        for (ino, name) in ["b", "a", "b", "", "abc"].into_iter().enumerate() {
            names.push(name.as_bytes(), At::Inode(ino as u32), None);
        }
        names.sort();
        assert_eq!((names.len(), names.get(b"b"), names.get(b"abc")), (4, Some(&At::Inode(2)), Some(&At::Inode(4))));
        assert!(names.contains(b"") && !names.contains(b"ab"));
        assert_eq!(names.iter().map(|(name, _)| name).collect::<Vec<_>>(), [&b""[..], b"a", b"abc", b"b"]);
    }
}
