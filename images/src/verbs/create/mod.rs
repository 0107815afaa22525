//! Making a workspace image: an ext3 that Apptainer accepts, with an empty `upper` and `work` inside.
//!
//! mke2fs makes the file system under a temporary name beside the target; owner, space and contents are settled and synced
//! before the file gets its real name, which it never takes from another file.
//!
//! The way: `spec` is what is asked for, `space` tells whether there is room for it, and `format` runs mke2fs. This file does the rest:
//! the owner, a look at what came out, and the name.

mod error;
mod format;
mod space;
mod spec;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

pub use error::{CreateError, Limit};
pub use space::free as free_space;
pub(crate) use spec::MAX_SIZE;
pub use spec::{Contents, MIN_SIZE, Profile, Spec};

use spec::BLOCK;

use crate::image::{self, Image, ImageError};
use crate::temporary::{self, Draft, Kind, Target, Unfit};
use crate::trust::open_dir::directory_of;
use crate::verbs::chown::{self, ChownError};
use condatainer_formats::ext::{self, Owner, Probe, Window};

/// Space is reserved in steps of this many bytes, so that progress can be told.
const STEP: u64 = 1 << 30;

/// The image that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The file.
    pub image: Image,
    /// What it says about itself.
    pub probe: Probe,
    /// What can still be written beside it, in bytes, as far as that is known.
    pub free_bytes: Option<u64>,
    /// What killed makers had left in these directories, and is removed now.
    pub swept: Vec<PathBuf>,
}

impl Made {
    /// Whether the image can become larger than the space that is there for it now.
    #[must_use]
    pub fn is_larger_than_free(&self) -> bool {
        let missing = self.image.size_bytes.saturating_sub(self.image.allocated_bytes);
        self.free_bytes.is_some_and(|free| free < missing)
    }
}

/// Whether the image can be made, as far as that can be told without doing anything.
///
/// # Errors
/// As [`create`].
pub fn check_before(spec: &Spec) -> Result<(), CreateError> {
    check(spec)?;
    let target = target_of(&spec.path)?;
    workshop_of(spec, target.directory())?;
    space::check(spec, target.directory())
}

/// Makes the image. Where it takes long `progress` is told bytes done and bytes to do, from the start for each kind of work.
///
/// # Errors
/// See [`CreateError`]; then nothing is left at the path.
pub fn create(spec: &Spec, progress: &mut dyn FnMut(u64, u64)) -> Result<Made, CreateError> {
    check(spec)?;
    let target = target_of(&spec.path)?;
    let directory = target.directory();
    let workshop = workshop_of(spec, directory)?;
    space::check(spec, directory)?;
    let swept = sweep(directory, workshop);
    let draft = draft(spec, workshop)?;
    format::format(spec, draft.file())?;
    give_to_owner(spec, draft.file())?;
    let probe = verify(spec, &draft)?;
    let draft = bring_home(spec, draft, directory, progress)?;
    let image = finish(spec, draft, &target, progress)?;
    Ok(Made { image, probe, free_bytes: space::free(directory), swept })
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
        _ => Ok(()),
    }
}

fn target_of(path: &Path) -> Result<Target, CreateError> {
    Target::look(path, false).map_err(|unfit| match unfit {
        Unfit::NoName | Unfit::IsDirectory | Unfit::Exists => CreateError::Exists { path: path.into() },
        Unfit::NoDirectory => CreateError::NoDirectory { path: path.into(), directory: directory_of(path).into() },
    })
}

fn workshop_of<'a>(spec: &'a Spec, directory: &'a Path) -> Result<&'a Path, CreateError> {
    match &spec.tmpdir {
        Some(tmpdir) if !tmpdir.is_dir() => {
            Err(CreateError::NoDirectory { path: spec.path.clone(), directory: tmpdir.clone() })
        }
        Some(tmpdir) => Ok(tmpdir),
        None => Ok(directory),
    }
}

fn sweep(directory: &Path, workshop: &Path) -> Vec<PathBuf> {
    let mut swept = temporary::sweep(directory);
    if workshop != directory {
        swept.extend(temporary::sweep(workshop));
    }
    swept
}

/// An empty file of the right size.
fn draft(spec: &Spec, directory: &Path) -> Result<Draft, CreateError> {
    let size = spec.size_bytes / BLOCK * BLOCK;
    let io = |error| CreateError::io_in(&spec.path, directory, error);
    let draft = Draft::new(directory, spec.path.file_name().unwrap_or_default(), Kind::New).map_err(io)?;
    draft.file().set_len(size).map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EFBIG) => CreateError::FileTooLarge { path: spec.path.clone(), directory: directory.into(), size },
        _ => io(error),
    })?;
    Ok(draft)
}

