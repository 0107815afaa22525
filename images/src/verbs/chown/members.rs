//! Which inodes a chown is about: all of them, where the image holds nothing else, or those that a walk reaches.

use std::ops::ControlFlow;

use super::roots::Roots;
use condatainer_formats::ext::raw::{Claims, FileType, Fs, InoSet, ROOT_INO, block_count, each_entry};
use condatainer_formats::ext::{ExtError, Walk};

/// The inodes that are to be looked at.
pub(crate) enum Members {
    /// Every inode in use, except these few.
    AllBut(Vec<u32>),
    /// Those that were reached, and which of them were entered as directories.
    Reached { inodes: InoSet, directories: InoSet },
}

impl Members {
    pub(crate) fn contains(&self, ino: u32) -> bool {
        match self {
            Self::AllBut(others) => !others.contains(&ino),
            Self::Reached { inodes, .. } => inodes.contains(ino),
        }
    }

    /// False when no inode from `first` to `last` can be a member.
    pub(crate) fn may_touch(&self, first: u32, last: u32) -> bool {
        match self {
            Self::AllBut(_) => true,
            Self::Reached { inodes, .. } => inodes.may_touch(first, last),
        }
    }

    /// Whether a directory was passed over because its name claimed that it was something else.
    pub(crate) fn overlooked(&self, ino: u32, kind: FileType) -> bool {
        match self {
            Self::AllBut(_) => false,
            Self::Reached { directories, .. } => (kind == FileType::Directory) != directories.contains(ino),
        }
    }
}

/// The members for the whole of `roots`: without a walk when a look at the root directory shows that there is nothing else.
pub(crate) fn whole(fs: &Fs<'_>, roots: Roots) -> Result<Members, ExtError> {
    match only_overlay(fs, roots)? {
        Some(others) => Ok(Members::AllBut(others)),
        None => below(fs, roots.all()),
    }
}

/// When the root holds nothing but the overlay and an empty lost+found: the inodes beside the overlay's own.
fn only_overlay(fs: &Fs<'_>, roots: Roots) -> Result<Option<Vec<u32>>, ExtError> {
    let sb = &fs.sb;
    let mut others = vec![sb.journal_inum, sb.orphan_file_inum];
    for (ino, name) in names_in(fs, ROOT_INO)? {
        if name == b"lost+found" && names_in(fs, ino)?.is_empty() {
            others.push(ino);
        } else if !roots.all().any(|root| root == ino) {
            return Ok(None);
        }
    }
    Ok(Some(others))
}

/// The entries of a directory that is expected to be small; never more than a few blocks of them.
fn names_in(fs: &Fs<'_>, ino: u32) -> Result<Vec<(u32, Vec<u8>)>, ExtError> {
    const ENOUGH: usize = 16;
    let mut names = Vec::new();
    let dir = fs.inode(ino)?;
    let _ = each_entry(fs, &dir, &mut |entry| {
        names.push((entry.ino, entry.name.to_vec()));
        if names.len() < ENOUGH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(names)
}

/// The members at and below `starts`: each inode once, whatever the entries point to.
pub(super) fn below(fs: &Fs<'_>, starts: impl Iterator<Item = u32>) -> Result<Members, ExtError> {
    let (inodes, walk) = (InoSet::default(), Walk::default());
    let mut reach = Reach { fs, inodes, walk, claims: Claims::default() };
    for start in starts {
        reach.meet(start, None)?;
    }
    while let Some(visit) = reach.walk.step() {
        reach.enter(visit.ino)?;
    }
    Ok(Members::Reached { inodes: reach.inodes, directories: reach.walk.into_entered() })
}

/// What a walk has reached so far.
struct Reach<'a, 'b> {
    fs: &'a Fs<'b>,
    inodes: InoSet,
    walk: Walk<()>,
    claims: Claims,
}

impl Reach<'_, '_> {
    fn meet(&mut self, ino: u32, claimed: Option<FileType>) -> Result<(), ExtError> {
        if ino < self.fs.sb.first_ino || ino > self.fs.sb.inodes_count {
            return Err(ExtError::corrupt(format!("a name points to inode {ino}, which is not for files")));
        }
        let kind = match claimed {
            Some(kind) => kind,
            None => self.fs.inode(ino)?.file_type(),
        };
        if self.inodes.insert(ino) && kind == FileType::Directory {
            self.walk.add(ino, ());
        }
        Ok(())
    }

    fn enter(&mut self, ino: u32) -> Result<(), ExtError> {
        let fs = self.fs;
        let dir = fs.inode(ino)?;
        self.claims.claim(&fs.sb, ino, block_count(&fs.sb, &dir))?;
        let mut failed = None;
        let _ = each_entry(fs, &dir, &mut |entry| match self.meet(entry.ino, entry.file_type) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    }
}
