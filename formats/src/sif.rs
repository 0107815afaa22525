//! SIF, Apptainer's container file: a header, a table of descriptors, and the partitions they point to.

use crate::bytes::{array_at, text, u32_at, u64_at};
use crate::size::Size;
use crate::source::Window;

/// The length of the header, in bytes.
pub(crate) const HEADER_SIZE: usize = 128;
/// The length of one descriptor, in bytes.
pub(crate) const DESCRIPTOR_SIZE: usize = 585;
/// Apptainer writes 48; more than this is not believed.
const MAX_DESCRIPTORS: u64 = 4096;
const MAGIC_AT: usize = 32;
const PARTITION: u32 = 0x4004;
const EXTRA_AT: usize = 201;

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The base system that containers start from.
    Primary,
    /// Another system.
    System,
    /// Data.
    Data,
    /// An overlay over the primary system.
    Overlay,
}

/// What a partition contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionFs {
    /// A squashfs.
    Squashfs,
    /// An ext3.
    Ext3,
    /// Unformatted data.
    Raw,
    /// An encrypted squashfs.
    Encrypted,
    /// Something newer.
    Unknown,
}

/// One partition of a SIF.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Partition {
    /// Its number, as `apptainer sif list` shows it.
    pub id: u32,
    /// The group that ties overlays to a primary system.
    pub group: u32,
    /// What it is for.
    pub role: Role,
    /// What it contains.
    pub fs: PartitionFs,
    /// Where it lies in the file, in bytes.
    pub window: Window,
    /// Its name.
    pub name: String,
}

/// A SIF's partitions.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Sif {
    /// In the order of the descriptors, without the overlays of other groups than the primary system's.
    pub partitions: Vec<Partition>,
}

impl Sif {
    /// The system that a container starts from.
    #[must_use]
    pub fn primary(&self) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.role == Role::Primary)
    }

    /// The overlays that belong to the primary system.
    pub fn overlays(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.iter().filter(|p| p.role == Role::Overlay)
    }

    /// The overlay that can be written to: the first with an ext3.
    #[must_use]
    pub fn writable_overlay(&self) -> Option<&Partition> {
        self.overlays().find(|p| p.fs == PartitionFs::Ext3)
    }
}

/// What is wrong with something that begins like a SIF.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SifError {
    /// The file ends before its partitions do.
    #[error("is truncated: {} are missing at the end of the SIF", Size(needed.saturating_sub(*present)))]
    Truncated {
        /// What the header says, in bytes.
        needed: u64,
        /// What is there, in bytes.
        present: u64,
    },
    /// It contradicts itself.
    #[error("is damaged: {0}")]
    Corrupt(&'static str),
}

/// Whether `bytes` begin with a SIF header. The first 32 bytes are a launch line of the builder's choice.
pub(crate) fn has_magic(bytes: &[u8]) -> bool {
    bytes.get(MAGIC_AT..MAGIC_AT + 10) == Some(b"SIF_MAGIC\0")
}

/// Where the descriptors lie, from the header, in a file of `size` bytes.
///
/// # Errors
/// The header is too short, or its table cannot be.
pub(crate) fn descriptor_table(header: &[u8], size: u64) -> Result<Window, SifError> {
    let header = header.get(..HEADER_SIZE).ok_or(SifError::Truncated { needed: HEADER_SIZE as u64, present: size })?;
    // The six 64-bit numbers behind launch line, magic, version, architecture, uuid and two times.
    let [count, offset, length] = [88, 96, 104].map(|at| u64_at(header, at).unwrap_or(0));
    if count == 0 || count > MAX_DESCRIPTORS || length / (DESCRIPTOR_SIZE as u64) < count {
        return Err(SifError::Corrupt("the SIF header's descriptor table is impossible"));
    }
    let window = Window { offset, size: count * DESCRIPTOR_SIZE as u64 };
    inside(window, size)
}

/// The partitions among `table`, the bytes of the descriptor table, in a file of `size` bytes.
///
/// # Errors
/// One lies outside of the file.
pub fn partitions(table: &[u8], size: u64) -> Result<Sif, SifError> {
    let mut partitions = Vec::new();
    for raw in table.chunks_exact(DESCRIPTOR_SIZE) {
        if let Some((partition, window)) = partition(raw) {
            inside(window, size)?;
            partitions.push(partition);
        }
    }
    Ok(Sif { partitions: linked(partitions) })
}

