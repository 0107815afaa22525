//! The images of a stack as one tree, which the server answers from.

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::message::{Format, Image, Point};
use super::server::{MakeLast, Opened, Say, Serve};
use crate::ids::Show;
use crate::layer::directory::{DirectoryLayer, Sight};
use crate::layer::ext::{ExtLayer, Start};
use crate::layer::squashfs::SquashfsLayer;
use crate::layer::{Layer, Time};
use crate::merge::{self, Stacked};
use crate::namespace::mounts::{UPPER, WORK};
use crate::namespace::user::Users;
use crate::overlay::Overlay;
use crate::scratch::{Backing, Scratch};
use crate::serve::{self, Guarded, Lower, Options, Requests, Top, Trouble};
use crate::workspace::{Committer, Owners, Workspace};
use condatainer_formats::ext::{Ids, Window};
use condatainer_formats::squashfs::Budget;
use condatainer_writer::Volume;
use condatainer_writer::device::{Device, FileDevice};

/// What all squashfs images of a stack keep unpacked together, in bytes. With it server, keeper and engine weigh less than 64 MiB whatever is
/// read (tests/bench/memory.sh).
const SQUASHFS: Budget = Budget { metadata: 8 << 20, data: 16 << 20 };
/// Of the metadata of all its ext images, in bytes.
const EXT: usize = 8 << 20;
/// What one image has of each at least: four blocks of content of the usual size, and a directory's worth of metadata.
const LEAST: Budget = Budget { metadata: 128 << 10, data: 512 << 10 };
/// Who waits for one file must not keep others waiting.
const THREADS: usize = 8;

/// Opens the images, lowest first; what is wrong with one is told to `say` when somebody comes upon it.
///
/// # Errors
/// The first one that cannot be read, by its name; or nothing can be written in the directory for that.
pub fn open(opened: Opened, say: Say) -> io::Result<Box<dyn Serve>> {
    open_on(opened, say, |device| Arc::new(device))
}

/// As [`open`]; `device` says what an image that is written lies on, where that is not just its file.
///
/// # Errors
/// As of [`open`].
pub fn open_on(
    opened: Opened,
    say: Say,
    device: impl FnOnce(FileDevice) -> Arc<dyn Device>,
) -> io::Result<Box<dyn Serve>> {
    let Opened { mut images, stack, scratch } = opened;
    let written = images.iter().position(|(image, _)| image.format == Format::Workspace);
    let written = written.map(|at| images.remove(at));
    let kept = Kept::shared_by(images.iter().map(|(image, _)| image.format));
    let sight = sight(&stack.users);
    let layers = images.into_iter().map(|(image, file)| layer(image, file, kept, sight));
    let layers = layers.collect::<io::Result<Vec<_>>>()?;
    let (show, ids) = shown(&stack.users);
    let acls = show.shows_acls();
    let made = now();
    let points: Vec<merge::Point<'_>> = stack.points.iter().map(|point| wanted(point, ids)).collect();
    // The engine says of a mount point that is not there what it misses.
    let (merged, _unmade) = merge::with_points(layers, &points, ids, made)?;
    let trouble = Arc::new(Trouble::with(say));
    let lower = Lower::new(merged, show, Arc::clone(&trouble));
    let root = lower.root();
    let guarded = |tree| Arc::new(Guarded::new(tree, Arc::clone(&trouble))) as Arc<dyn serve::tree::Tree>;
    let workspace = written.map(|image| workspace(image, device, &stack.users, &trouble)).transpose()?;
    let (image, requests) = match workspace {
        Some((image, tree)) => {
            let tree = Overlay::new(tree, lower);
            let root = tree.root();
            (Some(image), Requests::one(&guarded(Arc::new(tree)), root, ids, made))
        }
        None => {
            let backing = match (scratch, stack.memory) {
                (Some(directory), _) => Some(Backing::beneath(directory.as_fd())?),
                (None, Some(_)) => Some(Backing::in_memory()?),
                (None, None) => None,
            };
            let scratch = backing.map(|backing| writable(backing, stack.memory, ids));
            let scratch = scratch.map(|(tree, tops)| (guarded(tree), tops));
            (None, Requests::new((guarded(Arc::new(lower)), root), scratch, ids, made))
        }
    };
    Ok(Box::new(Tree { requests, acls, image }))
}

