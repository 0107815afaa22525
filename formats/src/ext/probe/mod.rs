//! The probe: what an ext image says about itself, in a handful of small reads.
//!
//! It takes no lock, because even a momentary one can make a starting Apptainer fail, and it costs the same on an image of
//! any size: superblock, one group descriptor and one inode for the root, the root directory, and the same for `upper` and
//! `work`.

pub mod room;

use super::directory::{check_plain, lookup};
use super::error::ExtError;
use super::fs::{Effort, Fs};
use super::inode::Inode;
use super::superblock::features::{Features, incompat, ro_compat};
use super::superblock::{ERRORS, ROOT_INO, Stamp, Superblock, VALID};
use crate::file::{FileType, Ids};
use crate::source::{ReadAt, Window};
use room::Room;

/// A probe reads less than 16 KiB unless the root directory holds hundreds of names; it ends here.
const BUDGET: u64 = 1 << 20;

/// Owner, group and permissions of a directory in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Permission bits (the low twelve).
    pub mode: u16,
}

impl Owner {
    /// The two ids.
    #[must_use]
    pub fn ids(&self) -> Ids {
        Ids { uid: self.uid, gid: self.gid }
    }
}

/// What stands under a name (`upper`, `work`) in the image's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A directory, as it must be.
    Directory(Owner),
    /// Nothing.
    Missing,
    /// Something that is not a directory.
    Other(FileType),
    /// Not to be told: damaged, or kept in a way that is not supported. Says why.
    Unreadable(String),
}

impl Found {
    /// The owner, when it is a directory.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        match self {
            Self::Directory(owner) => Some(*owner),
            _ => None,
        }
    }

    /// The owner, or what is wrong with the entry called `name`.
    ///
    /// # Errors
    /// `Corrupt` or `Unsupported` with a reason that names the entry.
    pub fn require(&self, name: &str) -> Result<Owner, ExtError> {
        match self {
            Self::Directory(owner) => Ok(*owner),
            Self::Missing => Err(ExtError::without_directory(name)),
            Self::Other(kind) => Err(ExtError::other_than_directory(name, *kind)),
            Self::Unreadable(why) => Err(ExtError::corrupt(format!("{name}/ cannot be looked up: {why}"))),
        }
    }
}

/// What the superblock says about the health of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct State {
    /// It was unmounted properly. False while fuse2fs has it, and after fuse2fs was killed.
    pub valid: bool,
    /// The journal must be replayed. True while the kernel has it mounted, and after a crash.
    pub needs_recovery: bool,
    /// The kernel or e2fsck saw an error.
    pub errors: bool,
    /// Deleted files wait to be freed.
    pub orphans: bool,
}

impl State {
    /// Nothing is left for e2fsck to do.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.valid && !self.needs_recovery && !self.errors && !self.orphans
    }
}

/// The health that a superblock claims.
#[must_use]
pub fn state_of(sb: &Superblock) -> State {
    let present = sb.features.has_ro_compat(ro_compat::ORPHAN_PRESENT);
    State {
        valid: sb.state & VALID != 0,
        needs_recovery: sb.features.has_incompat(incompat::RECOVER),
        errors: sb.state & ERRORS != 0 || sb.error_count != 0,
        orphans: sb.last_orphan != 0 || present,
    }
}

/// What an ext image says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// 2, 3 or 4.
    pub version: u8,
    /// In bytes.
    pub block_size: u32,
    /// In blocks.
    pub blocks_total: u64,
    /// In blocks. Behind by what a live writer has not yet written back.
    pub blocks_free: u64,
    /// Number of inodes.
    pub inodes_total: u32,
    /// Number of unused inodes.
    pub inodes_free: u32,
    /// What can still be written by way of fuse2fs.
    pub room: Room,
    /// In bytes.
    pub inode_size: u16,
    /// As `blkid` prints it.
    pub uuid: String,
    /// The volume's label; often empty.
    pub label: String,
    /// The feature words; [`Features::names`] has their names.
    pub features: Features,
    /// The directory with the overlay's content.
    pub upper: Found,
    /// OverlayFS's work directory.
    pub work: Found,
    /// Health.
    pub state: State,
    /// Whether Apptainer takes the image, or why not.
    pub apptainer: Result<(), String>,
    /// By which a change is recognised.
    pub stamp: Stamp,
}

/// Reads what the file system in `window` of `reader` says about itself.
///
/// # Errors
/// When there is no readable ext superblock. Trouble further in is told by [`Probe::upper`] and [`Probe::work`].
pub fn probe(reader: &dyn ReadAt, window: Window) -> Result<Probe, ExtError> {
    probe_measured(reader, window).map(|(probe, _)| probe)
}

