//! The inode tables, read in order and in large pieces, without the holes of a sparse image.

use std::ops::Range;

use super::error::ExtError;
use super::fs::Fs;
use super::group::GroupDescriptor;
use super::inode::InodeRecord;

/// Small enough for the processor's cache, large enough that the calls do not count.
const CHUNK: u64 = 256 * 1024;

/// Tells the next range of data between two offsets of the image's file, if there is any.
pub type NextData<'a> = &'a dyn Fn(u64, u64) -> Option<Range<u64>>;

/// Whether holes of the file may be passed over: they read as zeros, which is to say as unused inodes.
#[derive(Clone, Copy)]
pub enum Holes<'a> {
    /// What lies between the data is passed over.
    Skip(NextData<'a>),
    /// All is read.
    Read,
}

/// Refuses a file system in which two groups share a part of their tables, or one lies among the descriptors: every owner in it
/// would be changed under two numbers, or bytes would be taken for owners that are none.
///
/// # Errors
/// It is such a one, or its descriptors cannot be read.
pub fn require_apart(fs: &Fs<'_>) -> Result<(), ExtError> {
    let groups = fs.sb.group_count();
    let length = u64::from(fs.sb.inodes_per_group) * u64::from(fs.sb.inode_size);
    let starts = (0..groups).map(|group| fs.sb.block_offset(fs.group(group)?.inode_table(), "an inode table"));
    let mut starts = starts.collect::<Result<Vec<u64>, ExtError>>()?;
    starts.sort_unstable();
    let apart = starts.windows(2).all(|pair| matches!(pair, [one, next] if next - one >= length));
    let behind = starts.first().is_some_and(|&first| first >= GroupDescriptor::first_table_end(&fs.sb));
    if apart && behind { Ok(()) } else { Err(ExtError::corrupt("an inode table lies in the place of something else")) }
}

/// A piece of an inode table.
pub struct Chunk<'a> {
    first_ino: u32,
    record: usize,
    /// Where it lies, in bytes within the file system.
    pub offset: u64,
    /// The records themselves.
    pub bytes: &'a mut [u8],
}

impl Chunk<'_> {
    /// The inodes in use: number, place in `bytes`, and the record.
    pub fn live(&mut self) -> impl Iterator<Item = (u32, usize, &mut InodeRecord)> {
        let (first, size) = (self.first_ino, self.record);
        let records = self.bytes.chunks_exact_mut(size).map(InodeRecord::of_mut);
        let numbered = (first..=u32::MAX).zip(records).enumerate();
        numbered.filter_map(move |(i, (ino, record))| Some((ino, i * size, record.filter(|it| it.inode.is_live())?)))
    }
}

/// Calls `work` on every piece of the tables, and `progress` with the inodes passed so far. A group of which `matters` says of the
/// first and the last inode number that none between them does is passed over.
///
/// # Errors
/// Those of `work`, and a table that cannot be read or runs over the end of the file system.
pub fn each_chunk<E: From<ExtError>>(
    fs: &Fs<'_>,
    matters: &dyn Fn(u32, u32) -> bool,
    holes: Holes<'_>,
    progress: &mut dyn FnMut(u64),
    mut work: impl FnMut(&mut Chunk<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = Vec::new();
    let per_group = fs.sb.inodes_per_group;
    for group in 0..fs.sb.group_count() {
        // Cannot overflow: the superblock's inode count is groups times inodes per group.
        let first = u32::try_from(group * u64::from(per_group)).map_or(u32::MAX, |before| before + 1);
        if matters(first, first + (per_group - 1)) {
            let table = Table::of(fs, group, first)?;
            for span in table.spans(fs.window().offset, holes) {
                table.each_chunk_in(fs, span, &mut buffer, &mut work)?;
            }
        }
        progress(u64::from(first - 1) + u64::from(per_group));
    }
    Ok(())
}

/// The used part of the inode table of one group.
struct Table {
    first_ino: u32,
    start: u64,
    length: u64,
    record: u64,
}

impl Table {
    fn of(fs: &Fs<'_>, group: u64, first_ino: u32) -> Result<Self, ExtError> {
        let record = u64::from(fs.sb.inode_size);
        let descriptor = fs.group(group)?;
        let used = used_inodes(fs, descriptor)?;
        let start = fs.sb.block_offset(descriptor.inode_table(), "an inode table")?;
        let length = u64::from(used) * record;
        if start + length > fs.sb.blocks_count * u64::from(fs.sb.block_size) {
            return Err(ExtError::corrupt("an inode table runs over the end of the file system"));
        }
        Ok(Self { first_ino, start, length, record })
    }

    /// The parts that hold data, in bytes from the start of the table, at record boundaries.
    fn spans(&self, window: u64, holes: Holes<'_>) -> Vec<Range<u64>> {
        let mut spans = Vec::new();
        let Holes::Skip(next_data) = holes else {
            spans.push(0..self.length);
            return spans;
        };
        let base = window + self.start;
        let mut at = 0;
        while let Some(data) = next_data(base + at, base + self.length) {
            let end = (data.end - base).next_multiple_of(self.record).min(self.length);
            let start = (data.start - base) / self.record * self.record;
            spans.push(start.max(at)..end);
            at = end;
        }
        spans
    }

    fn each_chunk_in<E: From<ExtError>>(
        &self,
        fs: &Fs<'_>,
        span: Range<u64>,
        buffer: &mut Vec<u8>,
        work: &mut impl FnMut(&mut Chunk<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let step = CHUNK.max(self.record);
        let mut at = span.start;
        while at < span.end {
            let length = step.min(span.end - at);
            buffer.resize(usize::try_from(length).unwrap_or(0), 0);
            fs.read_into(buffer, self.start + at)?;
            let first_ino = self.first_ino + u32::try_from(at / self.record).unwrap_or(0);
            work(&mut Chunk { first_ino, record: self.record as usize, offset: self.start + at, bytes: buffer })?;
            at += length;
        }
        Ok(())
    }
}

/// How many inodes of a group may be in use. Without checksummed descriptors that is all of them.
fn used_inodes(fs: &Fs<'_>, descriptor: GroupDescriptor) -> Result<u32, ExtError> {
    let all = fs.sb.inodes_per_group;
    if !fs.sb.has_group_checksums() {
        return Ok(all);
    }
    if descriptor.bg_flags.get() & GroupDescriptor::INODE_UNINIT != 0 {
        return Ok(0);
    }
    let unused = descriptor.itable_unused();
    all.checked_sub(unused).ok_or_else(|| ExtError::corrupt("a group counts more unused inodes than it has"))
}
