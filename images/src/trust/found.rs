//! Images that were found and not written down: by a name, or because they lie in the working directory.
//!
//! Where everybody can put files, whoever comes first would decide what others run. There, what is found must belong to root, to
//! the caller, or to the directory's owner, who can exchange everything in it anyway.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::mode::WRITABLE_BY_ALL;
use super::open_dir::directory_of;
use super::owners::{Owners, is_unmapped, name_of};
use crate::image::Image;

/// Why an image that was found is not used; its owner was asked of the open file. A link to it must be of the same people.
#[must_use]
pub fn stranger(image: &Image) -> Option<String> {
    let directory = directory_of(&image.path).metadata().ok()?;
    if directory.mode() & WRITABLE_BY_ALL == 0 {
        return None;
    }
    let owners = Owners::root_and_caller().and(directory.uid());
    let link = image.path.symlink_metadata().ok().map(|meta| meta.uid());
    let stranger = [Some(image.uid), link].into_iter().flatten().find(|uid| is_unmapped(*uid) || !owners.has(*uid))?;
    Some(refusal(&image.path, "belongs", stranger))
}

/// Why a file that was found below `place` is not used: a directory that leads to it is somebody's who could make it there because
/// everybody could.
#[must_use]
pub fn strangers_directory(place: &Path, file: &Path) -> Option<String> {
    let directories = file.ancestors().skip(1).take_while(|directory| *directory != place);
    let stranger = directories.filter_map(|directory| {
        let above = directory.parent()?.metadata().ok().filter(|above| above.mode() & WRITABLE_BY_ALL != 0)?;
        let owners = Owners::root_and_caller().and(above.uid());
        let is_strange = |uid: &u32| is_unmapped(*uid) || !owners.has(*uid);
        [directory.metadata(), directory.symlink_metadata()]
            .into_iter()
            .flatten()
            .map(|meta| meta.uid())
            .find(is_strange)
    });
    Some(refusal(file, "lies in a directory that belongs", stranger.last()?))
}

fn refusal(path: &Path, what: &str, owner: u32) -> String {
    let (path, owner) = (path.display(), name_of(owner));
    format!(
        "{path}: {what} to {owner}, and lies where everybody can put files, so it is used only where its path is written: \
         write {path} if you trust its owner"
    )
}
