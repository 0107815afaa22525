//! Chown of a whole image, in place: from one owner to another, with the ids of other users left alone.
//!
//! It works on the inode tables themselves, so it takes a fraction of a second where a mount and `chown -R` take minutes.
//! Names, modes (suid bits too), times, extended attributes and ACLs stay as they are.

mod commit;
mod error;
mod inoset;
mod mapping;
mod members;
mod survey;
mod table;

use std::fs::File;
use std::path::{Path, PathBuf};

pub use error::ChownError;
pub(crate) use inoset::InoSet;
pub(crate) use members::Members;
pub(crate) use table::{Holes, each_chunk, next_data};

use crate::ext::raw::{Fs, find_upper_and_work};
use crate::ext::{ExtError, Ids};
use crate::held::{Held, Purpose};
use commit::{Commit, CommitError};
use mapping::Mapping;
use members::Roots;
use survey::{Survey, ids_at, survey};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The new owner and group.
    pub target: Ids,
    /// The user the image belongs to: the caller, or the target where that is a user. Its ids move, like 0 and the owner
    /// of `upper`.
    pub user: Ids,
    /// Moves exactly these ids instead.
    pub from: Option<Ids>,
    /// Moves every id.
    pub all: bool,
    /// Moves every group.
    pub groups: bool,
    /// Only what lies at and below these paths, as a container sees them; empty: everything.
    pub paths: Vec<PathBuf>,
    /// Looks, and changes nothing.
    pub dry_run: bool,
    /// Runs `e2fsck -p` under the lock where the image is not clean, instead of refusing.
    pub replay: bool,
}

impl Request {
    /// Everything to `target`, in an image of `user`.
    #[must_use]
    pub fn new(target: Ids, user: Ids) -> Self {
        let (from, paths) = (None, Vec::new());
        Self { target, user, from, all: false, groups: false, paths, dry_run: false, replay: false }
    }
}

/// What was done; in a dry run, what would be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Files and directories looked at.
    pub scanned: u64,
    /// Those whose owner or group changed.
    pub changed: u64,
    /// Owner of `upper` before.
    pub before: Ids,
    /// Owner of `upper` now.
    pub after: Ids,
    /// Owners that can no longer be told apart, because all are the target's now; then the way back is not exact.
    pub merged_uids: Vec<u32>,
    /// The same for groups.
    pub merged_gids: Vec<u32>,
    /// Directories whose owner or group is still somebody else: without fakeroot the new owner cannot write there. Always
    /// 0 where the target is root, who needs fakeroot anyway.
    pub unwritable_directories: u64,
    /// The first of them, as paths from the image's root.
    pub unwritable_examples: Vec<PathBuf>,
    /// Whether the directories were walked, because the image holds more than the overlay or only paths were asked for.
    pub walked: bool,
    /// Whether e2fsck cleaned the image first.
    pub replayed: bool,
    /// Whether the image could not be locked, because the file system that holds it has no locks.
    pub unlocked: bool,
}