/// mke2fs takes the owners of a directory as they are, and only root could have made it of others.
fn give_to_owner(spec: &Spec, file: &File) -> Result<(), CreateError> {
    let Some(contents) = spec.contents.as_ref().filter(|contents| contents.owner != spec.owner) else { return Ok(()) };
    let request = chown::Request::new(spec.owner, contents.owner);
    let given = chown::chown_file(&spec.path, file, whole(spec), &request, &mut |_, _| {});
    given.map(drop).map_err(|error| match error {
        ChownError::Image(error) => CreateError::Image(error),
        ChownError::Interrupted { error, .. } => CreateError::io(&spec.path, error),
        other => CreateError::io(&spec.path, io::Error::other(other)),
    })
}

fn whole(spec: &Spec) -> Window {
    Window::whole(spec.size_bytes / BLOCK * BLOCK)
}

/// Reads back what was made: a configuration of mke2fs could have had its own ideas, and debugfs does not tell its failures.
fn verify(spec: &Spec, draft: &Draft) -> Result<Probe, CreateError> {
    let probe = ext::probe(draft.file(), whole(spec))
        .map_err(|error| CreateError::Image(ImageError::ext(&spec.path, error)))?;
    match unfit(spec, &probe) {
        Some(reason) => Err(CreateError::Unfit { path: spec.path.clone(), reason }),
        None => Ok(probe),
    }
}

fn unfit(spec: &Spec, probe: &Probe) -> Option<String> {
    let owner = Some(Owner { uid: spec.owner.uid, gid: spec.owner.gid, mode: 0o755 });
    match &probe.apptainer {
        Err(reason) => Some(reason.clone()),
        Ok(()) if !probe.state.is_clean() => Some("it is not clean".into()),
        Ok(()) if [probe.upper.owner(), probe.work.owner()] != [owner, owner] => {
            Some("upper or work is missing, or belongs to somebody else".into())
        }
        Ok(()) => None,
    }
}

/// From the workshop to a temporary name beside the target, by a copy where it is another file system.
fn bring_home(
    spec: &Spec,
    draft: Draft,
    directory: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Draft, CreateError> {
    if spec.tmpdir.is_none() {
        return Ok(draft);
    }
    let place = self::draft(spec, directory)?;
    draft.move_to(place, progress).map_err(|error| CreateError::io_in(&spec.path, directory, error))
}

fn finish(
    spec: &Spec,
    draft: Draft,
    target: &Target,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Image, CreateError> {
    let io = |error| CreateError::io_in(&spec.path, target.directory(), error);
    if spec.allocate {
        allocate(spec, draft.file(), target.directory(), progress)?;
    }
    let (file, _guard) = target.put(draft).map_err(io)?;
    image::identify_file(&spec.path, &file).map_err(CreateError::Image)
}

/// Only after mke2fs, which would give the space of everything it finds empty back.
fn allocate(spec: &Spec, file: &File, directory: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(), CreateError> {
    let size = spec.size_bytes / BLOCK * BLOCK;
    for at in (0..size).step_by(usize::try_from(STEP).unwrap_or(usize::MAX)) {
        let length = STEP.min(size - at);
        reserve(file, at, length).map_err(|errno| match errno {
            Errno::EOPNOTSUPP => CreateError::CannotAllocate { path: spec.path.clone() },
            other => CreateError::io_in(&spec.path, directory, other.into()),
        })?;
        progress(at + length, size);
    }
    Ok(())
}

fn reserve(file: &File, at: u64, length: u64) -> nix::Result<()> {
    let number = |value: u64| i64::try_from(value).map_err(|_| Errno::EFBIG);
    fallocate(file.as_fd(), FallocateFlags::empty(), number(at)?, number(length)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use condatainer_formats::ext::Ids;

    fn spec(path: &str, size: u64) -> Spec {
        Spec::new(path.into(), size, Ids::ROOT)
    }

    #[test]
    fn sizes_have_limits() {
        let message = create(&spec("a.img", 1000), &mut |_, _| {}).unwrap_err().to_string();
        assert_eq!(message, "a.img: 1000 B is too small for an image; the least is 64 MiB (-s 64M)");
        assert!(matches!(create(&spec("a.img", MAX_SIZE + 1), &mut |_, _| {}), Err(CreateError::TooLarge { .. })));
    }

    #[test]
    fn the_directory_must_be_there() {
        let error = create(&spec("/nowhere/at/all/a.img", MIN_SIZE), &mut |_, _| {}).unwrap_err();
        assert!(matches!(error, CreateError::NoDirectory { .. }), "{error}");
        assert!(matches!(create(&spec("/tmp/..", MIN_SIZE), &mut |_, _| {}), Err(CreateError::Exists { .. })));
    }

    #[test]
    fn labels_fit() {
        let long = Spec { label: Some("seventeen-letters".into()), ..spec("a.img", MIN_SIZE) };
        assert!(matches!(create(&long, &mut |_, _| {}), Err(CreateError::Label { .. })));
    }
}