/// As [`probe`], and how much was read.
///
/// # Errors
/// As [`probe`].
pub fn probe_measured(reader: &dyn ReadAt, window: Window) -> Result<(Probe, Effort), ExtError> {
    let fs = Fs::open(reader, window, BUDGET)?;
    let (upper, work) = look_up(&fs)?;
    Ok((describe(&fs.sb, upper, work), fs.effort()))
}

/// The feature words alone: one read.
///
/// # Errors
/// There is no readable ext superblock.
pub fn features(reader: &dyn ReadAt, window: Window) -> Result<Features, ExtError> {
    Fs::open(reader, window, BUDGET).map(|fs| fs.sb.features)
}

/// The stamp of the file system as it is now: one read.
///
/// # Errors
/// There is no readable ext superblock.
pub fn stamp(reader: &dyn ReadAt, window: Window) -> Result<Stamp, ExtError> {
    Fs::open(reader, window, BUDGET).map(|fs| fs.sb.stamp)
}

/// The directories `upper/NAMES[0]`, `upper/NAMES[0]/NAMES[1]` and so on, as far as they are there.
///
/// # Errors
/// What stands there is damaged, or would take too long to find.
pub fn owners_below_upper(reader: &dyn ReadAt, window: Window, names: &[&str]) -> Result<Vec<Owner>, ExtError> {
    let fs = Fs::open(reader, window, BUDGET)?;
    let mut owners = Vec::new();
    let [mut at, _] = find_upper_and_work(&fs)?;
    for name in names {
        let Some(ino) = at else { break };
        let directory = fs.inode(ino)?;
        check_plain(&directory, "a directory on the way to the programs")?;
        [at] = lookup(&fs, &directory, [name.as_bytes()])?;
        let Found::Directory(owner) = judge(&fs, at)? else { break };
        owners.push(owner);
    }
    Ok(owners)
}

/// What can still be written: one read.
///
/// # Errors
/// There is no readable ext superblock.
pub fn room(reader: &dyn ReadAt, window: Window) -> Result<Room, ExtError> {
    Fs::open(reader, window, BUDGET).map(|fs| Room::of(&fs.sb))
}

fn describe(sb: &Superblock, upper: Found, work: Found) -> Probe {
    Probe {
        version: sb.features.version(),
        block_size: sb.block_size,
        blocks_total: sb.blocks_count,
        blocks_free: sb.free_blocks_count,
        inodes_total: sb.inodes_count,
        inodes_free: sb.free_inodes_count,
        room: Room::of(sb),
        inode_size: sb.inode_size,
        uuid: format_uuid(sb.uuid),
        label: sb.volume_name.clone(),
        features: sb.features,
        upper,
        work,
        state: state_of(sb),
        apptainer: sb.features.apptainer(),
        stamp: sb.stamp,
    }
}

/// What stands under `upper` and `work`; only a failing read is an error here.
fn look_up(fs: &Fs<'_>) -> Result<(Found, Found), ExtError> {
    match find_upper_and_work(fs) {
        Ok([upper, work]) => Ok((judge(fs, upper)?, judge(fs, work)?)),
        Err(ExtError::Io(e)) => Err(e.into()),
        Err(e) => Ok((Found::Unreadable(e.to_string()), Found::Unreadable(e.to_string()))),
    }
}

/// The inode numbers of `upper` and `work`.
///
/// # Errors
/// The root directory is damaged, or would take too long to look through.
pub fn find_upper_and_work(fs: &Fs<'_>) -> Result<[Option<u32>; 2], ExtError> {
    let root = fs.inode(ROOT_INO)?;
    check_plain(&root, "the root directory")?;
    lookup(fs, &root, [b"upper", b"work"])
}

fn judge(fs: &Fs<'_>, ino: Option<u32>) -> Result<Found, ExtError> {
    let Some(ino) = ino else { return Ok(Found::Missing) };
    match fs.inode(ino) {
        Ok(inode) => Ok(classify(&inode)),
        Err(ExtError::Io(e)) => Err(e.into()),
        Err(e) => Ok(Found::Unreadable(e.to_string())),
    }
}

fn classify(inode: &Inode) -> Found {
    match inode.file_type() {
        _ if inode.i_links_count == 0 => Found::Unreadable("its inode is not in use".into()),
        FileType::Directory => {
            let Ids { uid, gid } = inode.ids();
            Found::Directory(Owner { uid, gid, mode: inode.permissions() })
        }
        other => Found::Other(other),
    }
}

fn format_uuid(uuid: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_as_blkid_prints_them() {
        let uuid = std::array::from_fn(|i| i as u8 * 17);
        assert_eq!(format_uuid(uuid), "00112233-4455-6677-8899-aabbccddeeff");
    }

    #[test]
    fn a_short_file_is_not_ext() {
        assert!(matches!(probe(&vec![0; 100], Window::whole(100)), Err(ExtError::NotExt)));
    }
}
