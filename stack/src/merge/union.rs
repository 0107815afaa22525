//! The names of a directory that several layers have: which of them show, and from which layer.
//!
//! The decisions are those of the kernel's OverlayFS, with fuse-overlayfs's marks understood as well: the topmost layer that knows a name
//! decides; directories of the same name are one, down to the first that is opaque or that something hides; a whiteout beside the
//! name itself hides only what is below; a file below a directory does not show. No mark hides a mount point. Of these a file is made only where
//! the images have none, or in place of a link of theirs, so it shows.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::listing::Listing;
use super::node::{Node, Part};
use super::stacked::Stacked;
use crate::layer::Key;
use condatainer_formats::ext::FileType;
use condatainer_formats::overlayfs::{self, Meaning, is_opaque, is_redirect, is_whiteout, may_be_users, meaning};

/// Bytes of names, and of what is noted for each, that one directory may have.
const MOST: usize = 48 << 20;

/// From so many bytes on a directory counts as a large one.
const LARGE: usize = 2 << 20;

/// A name in one of the directories.
struct Found {
    start: u32,
    length: u8,
    /// Whether it is a mark that hides the name.
    hides: bool,
    kind: Option<FileType>,
    /// Which of the parts has it.
    part: u16,
    key: Key,
}

impl Found {
    /// A mark stands for the name that it hides, which is the end of its own.
    fn hide(&mut self, bytes: &[u8]) {
        let name = bytes.get(self.start as usize..).and_then(|rest| rest.get(..self.length.into()));
        if let Meaning::Hides(hidden) = name.map_or(Meaning::Itself, meaning) {
            let prefix = self.length - hidden.len() as u8;
            (self.start, self.length) = (self.start + u32::from(prefix), hidden.len() as u8);
        }
    }
}

/// Whether what has the name of a mark is a user's and marks nothing. Who cannot be asked is no user's.
pub(super) fn is_users(stacked: &Stacked, kind: Option<FileType>, key: Key) -> bool {
    let asked = may_be_users(kind) && stacked.layer.may_have_xattrs();
    asked && stacked.layer.xattrs(key).is_ok_and(|xattrs| xattrs.iter().any(overlayfs::is_users))
}

/// Everything that was found.
struct Pool<'a> {
    bytes: Vec<u8>,
    found: Vec<Found>,
    large: &'a Mutex<()>,
    /// Held from when the directory counts as a large one.
    turn: Option<MutexGuard<'a, ()>>,
}

/// Makes the listing of the directory that consists of `parts`, topmost first. Large ones are made one after the other, by the turn
/// `large`: each takes as much memory as all that are kept.
pub(super) fn listing(
    layers: &[Stacked],
    points: Option<u16>,
    parts: &[Part],
    large: &Mutex<()>,
) -> io::Result<Listing> {
    let mut pool = Pool { bytes: Vec::new(), found: Vec::new(), large, turn: None };
    let mut hidden = false;
    for (number, part) in parts.iter().enumerate() {
        let is_points = Some(part.layer) == points;
        if hidden && !is_points {
            continue;
        }
        let Some(stacked) = layers.get(usize::from(part.layer)) else { continue };
        let opaque = pool.read(stacked, number as u16, part.key)?;
        hidden |= opaque || marks_itself(stacked, *part, points, number + 1 < parts.len())?;
    }
    Ok(pool.merge(layers, points, parts))
}

/// Whether an attribute makes a directory opaque. One that goes on elsewhere below is refused, as the kernel refuses it by default; the
/// lowest image has nothing below.
fn marks_itself(stacked: &Stacked, part: Part, points: Option<u16>, more: bool) -> io::Result<bool> {
    if part.layer <= lowest(points) || !stacked.layer.may_have_xattrs() {
        return Ok(false);
    }
    let xattrs = stacked.layer.xattrs(part.key).map_err(|error| stacked.named(error))?;
    if xattrs.iter().any(is_redirect) {
        return Err(stacked.refuse(
            "a directory was renamed by a kernel overlay with redirect_dir, so its content lies elsewhere; rename it there without that option",
        ));
    }
    Ok(more && xattrs.iter().any(is_opaque))
}

/// The layer of the lowest image.
pub(super) fn lowest(points: Option<u16>) -> u16 {
    points.map_or(0, |points| points + 1)
}

