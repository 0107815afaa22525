//! Copying what the layers have into the image, before it is changed there.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use condatainer_formats::ext::FileType;
use nix::errno::Errno;

use super::Overlay;
use super::decide::Shows;
use crate::layer::Attributes;
use crate::serve::asker;
use crate::serve::tree::{Answer, Tree};
use crate::workspace::above::Xattrs;
use crate::workspace::{ino_of, number_of};

/// Bytes that are copied at once.
const PIECE: usize = 1 << 20;
/// So many names a copy gets at once, at most: they are one change of the image.
const AT_ONCE: usize = 64;
/// So often it is looked whether somebody waits for a copy still.
const LOOK: Duration = Duration::from_millis(100);

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A name in a directory that the image has.
pub(super) struct Place {
    pub(super) directory: u32,
    pub(super) name: Vec<u8>,
}

impl Place {
    fn borrowed(&self) -> (u32, &[u8]) {
        (self.directory, &self.name)
    }
}

impl Overlay {
    /// The inode of what the kernel has by a number; it is copied into the image if it is not there yet.
    pub(super) fn up(&self, number: u64) -> Answer<u32> {
        self.up_to(number, u64::MAX)
    }

    /// The same, of a file of which no more than `length` bytes are needed.
    pub(super) fn up_to(&self, number: u64, length: u64) -> Answer<u32> {
        if let Some(ino) = self.in_image(number) {
            self.keep_names(number)?;
            return Ok(ino);
        }
        let _known = self.look_up_names(number)?;
        // Nobody waits for a directory while others wait for him: damaged layers have directories in each other.
        let places = self.places(number)?;
        let _turn = self.turns.take(number);
        match self.in_image(number) {
            Some(ino) => Ok(ino),
            None => self.copy(number, &places, length),
        }
    }

    /// A file that was copied gets all its names, before it is changed: what is changed by one of them is to last under each. Also one that has lost its
    /// last name in the image.
    pub(super) fn keep_names(&self, number: u64) -> Answer<()> {
        if !self.known.has_several(number) || self.names_below(number) == 0 {
            return Ok(());
        }
        let Some(ino) = self.known.copy(number) else { return Ok(()) };
        let is_nameless = self.upper.attributes(number_of(ino))?.links == 0;
        if !self.known.takes_new_names(number) && !is_nameless {
            return Ok(());
        }
        let note = |_: &Errno| self.known.note_new_names(number);
        let _known = self.look_up_names(number).inspect_err(note)?;
        let places = self.places(number).inspect_err(note)?;
        let _turn = self.turns.take(number);
        self.name_all(number, ino, &places)
    }

