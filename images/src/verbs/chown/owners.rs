//! Owners that do not fit: how many files belong to others than `upper` does, and a `work` that gets the owner of `upper`. A check asks both.

use super::commit::Commit;
use super::error::ChownError;
use super::mapping::Mapping;
use super::members;
use super::request::Request;
use super::roots::find_roots;
use super::survey::{ids_at, is_member};
use crate::acquire::LockedImage;
use crate::sparse::next_data;
use condatainer_formats::ext::ExtError;
use condatainer_formats::ext::raw::{Fs, Holes, each_chunk};

/// Gives `work`, whatever lies in it and nothing else to the owner of `upper`, in an image that is locked and clean.
pub(crate) fn give_work(locked: &LockedImage) -> Result<(), ChownError> {
    let (path, file) = (&locked.image.path, &locked.file);
    let ext = |error| ChownError::ext(path, error);
    let fs = Fs::open(file, locked.window, u64::MAX).map_err(ext)?;
    let roots = find_roots(&fs).map_err(ext)?;
    let owner = ids_at(&fs, roots.upper).map_err(ext)?;
    let members = members::below(&fs, roots.work.into_iter()).map_err(ext)?;
    let mapping = Mapping::new(&Request { all: true, ..Request::new(owner, owner) }, owner);
    let commit = Commit { fs: &fs, file, members: &members, mapping: &mapping, roots, holes: Holes::Read };
    commit.run(&mut |_| {}).map_err(|error| error.at(path))
}

/// How many files in the image belong to other users than `upper` does.
pub(crate) fn count_other_owners(locked: &LockedImage) -> Result<u64, ExtError> {
    let fs = Fs::open(&locked.file, locked.window, u64::MAX)?;
    let roots = find_roots(&fs)?;
    let owner = ids_at(&fs, roots.upper)?;
    let members = members::whole(&fs, roots)?;
    let mut others = 0;
    let next_data = |from, end| next_data(&locked.file, from, end);
    each_chunk(&fs, &|first, last| members.may_touch(first, last), Holes::Skip(&next_data), &mut |_| {}, |chunk| {
        for (ino, _, record) in chunk.live().filter(|(ino, ..)| *ino >= fs.sb.first_ino) {
            let counts = is_member(&members, ino, &record.inode);
            others += u64::from(counts && record.inode.ids().uid != owner.uid);
        }
        Ok::<(), ExtError>(())
    })?;
    Ok(others)
}