/// A file that nothing is mounted on is no program: a shell would run it, and do nothing without an error.
fn wanted(point: &Point, ids: Ids) -> merge::Point<'_> {
    let mode = if point.mounted.is_file() { 0o644 } else { 0o755 };
    merge::Point { path: point.path.as_os_str().as_bytes(), mounted: point.mounted, mode, ids }
}

/// A tree that is gone with the mount, below its two names.
fn writable(backing: Backing, limit: Option<u64>, ids: Ids) -> Written {
    let tree = Scratch::new(backing, limit, ids, 0o755);
    let tops = vec![Top { name: UPPER, node: tree.upper() }, Top { name: WORK, node: tree.work() }];
    let tree = Arc::new(tree);
    // It ends with the process. Freeing a million files one by one before that would only take time.
    mem::forget(Arc::clone(&tree));
    (tree, tops)
}

/// A writable tree, and its directories in the root of the mount.
type Written = (Arc<dyn serve::tree::Tree>, Vec<Top>);

/// The tree in an image that is written.
fn workspace(
    (image, file): (Image, File),
    device: impl FnOnce(FileDevice) -> Arc<dyn Device>,
    users: &Users,
    trouble: &Arc<Trouble>,
) -> io::Result<(WrittenImage, Workspace)> {
    let name = image.path.display().to_string();
    let named = |error: condatainer_writer::Error| io::Error::other(format!("{name}: {error}"));
    let device = device(FileDevice::new(file, Window { offset: image.offset, size: image.size }));
    let volume = Arc::new(Volume::open(device).map_err(named)?);
    let tree = Workspace::new(Arc::clone(&volume), owners(users), Arc::clone(trouble), name.clone()).map_err(named)?;
    Ok((WrittenImage { volume, trouble: Arc::clone(trouble), name, ending: Arc::default() }, tree))
}

/// The image that is written, and who is told of it.
#[derive(Clone)]
struct WrittenImage {
    volume: Arc<Volume>,
    trouble: Arc<Trouble>,
    name: String,
    /// Held by who ends it. The mount's end and its starter's word may come at the same time, and the process must not end between.
    ending: Arc<Mutex<()>>,
}

impl WrittenImage {
    fn named(&self, error: &condatainer_writer::Error) -> io::Error {
        io::Error::other(format!("{}: {error}", self.name))
    }

    fn tell(&self, error: &condatainer_writer::Error) {
        self.trouble.told(self.named(error));
    }

    /// What was written is to be whole, whatever has ended the mount; FORGETs may never have come.
    fn end(&self) -> io::Result<()> {
        let _alone = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = self.volume.end();
        self.volume.untold().iter().for_each(|error| self.tell(error));
        ended.map_err(|error| self.named(&error))
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { seconds: i64::try_from(since.as_secs()).unwrap_or(0), nanoseconds: since.subsec_nanos() }
}

struct Tree {
    requests: Requests,
    acls: bool,
    image: Option<WrittenImage>,
}

impl Serve for Tree {
    fn last(&self) -> Option<MakeLast> {
        let image = self.image.clone()?;
        Some(Box::new(move || image.end()))
    }

    fn serve(self: Box<Self>, mount: OwnedFd, ready: &mut dyn FnMut()) -> io::Result<()> {
        let options = Options { threads: THREADS, acls: self.acls };
        let Some(image) = self.image else { return serve::run(self.requests, mount, options, ready) };
        let teller = image.clone();
        let committer = Committer::start(Arc::clone(&image.volume), move |error| teller.tell(error))?;
        let served = serve::run(self.requests, mount, options, ready);
        committer.end();
        image.end()?;
        served
    }
}

/// What each image of a format keeps in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    squashfs: Budget,
    ext: usize,
}

