//! The names of one directory, sorted and kept tightly: an image is data of any user, and may have a million in each.

use std::sync::Arc;

use super::node::{Node, Part};
use crate::layer::Time;
use condatainer_formats::ext::FileType;

/// Stands instead of a layer where several have the directory; the key is then its number among the shared ones.
const SHARED: u16 = u16::MAX;

/// The names of a directory as they show, in the order of their bytes.
#[derive(Debug, Default)]
pub struct Listing {
    bytes: Vec<u8>,
    records: Vec<Record>,
    shared: Vec<Arc<[Part]>>,
    /// When the directories of the host among the parts were changed last, as this was made.
    pub(super) changed: Vec<Time>,
}

#[derive(Debug)]
struct Record {
    start: u32,
    length: u8,
    kind: FileType,
    layer: u16,
    key: u64,
}

/// One name, and what it stands for.
#[derive(Debug, Clone)]
pub struct Named<'a> {
    /// Its bytes.
    pub name: &'a [u8],
    /// Where it lies.
    pub node: Node,
    /// What it is, as the directory says; an image that contradicts itself may say something else in the inode.
    pub kind: FileType,
}

impl Listing {
    /// One more; names come in order.
    pub(super) fn push(&mut self, name: &[u8], node: Node, kind: FileType) {
        let (layer, key) = match node {
            Node::One(part) => (part.layer, part.key.0),
            Node::Several(parts) => {
                self.shared.push(parts);
                (SHARED, self.shared.len() as u64 - 1)
            }
        };
        // Builders stop long before 4 GiB, and take no name of more than 255 bytes.
        let (start, length) = (self.bytes.len() as u32, name.len() as u8);
        self.bytes.extend_from_slice(name);
        self.records.push(Record { start, length, kind, layer, key });
    }

    /// Gives back what is not needed any more.
    pub(super) fn finish(mut self) -> Self {
        self.bytes.shrink_to_fit();
        self.records.shrink_to_fit();
        self.shared.shrink_to_fit();
        self
    }

    /// What a name stands for.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<Named<'_>> {
        let place = self.records.binary_search_by(|record| self.name(record).cmp(name)).ok()?;
        self.get(place)
    }

    /// The name at a place of the order.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<Named<'_>> {
        let record = self.records.get(place)?;
        let node = match record.layer {
            SHARED => Node::Several(Arc::clone(self.shared.get(usize::try_from(record.key).ok()?)?)),
            layer => Node::One(Part { layer, key: crate::layer::Key(record.key) }),
        };
        Some(Named { name: self.name(record), node, kind: record.kind })
    }

    /// The number of names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// All names in order.
    pub fn iter(&self) -> impl Iterator<Item = Named<'_>> {
        (0..self.len()).filter_map(|place| self.get(place))
    }

    /// Made when these were the times of the last changes.
    pub(super) fn of(self, changed: &[Time]) -> Self {
        Self { changed: changed.to_vec(), ..self }
    }

    /// Bytes of memory, about.
    pub(super) fn weight(&self) -> usize {
        let parts: usize = self.shared.iter().map(|parts| parts.len() * size_of::<Part>() + 32).sum();
        256 + self.bytes.capacity() + self.records.capacity() * size_of::<Record>() + parts
    }

    fn name(&self, record: &Record) -> &[u8] {
        let start = record.start as usize;
        self.bytes.get(start..start + usize::from(record.length)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Key;

    #[test]
    fn names_are_found_and_cost_little() {
        let mut listing = Listing::default();
        let part = |layer, key| Part { layer, key: Key(key) };
        listing.push(b"a", Node::One(part(3, 7)), FileType::Regular);
        let shared: Arc<[Part]> = [part(2, 1), part(0, 9)].into();
        listing.push(b"ab", Node::Several(Arc::clone(&shared)), FileType::Directory);
        listing.push(&[0xFF; 255], Node::One(part(0, (1 << 48) - 1)), FileType::Fifo);
        let listing = listing.finish();
        assert_eq!(listing.find(b"ab").unwrap().node, Node::Several(shared));
        assert_eq!(listing.find(&[0xFF; 255]).unwrap().node, Node::One(part(0, (1 << 48) - 1)));
        assert!(listing.find(b"").is_none() && listing.find(b"b").is_none() && listing.get(3).is_none());
        assert_eq!(listing.iter().map(|named| named.name.len()).collect::<Vec<_>>(), [1, 2, 255]);
        assert_eq!(size_of::<Record>(), 16);
    }
}
