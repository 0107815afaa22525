//! Looking at every member before anything is written: what would change, what would merge, and whether all is sound.

use std::collections::BTreeSet;

use super::mapping::Mapping;
use super::members::Members;
use condatainer_formats::ext::raw::{FileType, Fs, Holes, Inode, InodeRecord, each_chunk, flag};
use condatainer_formats::ext::{ExtError, Ids};

/// Enough to say "many"; an image may hold billions of ids.
const MOST_IDS: usize = 1024;
/// Directories that are named in a report.
const EXAMPLES: usize = 10;

/// What a look at the members found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Inodes in use, members or not, from the first that is not reserved.
    pub(crate) in_use: u64,
    /// Members.
    pub(crate) members: u64,
    /// Members whose owner or group is to change.
    pub(crate) changing: u64,
    /// Old owners that become, or are, the target's.
    pub(crate) uids: BTreeSet<u32>,
    /// Old groups that become, or are, the target's.
    pub(crate) gids: BTreeSet<u32>,
    /// Directories that will not be wholly the target's.
    pub(crate) foreign_directories: u64,
    /// The first of them.
    pub(crate) examples: Vec<u32>,
    last: Option<Ids>,
}

/// Looks at all members; changes nothing.
pub(crate) fn survey(
    fs: &Fs<'_>,
    members: &Members,
    mapping: &Mapping,
    holes: Holes<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Survey, ExtError> {
    let mut survey = Survey::default();
    each_chunk(fs, &|first, last| members.may_touch(first, last), holes, progress, |chunk| {
        chunk.live().try_for_each(|(ino, _, record)| survey.meet(fs, members, mapping, ino, record))
    })?;
    Ok(survey)
}

impl Survey {
    fn meet(
        &mut self,
        fs: &Fs<'_>,
        members: &Members,
        mapping: &Mapping,
        ino: u32,
        record: &InodeRecord,
    ) -> Result<(), ExtError> {
        if ino < fs.sb.first_ino {
            return Ok(());
        }
        self.in_use += 1;
        if is_member(members, ino, &record.inode) {
            check(fs, members, ino, record)?;
            self.count(mapping, ino, &record.inode);
        }
        Ok(())
    }

    fn count(&mut self, mapping: &Mapping, ino: u32, inode: &Inode) {
        let (old, target) = (inode.ids(), mapping.target());
        let new = mapping.apply(old);
        self.members += 1;
        self.changing += u64::from(old != new);
        // Neighbours mostly have the same owner.
        if self.last != Some(old) {
            note(&mut self.uids, old.uid, new.uid == target.uid);
            note(&mut self.gids, old.gid, new.gid == target.gid);
            self.last = Some(old);
        }
        if inode.file_type() == FileType::Directory && new != target {
            self.foreign_directories += 1;
            if self.examples.len() < EXAMPLES {
                self.examples.push(ino);
            }
        }
    }
}

fn note(ids: &mut BTreeSet<u32>, id: u32, becomes_target: bool) {
    if becomes_target && ids.len() < MOST_IDS {
        ids.insert(id);
    }
}

/// Whether its owner counts. The inodes of large extended attributes have none of their own.
pub(crate) fn is_member(members: &Members, ino: u32, inode: &Inode) -> bool {
    members.contains(ino) && !inode.has(flag::EA_INODE)
}

/// A member must be intact before it is rewritten: a new checksum would hide the damage.
fn check(fs: &Fs<'_>, members: &Members, ino: u32, record: &InodeRecord) -> Result<(), ExtError> {
    if members.overlooked(ino, record.inode.file_type()) {
        return Err(ExtError::corrupt(format!("a name claims another type than that of inode {ino}")));
    }
    let sealed = fs.sb.has_metadata_csum();
    if sealed && record.stored_checksum() != record.checksum(fs.sb.checksum_seed, ino) {
        return Err(ExtError::corrupt(format!("inode {ino} has a wrong checksum")));
    }
    Ok(())
}

/// The ids that can no longer be told apart: all that end as the target's, if they are more than one.
pub(crate) fn merged(ids: &BTreeSet<u32>) -> Vec<u32> {
    if ids.len() > 1 { ids.iter().copied().collect() } else { Vec::new() }
}

/// The ids of one inode, for the report.
pub(crate) fn ids_at(fs: &Fs<'_>, ino: u32) -> Result<Ids, ExtError> {
    fs.inode(ino).map(|inode| inode.ids())
}