    /// A copy gets these names, as far as they are the layers' alone still. Those that it does not get for want of room it gets when it is changed next.
    /// It is this thread's turn.
    fn name_all(&self, number: u64, ino: u32, places: &[Place]) -> Answer<()> {
        for place in places {
            match self.name_too(number, ino, place) {
                // Somebody has taken it away meanwhile, or given it to something else; or a file of the image cannot have so many.
                Ok(()) | Err(Errno::EEXIST | Errno::ENOENT | Errno::EMLINK) => {}
                Err(error) => {
                    self.known.note_new_names(number);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// A copy gets a name that is the layers' so far. It is this thread's turn.
    pub(super) fn name_too(&self, number: u64, ino: u32, place: &Place) -> Answer<()> {
        let _naming = self.naming.write();
        self.upper.name_copy(ino, place.borrowed())?;
        self.known.loses_name(number);
        Ok(())
    }

    /// Where something of the layers shows, in directories that the image has: all that is known for a file that has several names, else one.
    /// Nowhere if all its names are gone.
    pub(super) fn places(&self, number: u64) -> Answer<Vec<Place>> {
        let says = self.lower.attributes(number)?;
        let has_several = says.links > 1 && says.kind != FileType::Directory;
        let (mut places, mut is_unknown) = (Vec::new(), false);
        for parent in self.known.parents(number) {
            match self.places_in(parent, number, has_several) {
                Ok(found) => places.extend(found),
                // The kernel has forgotten the directory just now.
                Err(Errno::ENOENT | Errno::ESTALE) => is_unknown = true,
                Err(error) => return Err(error),
            }
            if !has_several && !places.is_empty() {
                break;
            }
        }
        if places.is_empty() && is_unknown { Err(Errno::ESTALE) } else { Ok(places) }
    }

    fn places_in(&self, parent: u64, number: u64, all: bool) -> Answer<Vec<Place>> {
        let names = self.names(parent, number, all)?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let directory = self.directory_up(parent)?;
        Ok(names.into_iter().map(|name| Place { directory, name }).collect())
    }

    /// As [`Self::up`] of a directory: first those that it is in.
    fn directory_up(&self, directory: u64) -> Answer<u32> {
        let (mut way, mut seen, mut at) = (Vec::new(), HashSet::new(), directory);
        while self.in_image(at).is_none() {
            if !seen.insert(at) {
                return Err(Errno::ELOOP);
            }
            let named = |parent: u64| Ok(self.names(parent, at, false)?.pop().map(|name| (at, parent, name)));
            let step = self.known.parents(at).into_iter().find_map(|parent| named(parent).transpose());
            let Some(step) = step.transpose()? else {
                // Somebody has copied it just now.
                let _naming = self.naming.read();
                if self.in_image(at).is_some() { break } else { return Err(Errno::ESTALE) }
            };
            at = step.1;
            way.push(step);
        }
        for (at, parent, name) in way.into_iter().rev() {
            let _turn = self.turns.take(at);
            if self.in_image(at).is_none() {
                let directory = self.in_image(parent).ok_or(Errno::ESTALE)?;
                self.copy(at, &[Place { directory, name }], u64::MAX)?;
            }
        }
        self.in_image(directory).ok_or(Errno::ESTALE)
    }

    /// The names by which a directory shows something of the layers, or one of them.
    pub(super) fn names(&self, directory: u64, number: u64, all: bool) -> Answer<Vec<Vec<u8>>> {
        if !self.shows_layers(directory) {
            return Ok(Vec::new());
        }
        let (mut names, mut shown) = (Vec::new(), Vec::new());
        // What a directory of the host lists has its number only when it is looked up.
        let is_fixed = !self.lower.may_change(directory);
        self.lower.list(directory, 0, &mut |listed| {
            if listed.node == number || !is_fixed {
                names.push(listed.name.to_vec());
            }
            true
        })?;
        for name in names {
            let found = self.find(directory, &name)?;
            if found.shows == Shows::Below && found.number_below() == Some(number) {
                shown.push(name);
                if !all {
                    break;
                }
            }
        }
        Ok(shown)
    }

    /// Copies something of the layers, under all these names. It is this thread's turn.
    pub(super) fn copy(&self, number: u64, places: &[Place], length: u64) -> Answer<u32> {
        let says = self.lower.attributes(number)?;
        let xattrs = self.xattrs_below(number)?;
        if says.links > 1 && says.kind != FileType::Directory {
            self.known.note_several(number);
        }
        match (says.kind, places.first()) {
            (FileType::Regular, _) => self.copy_file(number, places, &says, &xattrs, length),
            (kind, Some(place)) => {
                let target = if kind == FileType::Symlink { self.lower.target(number)? } else { Vec::new() };
                // Where a layer is damaged, the image is not to be.
                if kind == FileType::Unknown || (kind == FileType::Symlink) == target.is_empty() {
                    return Err(Errno::EIO);
                }
                let ino = {
                    let _naming = self.naming.write();
                    let ino = self.upper.copy(place.borrowed(), &says, &target, &xattrs).map_err(gone)?;
                    self.known.is_copied(number, ino);
                    if kind != FileType::Directory {
                        self.known.loses_name(number);
                    }
                    ino
                };
                self.name_all(number, ino, places.get(1..).unwrap_or_default())?;
                Ok(ino)
            }
            // Nobody can tell where it would be looked for.
            (_, None) => Err(Errno::ENOENT),
        }
    }

    fn copy_file(&self, number: u64, places: &[Place], says: &Attributes, xattrs: &Xattrs, length: u64) -> Answer<u32> {
        let near = places.first().map_or_else(|| ino_of(self.upper.upper()), |place| Ok(place.directory))?;
        let ino = self.upper.begin_copy(near, says)?;
        let done = self.copy_content(number, ino, says.size.min(length)).and_then(|()| {
            let _naming = self.naming.write();
            let named = self.end_copy(ino, places, says, xattrs)?;
            self.known.is_copied(number, ino);
            (0..named).for_each(|_| self.known.loses_name(number));
            Ok(named)
        });
        let named = done.inspect_err(|_| self.upper.forget(number_of(ino), 1))?;
        self.name_all(number, ino, places.get(named..).unwrap_or_default())?;
        Ok(ino)
    }

    /// A copy has its content. Its names come in one change of the image, so that a crash leaves all of them or none; or only the first, where it may not
    /// have all; or none, where it has lost that one meanwhile. Returns how many.
    fn end_copy(&self, ino: u32, places: &[Place], says: &Attributes, xattrs: &Xattrs) -> Answer<usize> {
        let all: Vec<_> = places.iter().map(Place::borrowed).take(AT_ONCE).collect();
        for some in [&all, all.get(..1).unwrap_or_default()] {
            match self.upper.end_copy(ino, some, says, xattrs) {
                Err(Errno::EEXIST | Errno::ENOENT) => {}
                done => return done.map(|()| some.len()),
            }
        }
        self.upper.end_copy(ino, &[], says, xattrs).map(|()| 0)
    }

    /// Holes stay holes.
    fn copy_content(&self, number: u64, ino: u32, size: u64) -> Answer<()> {
        let (to, mut at, mut looked) = (number_of(ino), 0, Instant::now());
        while at < size {
            let start = match self.lower.seek(number, at, false) {
                Ok(start) => start,
                Err(Errno::ENXIO) => break,
                Err(error) => return Err(error),
            };
            let end = self.lower.seek(number, start, true)?.min(size);
            at = start;
            while at < end {
                // No signal ends who waits for an answer.
                if looked.elapsed() > LOOK {
                    looked = Instant::now();
                    if asker::is_killed() {
                        return Err(Errno::EINTR);
                    }
                }
                at += BUFFER.with_borrow_mut(|buffer| {
                    buffer.resize(PIECE, 0);
                    let wanted = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
                    let room = buffer.get_mut(..wanted).unwrap_or_default();
                    let length = self.lower.read(number, at, room)?;
                    // Shorter than it says it is.
                    if length == 0 {
                        return Err(Errno::EIO);
                    }
                    self.write_all(to, at, room.get(..length).unwrap_or_default())?;
                    Ok(length as u64)
                })?;
            }
        }
        if self.upper.attributes(to)?.size < size {
            self.upper.answer(self.upper.volume().truncate(ino, size, false))?;
        }
        Ok(())
    }

    fn write_all(&self, to: u64, at: u64, data: &[u8]) -> Answer<()> {
        let mut done = 0;
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
            match self.upper.write(to, at + done as u64, rest, false)? {
                0 => return Err(Errno::ENOSPC),
                more => done += more,
            }
        }
        Ok(())
    }

    fn xattrs_below(&self, number: u64) -> Answer<Xattrs> {
        if !self.lower.may_have_xattrs() {
            return Ok(Vec::new());
        }
        let names = self.lower.xattrs(number)?;
        let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        names.map(|name| Ok((name.to_vec(), self.lower.xattr(number, name)?))).collect()
    }
}

/// Something else has the name by now.
fn gone(error: Errno) -> Errno {
    if error == Errno::EEXIST { Errno::ENOENT } else { error }
}
