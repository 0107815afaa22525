//! All names of a directory, in an order in which a listing can be left and gone on with while names come and go.
//!
//! A directory with an index, or one that will have one once it grows, is listed by the hashes of its names: a name has its place for ever,
//! wherever it is moved. Any other one is listed as it lies on the disk, where names stay.

use std::ops::ControlFlow;

use condatainer_formats::ext::raw::{DIR_INDEX, FileType, flag};

use super::blocks::{self, Block};
use super::hash::Hasher;
use super::index::Path;
use super::record::{Form, Record};
use crate::error::Result;
use crate::inode::Node;
use crate::store::{Bytes, Handle};

/// Names of one hash that are put in order together, at most; nobody has as many, except to do harm.
const MOST_EQUAL: usize = 1 << 16;

/// A name of a listing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed<'a> {
    /// Never `.` or `..`.
    pub(crate) name: &'a [u8],
    /// What it stands for.
    pub(crate) ino: u32,
    /// What the entry says of its kind; `None` where it says nothing.
    pub(crate) kind: Option<FileType>,
    /// Where the listing goes on after it; never 0.
    pub(crate) next: u64,
}

/// Who is shown the names; `false` ends the listing.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&Listed<'_>) -> bool;

/// A name with its place in the order.
type Placed = (u64, Bytes, Record);

/// Shows all names from place `from` on; 0 is the beginning.
pub(crate) fn list(handle: &mut Handle<'_>, dir: &Node, from: u64, visit: Visit<'_>) -> Result<()> {
    let sb = &handle.geometry().sb;
    if i64::try_from(from).is_err() {
        return Ok(());
    }
    if sb.features.compat & DIR_INDEX != 0 {
        if dir.inode()?.has(flag::INDEX) {
            let start = start_of(from);
            if let Some(path) = Path::find(handle, dir, |_| major_of(start))? {
                return by_hash(handle, dir, path, from, visit);
            }
        } else if blocks::count(handle, dir)? == 1
            && let Some(hasher) = Hasher::of(sb, sb.def_hash_version)
        {
            let mut order = Order { form: Form::of(sb), hasher, from, last: None, waiting: Vec::new() };
            order.take(&blocks::read(handle, dir, 0)?, 0, u64::MAX)?;
            let _ = order.show(u64::MAX, visit);
            return Ok(());
        }
    }
    as_they_lie(handle, dir, from, visit)
}

/// The place is the offset on the disk.
fn as_they_lie(handle: &mut Handle<'_>, dir: &Node, from: u64, visit: Visit<'_>) -> Result<()> {
    let sb = &handle.geometry().sb;
    let (form, block_size) = (Form::of(sb), u64::from(sb.block_size));
    let _ = blocks::each(handle, dir, from / block_size, |block| {
        let start = block.logical.saturating_mul(block_size);
        for record in form.records(&block.bytes) {
            let record = record?;
            let at = start.saturating_add(record.at as u64);
            if at >= from && !show(&block.bytes, record, at + record.length as u64, visit) {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(())
}

/// Shows the names of one block after the other; those that share the hash at which the next one begins wait for it.
fn by_hash(handle: &mut Handle<'_>, dir: &Node, mut path: Path, from: u64, visit: Visit<'_>) -> Result<()> {
    let form = Form::of(&handle.geometry().sb);
    let mut order = Order { form, hasher: path.hasher, from, last: None, waiting: Vec::new() };
    for _ in 0..blocks::count(handle, dir)? {
        let next = path.next_hash().map(|hash| u64::from(hash >> 1) << 32);
        let most = next.map_or(u64::MAX, |next| next | u64::from(u32::MAX));
        order.take(&path.read(handle, dir)?, u64::from(path.hash() >> 1) << 32, most)?;
        let until = if order.waiting.len() > MOST_EQUAL { u64::MAX } else { next.unwrap_or(u64::MAX) };
        if order.show(until, visit).is_break() || path.next(handle, dir)?.is_none() {
            break;
        }
    }
    Ok(())
}

/// Names on the way into their order: that of their hashes, and of the names themselves where those are the same.
struct Order {
    form: Form,
    hasher: Hasher,
    from: u64,
    /// The place of the last name; no two have the same.
    last: Option<u64>,
    waiting: Vec<Placed>,
}

impl Order {
    /// Takes the names of a block, which belong between these places; one that does not is shown all the same.
    fn take(&mut self, block: &Block, least: u64, most: u64) -> Result<()> {
        for record in self.form.records(&block.bytes) {
            let record = record?;
            let name = record.name(&block.bytes);
            if record.ino != 0 && !matches!(name, b"." | b"..") {
                let place = self.hasher.place(name).clamp(least, most.max(least));
                if place >= start_of(self.from) {
                    self.waiting.push((place, block.bytes.clone(), record));
                }
            }
        }
        self.waiting
            .sort_by(|(a, in_a, of_a), (b, in_b, of_b)| a.cmp(b).then_with(|| of_a.name(in_a).cmp(of_b.name(in_b))));
        Ok(())
    }

    /// Shows the names before place `until`.
    fn show(&mut self, until: u64, visit: Visit<'_>) -> ControlFlow<()> {
        let ready = self.waiting.partition_point(|(place, ..)| *place < until);
        for (place, bytes, record) in self.waiting.drain(..ready) {
            let place = self.last.map_or(place, |last| place.max(last.saturating_add(1)));
            self.last = Some(place);
            if place >= self.from && !show(&bytes, record, place.saturating_add(1), visit) {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

fn show(bytes: &[u8], record: Record, next: u64, visit: Visit<'_>) -> bool {
    let name = record.name(bytes);
    let is_hidden = record.ino == 0 || matches!(name, b"." | b"..");
    is_hidden || visit(&Listed { name, ino: record.ino, kind: record.kind(), next })
}

/// Where names must be looked at from, so that those of `from` get their places: of names of the same hash the second has the place
/// behind the first.
fn start_of(from: u64) -> u64 {
    (from >> 32).saturating_sub(1) << 32
}

fn major_of(place: u64) -> u32 {
    ((place >> 32) as u32) << 1
}
