//! The two directories of an overlay in an image's root, and whether everything around them is understood.

use condatainer_formats::ext::raw::{Fs, find_upper_and_work};
use condatainer_formats::ext::{ExtError, FileType};

/// The two directories that make an image an overlay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roots {
    pub(crate) upper: u32,
    pub(crate) work: Option<u32>,
}

impl Roots {
    /// Both, where both are there.
    pub(super) fn all(self) -> impl Iterator<Item = u32> {
        std::iter::once(self.upper).chain(self.work)
    }
}

/// Finds `upper` and `work`, after making sure that everything in the file system is understood.
pub(super) fn find_roots(fs: &Fs<'_>) -> Result<Roots, ExtError> {
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

fn require_directory(fs: &Fs<'_>, ino: u32, name: &str) -> Result<(), ExtError> {
    let inode = fs.inode(ino)?;
    let sound = ino >= fs.sb.first_ino && inode.i_links_count > 0;
    match inode.file_type() {
        FileType::Directory if sound => Ok(()),
        FileType::Directory => Err(ExtError::corrupt(format!("{name} has an inode that is not for files"))),
        other => Err(ExtError::other_than_directory(name, other)),
    }
}
