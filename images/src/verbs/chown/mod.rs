//! Chown of a whole image, in place: from one owner to another, with the ids of other users left alone.
//!
//! It works on the inode tables themselves, so it takes a fraction of a second where a mount and `chown -R` take minutes.
//! Names, modes (suid bits too), times, extended attributes and ACLs stay as they are.
//!
//! The way: `roots` finds `upper` and `work`, `members` the inodes that matter, `mapping` says which ids become which. `survey` looks at all of
//! them before anything is written, `commit` writes, and `survey` looks again. `owners` serves a check, `loan` is the note of with-root.

mod commit;
mod error;
pub(crate) mod loan;
mod mapping;
mod members;
mod owners;
mod paths;
mod report;
mod request;
mod roots;
mod survey;

use std::fs::File;
use std::path::Path;

pub use error::ChownError;
pub(crate) use owners::{count_other_owners, give_work};
pub use report::Report;
pub use request::Request;

use crate::acquire::{LockedImage, Purpose};
use crate::sparse::next_data;
use commit::Commit;
use condatainer_formats::ext::raw::{Fs, Holes, NextData, require_apart};
use condatainer_formats::ext::{ExtError, Ids, ReadAt, Window};
use mapping::Mapping;
use members::Members;
use roots::{Roots, find_roots};
use survey::{Survey, ids_at, survey};

