//! Where the layer goes: looked at before the long work, made under a name of its own beside its place, put there when it is whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::BuildError;
use crate::create::free_space;
use crate::draft::{self, Draft, Kind, attributes};

/// A place that was looked at, and the draft in it.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    update: bool,
    /// What it replaces.
    old: Option<File>,
    draft: Draft,
}

impl Target {
    /// Refuses a place that is taken, unless the layer is to be rebuilt, and one where somebody is at it already.
    pub(super) fn new(asked: &Path, update: bool) -> Result<Self, BuildError> {
        let path = real(asked, update);
        let directory = draft::directory_of(&path);
        let (Some(name), true) = (path.file_name(), directory.is_dir()) else {
            return Err(BuildError::NoDirectory { path: path.clone(), directory: directory.into() });
        };
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => return Err(BuildError::IsDirectory { path }),
            Ok(_) if !update => return Err(BuildError::Exists { path }),
            _ => {}
        }
        draft::sweep(directory);
        let in_hand = |draft| BuildError::InHand { path: path.clone(), draft };
        let io = |error| BuildError::io(&path, error);
        if let Some(other) = draft::in_the_making(directory, name).next() {
            return Err(in_hand(other));
        }
        let draft = Draft::new(directory, name, Kind::New).map_err(io)?;
        // Of two who have come at the same instant, the first in the alphabet stays.
        let first = draft::in_the_making(directory, name).find(|other| other.file_name() < draft.path().file_name());
        if let Some(other) = first {
            return Err(in_hand(other));
        }
        let old = File::open(&path).ok().filter(|_| update);
        Ok(Self { update, old, draft, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn directory(&self) -> &Path {
        draft::directory_of(&self.path)
    }

    pub(super) fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Whether it takes the place of an older one.
    pub(super) fn replaces(&self) -> bool {
        self.old.is_some()
    }

    /// Refuses where there are not `needed` bytes.
    pub(super) fn require_space(&self, needed: u64) -> Result<(), BuildError> {
        require_space(&self.path, self.directory(), needed)
    }

    /// Puts the layer in its place.
    pub(super) fn publish(self) -> Result<(), BuildError> {
        if let Some(old) = &self.old {
            share_alike(old, self.draft.file());
        }
        let path = self.path;
        let put = if self.update { self.draft.replace(&path) } else { self.draft.finish(&path) };
        put.map(drop).map_err(|error| BuildError::io(&path, error))
    }
}

/// Who could read the old one can read the new one, as far as its maker may arrange that.
fn share_alike(old: &File, new: &File) {
    if let Ok(meta) = old.metadata() {
        let _ = attributes::take_group(&meta, new);
    }
    let _ = attributes::take_rest(old, new);
}

/// A link to a layer stays a link.
fn real(asked: &Path, update: bool) -> PathBuf {
    let target = update.then(|| fs::canonicalize(asked).ok()).flatten();
    target.unwrap_or_else(|| asked.into())
}

/// Refuses where there are not `needed` bytes for `path` in `directory`.
pub(super) fn require_space(path: &Path, directory: &Path, needed: u64) -> Result<(), BuildError> {
    match free_space(directory) {
        Some(available) if available < needed => {
            Err(BuildError::NoSpace { path: path.into(), directory: directory.into(), needed: Some(needed), available })
        }
        _ => Ok(()),
    }
}
