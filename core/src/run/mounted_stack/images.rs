//! The images of a stack: open and locked, as they were planned, and the parts of them that are served.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::plan::Plan;
use crate::plan::layers::in_use;
use crate::plan::mounting::OwnMounts;
use crate::plan::refusal::Refusal;
use crate::request::layer::Mode;
use crate::run::error::{RunError, system};
use crate::run::images::as_planned;
use condatainer_formats::ext::Window;
use condatainer_formats::sif::PartitionFs;
use condatainer_images::acquire::usage::usage;
use condatainer_images::acquire::{AcquireError, LockedImage, Purpose};
use condatainer_images::image::{self, ImageError, Kind, Opened};
use condatainer_images::lock::{self, Access, Guard, LockError};
use condatainer_images::overlay::upper_of;
use condatainer_stack::process::{Format, Image};

/// An image whose locks are held.
pub(super) struct Locked {
    pub(super) opened: Opened,
    /// Of a directory with a layer's content in it: what is served.
    upper: Option<File>,
    _guards: Vec<Guard>,
}

/// The base and the layers, lowest first.
pub(super) fn open(plan: &Plan, own: &OwnMounts) -> Result<Vec<Locked>, RunError> {
    let base = opened(&plan.base)?;
    if (base.opened.image.dev, base.opened.image.ino) != plan.base_identity {
        return Err(changed(&plan.base, "was removed or replaced"));
    }
    let mut images = vec![base];
    for path in plan.layers() {
        let layer = if own.workspace.as_ref() == Some(path) { to_be_written(path)? } else { opened(path)? };
        let mut watched = plan.watch.iter().filter(|watch| watch.path == *path);
        watched.try_for_each(|watch| as_planned::probe(&layer.opened, watch).map(drop))?;
        let upper = upper(&layer.opened)?;
        images.push(Locked { upper, ..layer });
    }
    Ok(images)
}

/// What the server is given, lowest first.
pub(super) fn parts<'a>(images: &'a [Locked], own: &OwnMounts) -> Result<Vec<(Image, BorrowedFd<'a>)>, RunError> {
    let mut parts = Vec::new();
    for (at, locked) in images.iter().enumerate() {
        let image = &locked.opened.image;
        let all = match (at, &own.workspace) {
            (0, _) => of_base(image),
            (_, Some(path)) if image.path == *path => of_workspace(image),
            _ => of_layer(image),
        };
        let file = locked.upper.as_ref().unwrap_or(&locked.opened.file);
        parts.extend(all?.into_iter().map(|image| (image, file.as_fd())));
    }
    Ok(parts)
}

fn changed(path: &Path, what: &'static str) -> RunError {
    RunError::Changed { path: path.into(), what }
}

/// A reader waits for nobody who reads.
fn opened(path: &Path) -> Result<Locked, RunError> {
    let opened = image::open(path).map_err(|error| match error {
        ImageError::NotFound { .. } => changed(path, "was removed or replaced"),
        // The engine says what is wrong with it, or can do more than we can.
        other => RunError::Mounts(other.to_string()),
    })?;
    let guards = written_parts(&opened).into_iter().map(|window| locked(path, &opened, window));
    let guards = guards.collect::<Result<_, _>>()?;
    Ok(Locked { opened, upper: None, _guards: guards })
}

/// The image that is written: nobody else has it.
fn to_be_written(path: &Path) -> Result<Locked, RunError> {
    let locked = LockedImage::open(path, Purpose::Change).map_err(|error| match error {
        AcquireError::Busy { .. } => match image::open(path) {
            Ok(opened) => taken(path, &opened, Mode::Rw),
            Err(_) => changed(path, "was removed or replaced"),
        },
        other => other.into(),
    })?;
    let (image, file, guard) = locked.into_parts();
    if guard.as_ref().is_none_or(|guard| guard.unsupported.is_some()) {
        return Err(unserved(path, "its file system has no locks"));
    }
    Ok(Locked { opened: Opened { image, file }, upper: None, _guards: guard.into_iter().collect() })
}

/// A layer that is a directory has its content in `upper`, as the engine writes it, or is that itself.
fn upper(layer: &Opened) -> Result<Option<File>, RunError> {
    if layer.image.kind != Kind::Directory {
        return Ok(None);
    }
    let path = layer.image.path.join("upper");
    upper_of(&layer.file).map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        // The engine follows it.
        Some(Errno::ELOOP) => unserved(&path, "is a symbolic link"),
        _ => system(format!("{}: cannot be opened", path.display()))(error),
    })
}

/// The parts that somebody could write to while we read them: an ext image, and every ext overlay that a SIF brings along.
fn written_parts(opened: &Opened) -> Vec<Window> {
    match &opened.image.kind {
        Kind::Sif(sif) => sif.overlays().filter(|part| part.fs == PartitionFs::Ext3).map(|part| part.window).collect(),
        _ => opened.image.ext_window().into_iter().collect(),
    }
}

/// Where locks do not exist, a writer on another node would not be seen, and what we have read once is believed for as long as we run.
fn locked(path: &Path, opened: &Opened, window: Window) -> Result<Guard, RunError> {
    let turn = lock::take_turn(&opened.file, Access::Read);
    match turn.and_then(|_turn| lock::take(&opened.file, window, Access::Read)) {
        Ok(Guard { unsupported: Some(_), .. }) => Err(unserved(path, "its file system has no locks")),
        Ok(guard) => Ok(guard),
        Err(LockError::Busy(_)) => Err(taken(path, opened, Mode::Ro)),
        Err(LockError::Io(error)) => Err(system(format!("{}: cannot be locked", path.display()))(error)),
    }
}

