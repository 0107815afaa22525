//! Making a workspace image: an ext3 that Apptainer accepts, with an empty `upper` and `work` inside.
//!
//! mke2fs makes the file system under a temporary name beside the target; owner, space and contents are settled and synced
//! before the file gets its real name, which it never takes from another file.

mod error;

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;
use tempfile::{NamedTempFile, TempDir};

pub use error::CreateError;

use crate::chown::{Request, chown};
use crate::e2fsprogs;
use crate::ext::Ids;
use crate::image::{self, Image};

/// The smallest image, in bytes: Apptainer's own limit, which leaves room for a journal.
pub const MIN_SIZE: u64 = 64 << 20;
/// The largest image, in bytes: what 32-bit block numbers reach, for Apptainer takes no others.
pub const MAX_SIZE: u64 = (u32::MAX as u64) * BLOCK;

const BLOCK: u64 = 4096;
const MIB: u64 = 1 << 20;
/// Everything Apptainer's check allows, and nothing that it refuses.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file";

/// What kind of files the image is meant for; it decides how many can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Many small files, one per 4 KiB: nothing can run out of inodes before it runs out of blocks.
    Small,
    /// Software environments, one file per 16 KiB.
    #[default]
    Balanced,
    /// Few large files, one per 64 KiB.
    Large,
}

impl Profile {
    /// Bytes of image per inode.
    #[must_use]
    pub fn bytes_per_inode(self) -> u64 {
        match self {
            Self::Small => 4096,
            Self::Balanced => 16384,
            Self::Large => 65536,
        }
    }
}

/// The image to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Where; nothing may be there yet.
    pub path: PathBuf,
    /// Size in bytes; what does not fill a block of 4 KiB is dropped.
    pub size_bytes: u64,
    /// How many files it is for.
    pub profile: Profile,
    /// Owner of `upper` and `work`: the caller, or root for use with fakeroot.
    pub owner: Ids,
    /// Volume label, up to 16 bytes.
    pub label: Option<String>,
    /// Reserves all the space now instead of when it is written.
    pub allocate: bool,
    /// Where a few empty directories may be made for a moment; the system's default otherwise.
    pub tmpdir: Option<PathBuf>,
}

impl Spec {
    /// A sparse image of the default profile.
    #[must_use]
    pub fn new(path: PathBuf, size_bytes: u64, owner: Ids) -> Self {
        Self { path, size_bytes, profile: Profile::default(), owner, label: None, allocate: false, tmpdir: None }
    }
}

/// Makes the image.
///
/// # Errors
/// See [`CreateError`]; then nothing is left at the path.
pub fn create(spec: &Spec) -> Result<Image, CreateError> {
    check(spec)?;
    let directory = directory_of(&spec.path)?;
    if spec.allocate {
        check_space(spec, &directory)?;
    }
    let draft = draft(spec, &directory)?;
    make_file_system(spec, &draft)?;
    give_to_owner(spec, &draft)?;
    finish(spec, draft, &directory)?;
    image::identify(&spec.path).map_err(CreateError::Image)
}

fn check(spec: &Spec) -> Result<(), CreateError> {
    let path = || spec.path.clone();
    if spec.size_bytes < MIN_SIZE {
        return Err(CreateError::TooSmall { path: path(), size: spec.size_bytes });
    }
    if spec.size_bytes > MAX_SIZE {
        return Err(CreateError::TooLarge { path: path(), size: spec.size_bytes });
    }
    match &spec.label {
        Some(label) if label.len() > 16 || label.contains(char::is_control) => {
            Err(CreateError::Label { path: path(), label: label.escape_debug().to_string() })
        }
        _ if fs::symlink_metadata(&spec.path).is_ok() => Err(CreateError::Exists { path: path() }),
        _ => Ok(()),
    }
}

fn directory_of(path: &Path) -> Result<PathBuf, CreateError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (path.file_name(), parent.is_dir()) {
        (Some(_), true) => Ok(parent.to_owned()),
        (None, _) => Err(CreateError::Exists { path: path.into() }),
        (_, false) => Err(CreateError::NoDirectory { path: path.into(), directory: parent.into() }),
    }
}

fn check_space(spec: &Spec, directory: &Path) -> Result<(), CreateError> {
    let stat = statvfs(directory).map_err(|errno| CreateError::io(&spec.path, errno.into()))?;
    let available = stat.blocks_available().saturating_mul(stat.fragment_size());
    if available < spec.size_bytes {
        return Err(CreateError::NoSpace { path: spec.path.clone(), needed: spec.size_bytes, available });
    }
    Ok(())
}

/// An empty file of the right size beside the target. Its mode is the caller's umask's choice, as for any new file.
fn draft(spec: &Spec, directory: &Path) -> Result<NamedTempFile, CreateError> {
    let io = |error| CreateError::io(&spec.path, error);
    let name = spec.path.file_name().unwrap_or_default().to_string_lossy();
    let mut builder = tempfile::Builder::new();
    let prefix = format!(".{}.", name.chars().take(64).collect::<String>());
    builder.prefix(&prefix).suffix(".new").permissions(Permissions::from_mode(0o666));
    let draft = builder.tempfile_in(directory).map_err(io)?;
    draft.as_file().set_len(spec.size_bytes / BLOCK * BLOCK).map_err(io)?;
    Ok(draft)
}

