//! What must be the same before and after: everything an image says about itself, its size aside.

use std::fs::File;

use condatainer_formats::ext::raw::{Fs, Superblock};
use condatainer_formats::ext::{ExtError, Probe, Window, probe};

/// A file system as its superblock and its root directory describe it.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub sb: Superblock,
    probe: Probe,
}

impl Shape {
    pub(super) fn of(file: &File) -> Result<Self, ExtError> {
        let window = Window::whole(file.metadata()?.len());
        let sb = Fs::open(file, window, u64::MAX)?.sb;
        Ok(Self { sb, probe: probe(file, window)? })
    }

    /// The size of the file system, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.sb.blocks_count * u64::from(self.sb.block_size)
    }

    /// In bytes, how much an ordinary user can still write.
    pub(super) fn usable_bytes(&self) -> u64 {
        super::size::usable_after(&self.sb, self.sb.blocks_count).saturating_mul(self.sb.block_size.into())
    }

    /// What is in `after` not as it was here, if anything.
    pub(super) fn lost_in(&self, after: &Self) -> Option<&'static str> {
        let (old, new) = (&self.probe, &after.probe);
        let used = |probe: &Probe| probe.inodes_total - probe.inodes_free.min(probe.inodes_total);
        [
            (new.state.is_clean(), "it is not clean"),
            (old.upper == new.upper && old.work == new.work, "upper or work changed"),
            (old.uuid == new.uuid && old.label == new.label, "its uuid or label changed"),
            (old.inode_size == new.inode_size && old.block_size == new.block_size, "its geometry changed"),
            (used(old) == used(new), "the number of its files changed"),
            (gained_nothing(old, new), "it has new file system features"),
            (new.apptainer.is_ok() || old.apptainer.is_err(), "Apptainer would refuse it"),
        ]
        .into_iter()
        .find_map(|(kept, what)| (!kept).then_some(what))
    }
}

/// resize2fs takes meta_bg away when a shrunk file system no longer needs it, and never adds anything.
fn gained_nothing(old: &Probe, new: &Probe) -> bool {
    let (old, new) = (old.features, new.features);
    new.compat == old.compat && new.incompat & !old.incompat == 0 && new.ro_compat == old.ro_compat
}
