//! How attributes lie in a piece of the disk: entries with names from its beginning on, values from its end backwards.

use crate::error::{Error, Result};

/// Before the name: its length, its class, where the value is, an inode that has it, its length, a hash.
const HEADER: usize = 16;
/// Zeros, behind the last entry.
const END: usize = 4;
const ALIGNMENT: usize = 4;

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    /// The class of its name.
    pub(super) index: u8,
    /// The rest of its name.
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl Attribute {
    /// The length of its entry.
    fn entry(&self) -> usize {
        (HEADER + self.name.len()).next_multiple_of(ALIGNMENT)
    }

    /// The room that its value takes.
    fn room(&self) -> usize {
        self.value.len().next_multiple_of(ALIGNMENT)
    }

    /// What the kernel finds blocks by that could be shared. Names of other bytes than ASCII were hashed in two ways; only this one is known
    /// to every e2fsck of this kind of machine.
    fn hash(&self) -> u32 {
        let name = self.name.iter().fold(0_u32, |hash, byte| hash.rotate_left(5) ^ char_of(*byte));
        self.value.chunks(ALIGNMENT).fold(name, |hash, bytes| {
            let mut word = [0; ALIGNMENT];
            word.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

/// A byte as a C program of this machine sees a `char`.
fn char_of(byte: u8) -> u32 {
    let is_signed = std::ffi::c_char::MIN != 0;
    if is_signed { i32::from(byte.cast_signed()).cast_unsigned() } else { u32::from(byte) }
}

/// All attributes of `area`, whose entries begin at `start`. Values lie at offsets from its beginning, behind the entries.
pub(super) fn read(area: &[u8], start: usize) -> Result<Vec<Attribute>> {
    let end = end_of_entries(area, start)?;
    let (mut attributes, mut at) = (Vec::new(), start);
    while at < end {
        let (attribute, next) = attribute(area, at, end).ok_or_else(broken)?;
        attributes.push(attribute);
        at = next;
    }
    Ok(attributes)
}

fn end_of_entries(area: &[u8], start: usize) -> Result<usize> {
    let mut at = start;
    loop {
        let first: &[u8; END] = area.get(at..).and_then(|rest| rest.first_chunk()).ok_or_else(broken)?;
        if first == &[0; END] {
            return Ok(at);
        }
        at += (HEADER + usize::from(first[0])).next_multiple_of(ALIGNMENT);
    }
}

/// The attribute at `at`, and where the next one is.
fn attribute(area: &[u8], at: usize, end: usize) -> Option<(Attribute, usize)> {
    let header: &[u8; HEADER] = area.get(at..)?.first_chunk()?;
    let &[length, index, o0, o1, n0, n1, n2, n3, s0, s1, s2, s3, ..] = header;
    let (offset, size) = (usize::from(u16::from_le_bytes([o0, o1])), u32::from_le_bytes([s0, s1, s2, s3]));
    let name_at = at + HEADER;
    let name = area.get(name_at..name_at + usize::from(length))?;
    let is_known = [n0, n1, n2, n3] == [0; 4] && !name.contains(&0);
    let size = usize::try_from(size).ok().filter(|size| is_known && *size <= area.len())?;
    let value = match size {
        0 => &[],
        _ if offset < end + END || offset + size.next_multiple_of(ALIGNMENT) > area.len() => return None,
        _ => area.get(offset..offset + size)?,
    };
    let attribute = Attribute { index, name: name.to_vec(), value: value.to_vec() };
    let next = at + attribute.entry();
    Some((attribute, next))
}

/// How many bytes attributes take, behind what comes before the first.
pub(super) fn needed(attributes: &[Attribute]) -> usize {
    let each = attributes.iter().map(|attribute| attribute.entry() + attribute.room());
    each.fold(END, usize::saturating_add)
}

/// Writes attributes, in this order, to `area` from `start` on. Returns the hash of each, which is written if `hashed`.
pub(super) fn write(area: &mut [u8], start: usize, attributes: &[Attribute], hashed: bool) -> Result<Vec<u32>> {
    let room = area.len().saturating_sub(start);
    if needed(attributes) > room {
        return Err(broken());
    }
    area.get_mut(start..).unwrap_or_default().fill(0);
    let (mut at, mut value_at, mut hashes) = (start, area.len(), Vec::new());
    for attribute in attributes {
        value_at -= attribute.room();
        let hash = attribute.hash();
        hashes.push(hash);
        let offset = if attribute.value.is_empty() { 0 } else { value_at };
        let header = header(attribute, offset, if hashed { hash } else { 0 }).ok_or_else(broken)?;
        put(area, at, &header)?;
        put(area, at + HEADER, &attribute.name)?;
        put(area, value_at, &attribute.value)?;
        at += attribute.entry();
    }
    Ok(hashes)
}

fn header(attribute: &Attribute, offset: usize, hash: u32) -> Option<[u8; HEADER]> {
    let length = u8::try_from(attribute.name.len()).ok()?;
    let [o0, o1] = u16::try_from(offset).ok()?.to_le_bytes();
    let [s0, s1, s2, s3] = u32::try_from(attribute.value.len()).ok()?.to_le_bytes();
    let [h0, h1, h2, h3] = hash.to_le_bytes();
    Some([length, attribute.index, o0, o1, 0, 0, 0, 0, s0, s1, s2, s3, h0, h1, h2, h3])
}

fn put(area: &mut [u8], at: usize, bytes: &[u8]) -> Result<()> {
    let place = area.get_mut(at..at + bytes.len()).ok_or_else(broken)?;
    place.copy_from_slice(bytes);
    Ok(())
}

pub(super) fn broken() -> Error {
    Error::corrupt("an extended attribute is broken")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some() -> impl Strategy<Value = Attribute> {
        let name = proptest::collection::vec(1..=255_u8, 1..30);
        (1..9_u8, name, proptest::collection::vec(any::<u8>(), 0..60)).prop_map(|(index, name, value)| Attribute {
            index,
            name,
            value,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(attributes in proptest::collection::vec(some(), 0..8), start in prop_oneof![Just(0_usize), Just(32)]) {
            let mut area = vec![0xEE; start + needed(&attributes)];
            write(&mut area, start, &attributes, true).unwrap();
            prop_assert_eq!(read(&area, start).unwrap(), attributes.clone());
            area.pop();
            prop_assert!(write(&mut area, start, &attributes, true).is_err());
        }

        #[test]
        fn foreign_bytes_are_refused_or_read(mut area in proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..200)) {
            let _ = read(&area, 0);
            let _ = read(&area, 32);
            area.iter_mut().step_by(3).for_each(|byte| *byte = 0);
            let _ = read(&area, 0);
        }
    }
}
