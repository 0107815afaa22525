//! One chown from the look at the image to the report: what it is about, what would change, and the writing.
//!
//! Everything but the writing works on any bytes, so it can be tried on hostile ones without a file.

use std::fs::File;
use std::path::Path;

use super::commit::{Commit, CommitError};
use super::error::ChownError;
use super::mapping::Mapping;
use super::members::{self, Members, Roots};
use super::survey::{self, Survey, ids_at, survey};
use super::{Report, Request};
use condatainer_formats::ext::raw::{Fs, Holes, NextData, find_upper_and_work, require_apart};
use condatainer_formats::ext::{ExtError, FileType, Ids, ReadAt};

/// One chown under way.
pub(crate) struct Job<'a, R: ?Sized> {
    path: &'a Path,
    fs: &'a Fs<'a, R>,
    /// Where the image has data, if that can be asked.
    next_data: Option<NextData<'a>>,
    roots: Roots,
    /// Owner of `upper`.
    before: Ids,
    mapping: Mapping,
    request: &'a Request,
}

impl<'a, R: ReadAt + ?Sized> Job<'a, R> {
    pub(super) fn new(
        path: &'a Path,
        fs: &'a Fs<'a, R>,
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
    pub(crate) fn look(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<(Members, Holes<'a>, Survey), ChownError> {
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
            let found = members::resolve(self.fs, self.roots.upper, path).map_err(|e| self.ext(e))?;
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
    pub(crate) fn report(&self, members: &Members, seen: Survey) -> Report {
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
            unwritable_examples: examples.filter_map(|&ino| members::path_of(self.fs, ino)).collect(),
            walked: matches!(members, Members::Reached { .. }),
            replayed: false,
            unlocked: false,
        }
    }
}

impl Job<'_, File> {
    /// Writes what `look` found to be changed, and reads it back.
    pub(crate) fn write(
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
        commit.run(&mut tell).map_err(|error| commit_error(self.path, error))?;
        let now = self.survey(members, holes, 2, progress).map_err(after_writing)?;
        match now.changing + now.members.abs_diff(seen.members) {
            0 => Ok(()),
            left => Err(ChownError::Unverified { path: self.path.into(), left }),
        }
    }
}

pub(crate) fn commit_error(path: &Path, error: CommitError) -> ChownError {
    match error {
        CommitError::Ext(error) => after_writing(ChownError::ext(path, error)),
        CommitError::Write(error) => ChownError::Interrupted { path: path.into(), error },
    }
}

/// What cannot be read now must not be taken for an image that was left alone.
fn after_writing(error: ChownError) -> ChownError {
    match error {
        ChownError::Image(error) => ChownError::InPart { error },
        other => other,
    }
}

/// Finds `upper` and `work`, after making sure that everything in the file system is understood.
pub(crate) fn find_roots<R: ReadAt + ?Sized>(fs: &Fs<'_, R>) -> Result<Roots, ExtError> {
    fs.sb.features.check_writable()?;
    // Half an inode on each side of a page could be torn apart by a kill.
    if !fs.window().offset.is_multiple_of(u64::from(fs.sb.inode_size.min(512))) {
        return Err(ExtError::unsupported(format!("a file system that begins at byte {}", fs.window().offset)));
    }
    let [upper, work] = find_upper_and_work(fs)?;
    let upper = upper.ok_or_else(|| ExtError::without_directory("upper"))?;
    for (root, name) in [(Some(upper), "upper"), (work, "work")] {
        root.map(|ino| require_directory(fs, ino, name)).transpose()?;
    }
    Ok(Roots { upper, work })
}

fn require_directory<R: ReadAt + ?Sized>(fs: &Fs<'_, R>, ino: u32, name: &str) -> Result<(), ExtError> {
    let inode = fs.inode(ino)?;
    let sound = ino >= fs.sb.first_ino && inode.links_count > 0;
    match inode.file_type() {
        FileType::Directory if sound => Ok(()),
        FileType::Directory => Err(ExtError::corrupt(format!("{name} has an inode that is not for files"))),
        other => Err(ExtError::other_than_directory(name, other)),
    }
}