impl Kept {
    /// Images of one format have the same share, so that a stack of many costs what a stack of one does.
    fn shared_by(formats: impl Iterator<Item = Format> + Clone) -> Self {
        let formats = formats.filter(|format| *format != Format::Directory);
        let all = formats.clone().count();
        let squashfs = formats.filter(|format| *format == Format::Squashfs).count();
        let (squashfs, ext) = (squashfs.max(1), (all - squashfs).max(1));
        let squashfs = Budget {
            metadata: (SQUASHFS.metadata / squashfs).max(LEAST.metadata),
            data: (SQUASHFS.data / squashfs).max(LEAST.data),
        };
        Self { squashfs, ext: (EXT / ext).max(LEAST.metadata) }
    }
}

fn layer(image: Image, file: File, kept: Kept, sight: Sight) -> io::Result<Stacked> {
    let named = |why: String| io::Error::other(format!("{}: {why}", image.path.display()));
    let window = Window { offset: image.offset, size: image.size };
    let layer: Arc<dyn Layer> = match image.format {
        Format::Directory => Arc::new(DirectoryLayer::new(file, sight)),
        Format::Squashfs => {
            Arc::new(SquashfsLayer::open(file, window, kept.squashfs).map_err(|error| named(error.to_string()))?)
        }
        // Another one is written, and no stack has two of them.
        Format::Workspace => return Err(named("is written, and so is another image".into())),
        Format::Ext | Format::ExtRoot => {
            let start = if image.format == Format::Ext { Start::Upper } else { Start::Root };
            Arc::new(ExtLayer::open(file, window, start, kept.ext).map_err(|error| named(error.to_string()))?)
        }
    };
    Ok(Stacked { bytes: image.size, path: image.path, layer })
}

/// In which namespace the server is.
fn sight(users: &Users) -> Sight {
    match users {
        Users::Everybody => Sight::AsItIs,
        Users::Caller { .. } => Sight::AsCallers,
        Users::RootMapped { .. } | Users::Subuid { .. } => Sight::AsRoots,
    }
}

/// Whose the files of a workspace are shown as.
fn owners(users: &Users) -> Owners {
    let (show, inside) = shown(users);
    match users {
        Users::Everybody => Owners::new(show, Ids::ROOT, Ids::ROOT),
        Users::Caller { uid, gid } | Users::RootMapped { uid, gid } | Users::Subuid { uid, gid, .. } => {
            Owners::new(show, Ids { uid: *uid, gid: *gid }, inside)
        }
    }
}

/// Whose files are shown as whose, and whose our own are.
fn shown(users: &Users) -> (Show, Ids) {
    match users {
        Users::Everybody => (Show::everything(), Ids::ROOT),
        Users::Caller { uid, gid } => {
            let own = Ids { uid: *uid, gid: *gid };
            (Show::Plain(own), own)
        }
        Users::RootMapped { .. } => (Show::Plain(Ids::ROOT), Ids::ROOT),
        // Inside, the caller is 0 and the subordinate ids follow.
        Users::Subuid { uids, gids, .. } => {
            (Show::Mapped { uids: vec![0..=uids.1], gids: vec![0..=gids.1] }, Ids::ROOT)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::Mounted;
    use std::iter::repeat_n;

    #[test]
    fn a_file_to_mount_on_is_no_program() {
        let mode = |mounted| wanted(&Point { path: "/usr/bin/nvidia-smi".into(), mounted }, Ids::ROOT).mode;
        assert_eq!([Mounted::File, Mounted::FileForLink, Mounted::Directory].map(mode), [0o644, 0o644, 0o755]);
    }

    #[test]
    fn many_images_keep_no_more_than_one() {
        let of =
            |squashfs, ext| Kept::shared_by(repeat_n(Format::Squashfs, squashfs).chain(repeat_n(Format::Ext, ext)));
        assert_eq!(of(1, 1), Kept { squashfs: SQUASHFS, ext: EXT });
        assert_eq!(of(0, 0), of(1, 1));
        for count in [2, 7, 20, 32] {
            let kept = of(count, count);
            assert!(kept.squashfs.data * count <= SQUASHFS.data && kept.squashfs.data >= LEAST.data);
            assert!(kept.squashfs.metadata * count <= SQUASHFS.metadata && kept.ext * count <= EXT);
        }
        assert_eq!(of(1000, 1000), Kept { squashfs: LEAST, ext: LEAST.metadata });
    }
}