/// Changes the owners in the image at `path`. `progress` is told inodes passed and inodes to pass.
///
/// # Errors
/// See [`ChownError`]. Before the first write everything was checked; after it, running the same again completes the work.
pub fn chown(path: &Path, request: &Request, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, ChownError> {
    let locked = LockedImage::open(path, if request.dry_run { Purpose::Look } else { Purpose::Change })?
        .announce("overlay chown");
    let replayed = locked.make_clean(request.replay && !request.dry_run)?;
    let report = chown_locked(&locked, request, progress)?;
    if !request.dry_run && request.paths.is_empty() && request.from.is_none() {
        // Given to somebody for good, so a loan is forgotten.
        loan::strike(&locked.file);
    }
    Ok(Report { replayed, ..report })
}

/// As [`chown`], in an image that is locked and clean already.
pub(crate) fn chown_locked(
    locked: &LockedImage,
    request: &Request,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, ChownError> {
    let report = chown_file(&locked.image.path, &locked.file, locked.window, request, progress)?;
    Ok(Report { unlocked: locked.lock_unsupported().is_some(), ..report })
}

/// As [`chown`], in the file system at `window` of an open file that nobody else has; `path` is what messages name.
pub(crate) fn chown_file(
    path: &Path,
    file: &File,
    window: Window,
    request: &Request,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, ChownError> {
    // Some file systems report fresh, unwritten data as holes.
    file.sync_data().ok();
    let fs = Fs::open(file, window, u64::MAX).map_err(|error| ChownError::ext(path, error))?;
    let next_data = |from, end| next_data(file, from, end);
    let chown = Chown::new(path, &fs, Some(&next_data), request)?;
    let (members, holes, seen) = chown.look(progress)?;
    if !request.dry_run && seen.changing > 0 {
        chown.write(file, &members, holes, &seen, progress)?;
    }
    Ok(chown.report(&members, seen))
}

/// What [`chown`] would do with the image in `window` of `reader`, whatever its state: it is only looked at, and not locked.
/// `path` is what errors call it.
///
/// # Errors
/// As [`chown`].
pub fn preview(path: &Path, reader: &dyn ReadAt, window: Window, request: &Request) -> Result<Report, ChownError> {
    let fs = Fs::open(reader, window, u64::MAX).map_err(|error| ChownError::ext(path, error))?;
    let chown = Chown::new(path, &fs, None, request)?;
    let (members, _, seen) = chown.look(&mut |_, _| {})?;
    Ok(chown.report(&members, seen))
}

/// One chown under way.
struct Chown<'a> {
    path: &'a Path,
    fs: &'a Fs<'a>,
    /// Where the image has data, if that can be asked.
    next_data: Option<NextData<'a>>,
    roots: Roots,
    /// Owner of `upper`.
    before: Ids,
    mapping: Mapping,
    request: &'a Request,
}

impl<'a> Chown<'a> {
    fn new(
        path: &'a Path,
        fs: &'a Fs<'a>,
        next_data: Option<NextData<'a>>,
        request: &'a Request,
    ) -> Result<Self, ChownError> {
        let ext = |error| ChownError::ext(path, error);
        let roots = find_roots(fs).map_err(ext)?;
        require_apart(fs).map_err(ext)?;
        let before = ids_at(fs, roots.upper).map_err(ext)?;
        Ok(Self { path, fs, next_data, roots, before, mapping: Mapping::new(request, before), request })
    }

    /// Looks at all members, in the quickest way that accounts for every inode in use.
    fn look(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<(Members, Holes<'a>, Survey), ChownError> {
        let members = self.members()?;
        for holes in self.next_data.map(Holes::Skip).into_iter().chain([Holes::Read]) {
            let seen = self.survey(&members, holes, 0, progress)?;
            if self.is_complete(&members, &seen) {
                return Ok((members, holes, seen));
            }
        }
        self.walk(progress)
    }

    /// The last resort where the counters of the superblock disagree with the tables: names do not lie.
    fn walk(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<(Members, Holes<'a>, Survey), ChownError> {
        let starts = [Some(self.roots.upper), self.roots.work].into_iter().flatten();
        let members = members::below(self.fs, starts).map_err(|e| self.ext(e))?;
        let seen = self.survey(&members, Holes::Read, 0, progress)?;
        if self.is_complete(&members, &seen) {
            return Ok((members, Holes::Read, seen));
        }
        Err(self.ext(ExtError::corrupt("a name points to an inode that is not in use")))
    }

    fn members(&self) -> Result<Members, ChownError> {
        if self.request.paths.is_empty() {
            return members::whole(self.fs, self.roots).map_err(|e| self.ext(e));
        }
        let mut starts = Vec::new();
        for path in &self.request.paths {
            let found = paths::resolve(self.fs, self.roots.upper, path).map_err(|e| self.ext(e))?;
            let missing = || ChownError::NoSuchPath { image: self.path.into(), inside: path.clone() };
            starts.push(found.ok_or_else(missing)?);
        }
        members::below(self.fs, starts.into_iter()).map_err(|e| self.ext(e))
    }

    fn is_complete(&self, members: &Members, seen: &Survey) -> bool {
        let sb = &self.fs.sb;
        match members {
            Members::Reached { inodes, .. } => seen.members == inodes.len(),
            // More than are counted is wrong as well: what was read as a table may be something else.
            Members::AllBut(_) => {
                let counted = u64::from(sb.inodes_count.saturating_sub(sb.free_inodes_count));
                seen.in_use + u64::from(sb.first_ino - 1) == counted
            }
        }
    }

    /// Looks, writes and verifies are one third each of the whole; a dry run only looks.
    fn survey(
        &self,
        members: &Members,
        holes: Holes<'_>,
        pass: u64,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Survey, ChownError> {
        let mut tell = |done| progress(pass * self.inodes() + done, self.total());
        survey(self.fs, members, &self.mapping, holes, &mut tell).map_err(|e| self.ext(e))
    }

    fn inodes(&self) -> u64 {
        self.fs.sb.inodes_count.into()
    }

    fn total(&self) -> u64 {
        if self.request.dry_run { self.inodes() } else { 3 * self.inodes() }
    }

    fn ext(&self, error: ExtError) -> ChownError {
        ChownError::ext(self.path, error)
    }

    /// What was seen, in the terms of the request. That e2fsck ran or locks are missing is for the caller to add.
    fn report(&self, members: &Members, seen: Survey) -> Report {
        let before = self.before;
        let to_user = self.mapping.target().uid != 0;
        let examples = seen.examples.iter().filter(|_| to_user);
        let concerns_upper = members.contains(self.roots.upper);
        Report {
            scanned: seen.members,
            changed: seen.changing,
            before,
            after: if concerns_upper { self.mapping.apply(before) } else { before },
            merged_uids: survey::merged(&seen.uids),
            merged_gids: survey::merged(&seen.gids),
            unwritable_directories: if to_user { seen.foreign_directories } else { 0 },
            unwritable_examples: examples.filter_map(|&ino| paths::path_of(self.fs, ino)).collect(),
            walked: matches!(members, Members::Reached { .. }),
            replayed: false,
            unlocked: false,
        }
    }
}

impl Chown<'_> {
    /// Writes what `look` found to be changed, and reads it back.
    fn write(
        &self,
        file: &File,
        members: &Members,
        holes: Holes<'_>,
        seen: &Survey,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), ChownError> {
        let (fs, mapping, roots) = (self.fs, &self.mapping, self.roots);
        let mut tell = |done| progress(self.inodes() + done, self.total());
        let commit = Commit { fs, file, members, mapping, roots, holes };
        commit.run(&mut tell).map_err(|error| error.at(self.path))?;
        let now = self.survey(members, holes, 2, progress).map_err(ChownError::after_writing)?;
        match now.changing + now.members.abs_diff(seen.members) {
            0 => Ok(()),
            left => Err(ChownError::Unverified { path: self.path.into(), left }),
        }
    }
}