/// Drops overlays that belong to another system than the primary one, as Apptainer does.
fn linked(mut partitions: Vec<Partition>) -> Vec<Partition> {
    let primary = partitions.iter().find(|p| p.role == Role::Primary).map(|p| p.group);
    if let Some(group) = primary.filter(|&group| group > 0) {
        partitions.retain(|p| p.role != Role::Overlay || p.group == group);
    }
    partitions
}

fn partition(raw: &[u8]) -> Option<(Partition, Window)> {
    let used = raw.get(4).is_some_and(|&used| used != 0);
    if !used || u32_at(raw, 0) != Some(PARTITION) {
        return None;
    }
    let window = Window { offset: u64_at(raw, 17)?, size: u64_at(raw, 25)? };
    let name: [u8; 128] = array_at(raw, 73)?;
    let partition = Partition {
        id: u32_at(raw, 5)?,
        group: u32_at(raw, 9)?,
        role: role(u32_at(raw, EXTRA_AT + 4)?)?,
        fs: content(u32_at(raw, EXTRA_AT)?),
        window,
        name: text(&name),
    };
    Some((partition, window))
}

fn role(code: u32) -> Option<Role> {
    match code {
        1 => Some(Role::System),
        2 => Some(Role::Primary),
        3 => Some(Role::Data),
        4 => Some(Role::Overlay),
        _ => None,
    }
}

fn content(code: u32) -> PartitionFs {
    match code {
        1 => PartitionFs::Squashfs,
        2 => PartitionFs::Ext3,
        4 => PartitionFs::Raw,
        5 => PartitionFs::Encrypted,
        _ => PartitionFs::Unknown,
    }
}

fn inside(window: Window, size: u64) -> Result<Window, SifError> {
    match window.end() {
        Some(end) if end <= size => Ok(window),
        Some(end) if end <= i64::MAX as u64 => Err(SifError::Truncated { needed: end, present: size }),
        _ => Err(SifError::Corrupt("a SIF descriptor points nowhere")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(id: u32, group: u32, fs: u32, role: u32, offset: u64, size: u64) -> Vec<u8> {
        let mut raw = vec![0; DESCRIPTOR_SIZE];
        raw[..4].copy_from_slice(&PARTITION.to_le_bytes());
        raw[4] = 1;
        raw[5..9].copy_from_slice(&id.to_le_bytes());
        raw[9..13].copy_from_slice(&group.to_le_bytes());
        raw[17..25].copy_from_slice(&offset.to_le_bytes());
        raw[25..33].copy_from_slice(&size.to_le_bytes());
        raw[EXTRA_AT..EXTRA_AT + 4].copy_from_slice(&fs.to_le_bytes());
        raw[EXTRA_AT + 4..EXTRA_AT + 8].copy_from_slice(&role.to_le_bytes());
        raw
    }

    #[test]
    fn overlays_of_the_primary_group_only() {
        let table = [descriptor(1, 7, 1, 2, 100, 10), descriptor(2, 8, 2, 4, 110, 5), descriptor(3, 7, 2, 4, 115, 5)];
        let sif = partitions(&table.concat(), 120).unwrap();
        assert_eq!(sif.primary().unwrap().id, 1);
        assert_eq!(sif.overlays().map(|p| p.id).collect::<Vec<_>>(), [3]);
        assert_eq!(sif.writable_overlay().unwrap().window, Window { offset: 115, size: 5 });
    }

    #[test]
    fn partitions_must_lie_in_the_file() {
        let table = descriptor(1, 7, 1, 2, 100, 10);
        assert_eq!(partitions(&table, 109), Err(SifError::Truncated { needed: 110, present: 109 }));
        let table = descriptor(1, 7, 1, 2, u64::MAX, 10);
        assert!(matches!(partitions(&table, 109), Err(SifError::Corrupt(_))));
    }

    #[test]
    fn counts_are_not_trusted() {
        let mut header = vec![0; HEADER_SIZE];
        header[88..96].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(descriptor_table(&header, 1 << 40), Err(SifError::Corrupt(_))));
        assert!(matches!(descriptor_table(&header[..64], 1 << 40), Err(SifError::Truncated { .. })));
    }
}