impl Pool<'_> {
    /// Reads the names of one part, and returns whether a name among them makes it opaque.
    fn read(&mut self, stacked: &Stacked, part: u16, directory: Key) -> io::Result<bool> {
        let (mut opaque, mut too_large) = (None, false);
        let before = self.found.len();
        stacked
            .layer
            .entries(directory, &mut |entry| {
                match meaning(entry.name) {
                    Meaning::Opaque => opaque = Some((entry.name.to_vec(), entry.kind, entry.key)),
                    Meaning::Hides(_) => self.push(entry.name, true, entry.kind, part, entry.key),
                    Meaning::Itself => self.push(entry.name, false, entry.kind, part, entry.key),
                }
                let size = self.bytes.len() + self.found.len() * size_of::<Found>();
                if size > LARGE && self.turn.is_none() {
                    self.turn = Some(self.large.lock().unwrap_or_else(PoisonError::into_inner));
                }
                too_large = size > MOST;
                !too_large
            })
            .map_err(|error| stacked.named(error))?;
        if too_large {
            let what = "a directory has more names than condatainer shows; split it";
            return Err(stacked.named(io::Error::new(io::ErrorKind::FileTooLarge, what)));
        }
        for mark in self.found.get_mut(before..).unwrap_or_default().iter_mut().filter(|found| found.hides) {
            mark.hides = !is_users(stacked, mark.kind, mark.key);
            if mark.hides {
                mark.hide(&self.bytes);
            }
        }
        match opaque {
            Some((name, kind, key)) if is_users(stacked, kind, key) => {
                self.push(&name, false, kind, part, key);
                Ok(false)
            }
            opaque => Ok(opaque.is_some()),
        }
    }

    fn push(&mut self, name: &[u8], hides: bool, kind: Option<FileType>, part: u16, key: Key) {
        // No layer gives such a name; the kernel would refuse the whole directory for its sake.
        let Ok(length) = u8::try_from(name.len()) else { return };
        if name.is_empty() || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return;
        }
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(name);
        self.found.push(Found { start, length, hides, kind, part, key });
    }

    fn merge(self, layers: &[Stacked], points: Option<u16>, parts: &[Part]) -> Listing {
        let Self { bytes, mut found, turn: _turn, .. } = self;
        let name = |found: &Found| bytes.get(found.start as usize..).and_then(|rest| rest.get(..found.length.into()));
        // Of a name that comes twice in one layer the last counts.
        found.sort_unstable_by(|a, b| {
            name(a).cmp(&name(b)).then((a.part, a.hides).cmp(&(b.part, b.hides))).then(b.start.cmp(&a.start))
        });
        let mut listing = Listing::default();
        for group in found.chunk_by(|a, b| name(a) == name(b)) {
            let (Some(first), Some(shown)) = (group.first(), decide(layers, points, parts, group)) else { continue };
            listing.push(name(first).unwrap_or_default(), shown.0, shown.1);
        }
        listing.finish()
    }
}

/// What shows of all that one name stands for, topmost first.
fn decide(layers: &[Stacked], points: Option<u16>, parts: &[Part], group: &[Found]) -> Option<(Node, FileType)> {
    let is_point = |found: &&Found| parts.get(usize::from(found.part)).is_some_and(|part| Some(part.layer) == points);
    if let (Some(found), Some(layer)) = (group.last().filter(is_point), points)
        && found.kind == Some(FileType::Regular)
    {
        return Some((Node::One(Part { layer, key: found.key }), FileType::Regular));
    }
    let (mut shown, mut kind, mut hidden, mut last) = (Vec::new(), FileType::Unknown, false, None);
    for found in group {
        let Some(part) = parts.get(usize::from(found.part)) else { continue };
        let part = Part { layer: part.layer, key: found.key };
        if hidden && Some(part.layer) != points || (!found.hides && last == Some(found.part)) {
            continue;
        }
        if found.hides {
            hidden = true;
            continue;
        }
        last = Some(found.part);
        let Some(this) = visible(layers, part, found.kind) else {
            hidden = true;
            continue;
        };
        if shown.is_empty() {
            (kind, hidden) = (this, this != FileType::Directory);
            shown.push(part);
        } else if kind == FileType::Directory && this == FileType::Directory {
            shown.push(part);
        } else {
            hidden = true;
        }
    }
    Node::of(shown).map(|node| (node, kind))
}

/// What a name of one layer stands for, unless that is the kernel's whiteout. What cannot be read shows: whoever asks for it gets the
/// error, and its directory can be read all the same.
fn visible(layers: &[Stacked], part: Part, kind: Option<FileType>) -> Option<FileType> {
    match (kind, layers.get(usize::from(part.layer))) {
        (None | Some(FileType::CharDevice), Some(stacked)) => match stacked.layer.attributes(part.key) {
            Ok(says) => (!is_whiteout(says.kind, says.device)).then_some(says.kind),
            Err(_) => Some(kind.unwrap_or(FileType::Unknown)),
        },
        (kind, _) => kind,
    }
}