/// Somebody was faster, whom the plan has not seen.
fn taken(path: &Path, opened: &Opened, mode: Mode) -> RunError {
    let refusal = in_use(path, mode, &usage(opened));
    refusal.unwrap_or(Refusal::HasWriter { path: path.into(), mode, holder: None, seen: None }).into()
}

/// A base's own file system, and the overlays that a SIF brings along, as the engine stacks them.
fn of_base(image: &image::Image) -> Result<Vec<Image>, RunError> {
    match &image.kind {
        Kind::Squashfs => Ok(vec![part(image, Format::Squashfs, image.content)]),
        Kind::Sif(sif) => {
            let system = sif.primary().and_then(|partition| match partition.fs {
                PartitionFs::Squashfs => Some(part(image, Format::Squashfs, partition.window)),
                PartitionFs::Ext3 => Some(part(image, Format::ExtRoot, partition.window)),
                _ => None,
            });
            let system =
                system.ok_or_else(|| unserved(&image.path, "its system partition is no squashfs and no ext3"))?;
            let overlays = sif.overlays().map(|partition| match partition.fs {
                PartitionFs::Squashfs => Ok(part(image, Format::Squashfs, partition.window)),
                PartitionFs::Ext3 => Ok(part(image, Format::Ext, partition.window)),
                _ => Err(unserved(&image.path, "it has an overlay partition of an unknown kind")),
            });
            std::iter::once(Ok(system)).chain(overlays).collect()
        }
        Kind::Directory => Ok(vec![part(image, Format::Directory, image.content)]),
        Kind::Ext(_) => Err(unserved(&image.path, "it is no squashfs, no SIF and no directory")),
    }
}

fn of_layer(image: &image::Image) -> Result<Vec<Image>, RunError> {
    match (&image.kind, image.ext_window()) {
        (Kind::Squashfs, _) => Ok(vec![part(image, Format::Squashfs, image.content)]),
        (Kind::Directory, _) => Ok(vec![part(image, Format::Directory, image.content)]),
        (_, Some(window)) => Ok(vec![part(image, Format::Ext, window)]),
        _ => Err(unserved(&image.path, "it is no image")),
    }
}

fn of_workspace(image: &image::Image) -> Result<Vec<Image>, RunError> {
    let window = image.ext_window().ok_or_else(|| unserved(&image.path, "it is no ext image"))?;
    Ok(vec![part(image, Format::Workspace, window)])
}

fn part(of: &image::Image, format: Format, window: Window) -> Image {
    Image { path: of.path.clone(), format, offset: window.offset, size: window.size }
}

fn unserved(path: &Path, why: &str) -> RunError {
    RunError::Mounts(format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use condatainer_formats::sif::{Partition, Role, Sif};

    fn sif(fs: PartitionFs) -> image::Image {
        let partition = |id, role, fs, offset| Partition {
            id,
            group: 1,
            role,
            fs,
            window: Window { offset, size: 5 },
            name: String::new(),
        };
        let system = partition(1, Role::Primary, fs, 10);
        let partitions = vec![system, partition(2, Role::Overlay, PartitionFs::Ext3, 20)];
        image::Image {
            path: "/b.sif".into(),
            kind: Kind::Sif(Sif { partitions }),
            dev: 1,
            ino: 1,
            uid: 0,
            gid: 0,
            mode: 0o644,
            size_bytes: 25,
            allocated_bytes: 25,
            content: Window { offset: 0, size: 25 },
        }
    }

    #[test]
    fn a_sif_is_its_system_and_its_overlays() {
        for (fs, format) in [(PartitionFs::Squashfs, Format::Squashfs), (PartitionFs::Ext3, Format::ExtRoot)] {
            let parts = of_base(&sif(fs)).unwrap();
            let parts: Vec<_> = parts.iter().map(|part| (part.format, part.offset)).collect();
            assert_eq!(parts, [(format, 10), (Format::Ext, 20)]);
        }
        let RunError::Mounts(why) = of_base(&sif(PartitionFs::Encrypted)).unwrap_err() else { panic!() };
        assert_eq!(why, "/b.sif: its system partition is no squashfs and no ext3");
    }

    #[test]
    fn a_linked_upper_is_left_to_the_engine() {
        let dir = tempfile::tempdir().unwrap();
        let layer = image::open(dir.path()).unwrap();
        assert!(upper(&layer).unwrap().is_none());
        std::os::unix::fs::symlink("/etc", dir.path().join("upper")).unwrap();
        let RunError::Mounts(why) = upper(&layer).unwrap_err() else { panic!() };
        assert_eq!(why, format!("{}: is a symbolic link", dir.path().join("upper").display()));
    }

    #[test]
    fn an_image_that_cannot_be_opened_is_not_called_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let why = |path: &Path| opened(path).map(drop).unwrap_err();
        assert!(matches!(why(&dir.path().join("none")), RunError::Changed { .. }));
        let empty = dir.path().join("empty.img");
        File::create(&empty).unwrap();
        let RunError::Mounts(line) = why(&empty) else { panic!() };
        assert_eq!(line, format!("{}: is empty, not an image", empty.display()));
    }
}