fn make_file_system(spec: &Spec, draft: &NamedTempFile) -> Result<(), CreateError> {
    let layout = layout(spec).map_err(|error| CreateError::Scratch { path: spec.path.clone(), error })?;
    let tool = |error| CreateError::Tool { path: spec.path.clone(), error };
    let mut command = e2fsprogs::command("mke2fs").map_err(tool)?;
    describe(&mut command, spec).arg("-d").arg(layout.path()).arg(plain_name(draft));
    // mke2fs reads a `?` in a name as the start of options; a path through /proc has none.
    e2fsprogs::run("mke2fs", &mut command, 0).map_err(tool)
}

fn plain_name(draft: &NamedTempFile) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/{}/fd/{}", std::process::id(), draft.as_file().as_raw_fd())
}

fn describe<'a>(command: &'a mut Command, spec: &Spec) -> &'a mut Command {
    // A journal only has to cover what the kernel writes at once; the default takes 1 % and more of an image.
    let journal = if spec.size_bytes >= 256 * MIB { "size=16" } else { "size=4" };
    let ratio = spec.profile.bytes_per_inode().to_string();
    command.args(["-q", "-F", "-t", "ext3", "-b", "4096", "-I", "256", "-m", "0", "-i", &ratio, "-J", journal]);
    command.args(["-O", FEATURES, "-E", "root_owner=0:0"]);
    if let Some(label) = &spec.label {
        command.args(["-L", label]);
    }
    command
}

/// The directories that mke2fs copies into the image, made with their final modes whatever the umask.
fn layout(spec: &Spec) -> std::io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("condatainer-").permissions(Permissions::from_mode(0o755));
    let layout = match &spec.tmpdir {
        Some(tmpdir) => builder.tempdir_in(tmpdir)?,
        None => builder.tempdir()?,
    };
    for name in ["upper", "work"] {
        let path = layout.path().join(name);
        DirBuilder::new().mode(0o755).create(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    }
    fs::set_permissions(layout.path(), Permissions::from_mode(0o755))?;
    Ok(layout)
}

/// mke2fs copies the caller's ids, and old ones only their lower halves; root's cannot be had that way at all.
fn give_to_owner(spec: &Spec, draft: &NamedTempFile) -> Result<(), CreateError> {
    let request = Request { all: true, ..Request::new(spec.owner, spec.owner) };
    chown(draft.path(), &request, &mut |_, _| {})
        .map_err(|error| CreateError::Owner { path: spec.path.clone(), error })?;
    Ok(())
}

fn finish(spec: &Spec, draft: NamedTempFile, directory: &Path) -> Result<(), CreateError> {
    let io = |error| CreateError::io(&spec.path, error);
    if spec.allocate {
        allocate(spec, draft.as_file())?;
    }
    draft.as_file().sync_all().map_err(io)?;
    draft.persist_noclobber(&spec.path).map_err(|error| CreateError::io(&spec.path, error.error))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)
}

/// Only after mke2fs, which would give the space of everything it finds empty back.
fn allocate(spec: &Spec, file: &File) -> Result<(), CreateError> {
    let length = i64::try_from(spec.size_bytes / BLOCK * BLOCK).unwrap_or(i64::MAX);
    fallocate(file.as_fd(), FallocateFlags::empty(), 0, length).map_err(|errno| match errno {
        nix::errno::Errno::EOPNOTSUPP => CreateError::CannotAllocate { path: spec.path.clone() },
        other => CreateError::io(&spec.path, other.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(path: &str, size: u64) -> Spec {
        Spec::new(path.into(), size, Ids::ROOT)
    }

    #[test]
    fn sizes_have_limits() {
        let message = create(&spec("a.img", 1000)).unwrap_err().to_string();
        assert_eq!(message, "a.img: 1000 bytes are too few for an image; the least is 64 MiB (-s 64M)");
        assert!(matches!(create(&spec("a.img", MAX_SIZE + 1)), Err(CreateError::TooLarge { .. })));
    }

    #[test]
    fn the_directory_must_be_there() {
        let error = create(&spec("/nowhere/at/all/a.img", MIN_SIZE)).unwrap_err();
        assert!(matches!(error, CreateError::NoDirectory { .. }), "{error}");
        assert!(matches!(create(&spec("/tmp/..", MIN_SIZE)), Err(CreateError::Exists { .. })));
    }

    #[test]
    fn labels_fit() {
        let long = Spec { label: Some("seventeen-letters".into()), ..spec("a.img", MIN_SIZE) };
        assert!(matches!(create(&long), Err(CreateError::Label { .. })));
    }
}