/// Changes the owners in the image at `path`. `progress` is told inodes passed and inodes to pass.
///
/// # Errors
/// See [`ChownError`]. Before the first write everything was checked; after it, running the same again completes the work.
pub fn chown(path: &Path, request: &Request, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, ChownError> {
    let held =
        Held::open(path, if request.dry_run { Purpose::Look } else { Purpose::Change })?.announce("overlay chown");
    let replayed = held.make_clean(request.replay && !request.dry_run)?;
    let report = chown_held(&held, request, progress)?;
    Ok(Report { replayed, ..report })
}

/// As [`chown`], in an image that is held and clean already.
pub(crate) fn chown_held(
    held: &Held,
    request: &Request,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, ChownError> {
    let path = &held.image.path;
    let ext = |error| ChownError::ext(path, error);
    let fs = Fs::open(&held.file, held.window, u64::MAX).map_err(ext)?;
    let roots = find_roots(&fs).map_err(ext)?;
    let before = ids_at(&fs, roots.upper).map_err(ext)?;
    let job = Job { path, held, fs: &fs, roots, mapping: Mapping::new(request, before), request };
    let (members, holes, seen) = job.look(progress)?;
    if !request.dry_run && seen.changing > 0 {
        job.write(&members, holes, &seen, progress)?;
    }
    Ok(job.report(&members, seen, before))
}

/// Gives `work`, whatever lies in it and nothing else to the owner of `upper`, in an image that is held and clean.
pub(crate) fn give_work(held: &Held) -> Result<(), ChownError> {
    let (path, file) = (&held.image.path, &held.file);
    let ext = |error| ChownError::ext(path, error);
    let fs = Fs::open(file, held.window, u64::MAX).map_err(ext)?;
    let roots = find_roots(&fs).map_err(ext)?;
    let owner = ids_at(&fs, roots.upper).map_err(ext)?;
    let members = members::below(&fs, roots.work.into_iter()).map_err(ext)?;
    let mapping = Mapping::new(&Request { all: true, ..Request::new(owner, owner) }, owner);
    let commit = Commit { fs: &fs, file, members: &members, mapping: &mapping, roots, holes: Holes::Read };
    commit.run(&mut |_| {}).map_err(|error| commit_error(path, error))
}

/// How many files in the image belong to other users than `upper` does.
pub(crate) fn count_other_owners(held: &Held) -> Result<u64, ExtError> {
    let fs = Fs::open(&held.file, held.window, u64::MAX)?;
    let roots = find_roots(&fs)?;
    let owner = ids_at(&fs, roots.upper)?;
    let members = members::whole(&fs, roots)?;
    let mut others = 0;
    each_chunk(&fs, &held.file, &members, Holes::Read, &mut |_| {}, |chunk| {
        for (ino, _, raw) in chunk.live().filter(|(ino, ..)| *ino >= fs.sb.first_ino) {
            let inode = survey::member(&members, ino, raw)?;
            others += u64::from(inode.is_some_and(|inode| inode.ids.uid != owner.uid));
        }
        Ok::<(), ExtError>(())
    })?;
    Ok(others)
}

fn commit_error(path: &Path, error: CommitError) -> ChownError {
    match error {
        CommitError::Ext(error) => ChownError::ext(path, error),
        CommitError::Write(error) => ChownError::Interrupted { path: path.into(), error },
    }
}

/// Finds `upper` and `work`, after making sure that everything in the file system is understood.
fn find_roots(fs: &Fs<'_, File>) -> Result<Roots, ExtError> {
    fs.sb.features.check_writable()?;
    // Half an inode on each side of a page could be torn apart by a kill.
    if !fs.window().offset.is_multiple_of(u64::from(fs.sb.inode_size.min(512))) {
        return Err(ExtError::unsupported(format!("a file system that begins at byte {}", fs.window().offset)));
    }
    let [upper, work] = find_upper_and_work(fs)?;
    let upper = upper.ok_or_else(|| ExtError::unsupported("a layout without a directory upper/"))?;
    for (root, name) in [(Some(upper), "upper"), (work, "work")] {
        root.map(|ino| require_directory(fs, ino, name)).transpose()?;
    }
    Ok(Roots { upper, work })
}

fn require_directory(fs: &Fs<'_, File>, ino: u32, name: &str) -> Result<(), ExtError> {
    use crate::ext::FileType::Directory;
    let inode = fs.inode(ino)?;
    let sound = ino >= fs.sb.first_ino && inode.links_count > 0;
    match inode.file_type() {
        Directory if sound => Ok(()),
        Directory => Err(ExtError::corrupt(format!("{name} has an inode that is not for files"))),
        other => Err(ExtError::unsupported(format!("a layout in which {name} is {}", other.describe()))),
    }
}

/// One chown under way.
struct Job<'a> {
    path: &'a Path,
    held: &'a Held,
    fs: &'a Fs<'a, File>,
    roots: Roots,
    mapping: Mapping,
    request: &'a Request,
}

impl Job<'_> {
    /// Looks at all members, in the quickest way that accounts for every inode in use.
    fn look(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<(Members, Holes, Survey), ChownError> {
        // Some file systems report fresh, unwritten data as holes.
        self.held.file.sync_data().ok();
        let members = self.members()?;
        for holes in [Holes::Skip, Holes::Read] {
            let seen = self.survey(&members, holes, 0, progress)?;
            if self.is_complete(&members, &seen) {
                return Ok((members, holes, seen));
            }
        }
        self.walk(progress)
    }

    /// The last resort where the counters of the superblock disagree with the tables: names do not lie.
    fn walk(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<(Members, Holes, Survey), ChownError> {
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
            Members::AllBut(_) => {
                let counted = u64::from(sb.inodes_count.saturating_sub(sb.free_inodes_count));
                seen.in_use + u64::from(sb.first_ino - 1) >= counted
            }
        }
    }

    /// Looks, writes and verifies are one third each of the whole; a dry run only looks.
    fn survey(
        &self,
        members: &Members,
        holes: Holes,
        pass: u64,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Survey, ChownError> {
        let mut tell = |done| progress(pass * self.inodes() + done, self.total());
        let file = &self.held.file;
        survey(self.fs, file, members, &self.mapping, holes, &mut tell).map_err(|e| self.ext(e))
    }

    fn write(
        &self,
        members: &Members,
        holes: Holes,
        seen: &Survey,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), ChownError> {
        let (fs, file, mapping, roots) = (self.fs, &self.held.file, &self.mapping, self.roots);
        let mut tell = |done| progress(self.inodes() + done, self.total());
        let commit = Commit { fs, file, members, mapping, roots, holes };
        commit.run(&mut tell).map_err(|error| commit_error(self.path, error))?;
        let now = self.survey(members, holes, 2, progress)?;
        match now.changing + now.members.abs_diff(seen.members) {
            0 => Ok(()),
            left => Err(ChownError::Unverified { path: self.path.into(), left }),
        }
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

    fn report(&self, members: &Members, seen: Survey, before: Ids) -> Report {
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
            unlocked: self.held.lock_unsupported().is_some(),
        }
    }
}
