//! In what a file of the image differs from the one below it.

use super::entry::Aspect;
use super::error::DiffError;
use super::owner;
use crate::image::ImageError;
use crate::overlay::lower::{Lower, LowerNode};
use condatainer_formats::ext::{FileType, Ids, Node, Tree};
use condatainer_formats::overlayfs::is_metacopy;
use std::path::Path;

/// The two trees, and whom the image belongs to.
pub(super) struct Sides<'a, 'b> {
    pub(super) path: &'a Path,
    pub(super) tree: &'a Tree<'b>,
    pub(super) lower: &'a Lower,
    pub(super) owner: Ids,
}

impl Sides<'_, '_> {
    /// Everything in which `now` differs from `before`.
    pub(super) fn compare(&self, before: &LowerNode, now: &Node) -> Result<Vec<Aspect>, DiffError> {
        if before.kind != now.kind {
            return Ok(vec![Aspect::Kind]);
        }
        let mut what = self.substance(before, now)?;
        let file = now.kind == FileType::Regular;
        // Links have no mode of their own.
        let mode = now.kind != FileType::Symlink && before.mode != now.mode;
        what.extend(mode.then_some(Aspect::Mode));
        what.extend(owner::differs(before, now.ids, self.owner).then_some(Aspect::Owner));
        what.extend((file && what.is_empty() && before.mtime != now.mtime).then_some(Aspect::Time));
        Ok(what)
    }

    /// What a program reads from it.
    fn substance(&self, before: &LowerNode, now: &Node) -> Result<Vec<Aspect>, DiffError> {
        let differs = match now.kind {
            FileType::Regular if !self.has_same_content(before, now)? => Some(Aspect::Content),
            FileType::Symlink if before.target != Some(self.target(now)?) => Some(Aspect::Target),
            FileType::CharDevice | FileType::BlockDevice if before.device != now.device => Some(Aspect::Device),
            _ => None,
        };
        Ok(differs.into_iter().collect())
    }

    fn target(&self, link: &Node) -> Result<Vec<u8>, DiffError> {
        self.tree.target(link).map_err(|error| DiffError::ext(self.path, error))
    }

    fn has_same_content(&self, before: &LowerNode, now: &Node) -> Result<bool, DiffError> {
        if before.size != now.size || now.size == 0 {
            return Ok(before.size == now.size);
        }
        let ext = |error| DiffError::ext(self.path, error);
        if self.tree.xattrs(now).map_err(ext)?.iter().any(is_metacopy) {
            return Ok(true);
        }
        let mut content = self.tree.open_file(now).map_err(ext)?;
        let same = self.lower.has_content(before, &mut content)?;
        same.map_err(|error| DiffError::Image(ImageError::io(self.path, error)))
    }
}
