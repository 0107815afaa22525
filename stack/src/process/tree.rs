//! The images of a stack as one tree, which the server answers from.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::message::{Format, Image, Point};
use super::server::{Opened, Say, Serve};
use crate::ids::Show;
use crate::layer::ext::{ExtLayer, Start};
use crate::layer::squashfs::SquashfsLayer;
use crate::layer::{Layer, Time};
use crate::merge::{self, Stacked};
use crate::namespace::mounts::{UPPER, WORK};
use crate::namespace::user::Users;
use crate::scratch::{Backing, Scratch};
use crate::serve::{self, Lower, Options, Requests, Top, Trouble};
use condatainer_formats::ext::{Ids, Window};

/// Of an ext image's metadata, in bytes.
const CACHED: usize = 8 << 20;
/// Who waits for one file must not keep others waiting.
const THREADS: usize = 8;

/// Opens the images, lowest first; what is wrong with one is told to `say` when somebody comes upon it.
///
/// # Errors
/// The first one that cannot be read, by its name; or nothing can be written in the directory for that.
pub fn open(opened: Opened, say: Say) -> io::Result<Box<dyn Serve>> {
    let Opened { images, stack, scratch } = opened;
    let layers = images.into_iter().map(|(image, file)| layer(image, file)).collect::<io::Result<Vec<_>>>()?;
    let (show, ids) = shown(&stack.users);
    let acls = show.shows_acls();
    let made = now();
    let points: Vec<merge::Point<'_>> = stack.points.iter().map(|point| wanted(point, ids)).collect();
    // The engine says of a mount point that is not there what it misses.
    let (merged, _unmade) = merge::with_points(layers, &points, ids, made)?;
    let lower = Lower::new(merged, show, Arc::new(Trouble::with(say)));
    let root = lower.root();
    let written = scratch.map(|directory| writable(&directory, ids)).transpose()?;
    Ok(Box::new(Tree { requests: Requests::new((Arc::new(lower), root), written, ids, made), acls }))
}

fn wanted(point: &Point, ids: Ids) -> merge::Point<'_> {
    merge::Point { path: point.path.as_os_str().as_bytes(), file: point.is_file, mode: 0o755, ids }
}

/// A tree that is gone with the mount, below its two names.
fn writable(directory: &File, ids: Ids) -> io::Result<(Arc<dyn serve::tree::Tree>, Vec<Top>)> {
    let backing = Backing::beneath(directory.as_fd())?;
    let tree = Scratch::new(backing, None, ids, 0o755);
    let tops = vec![Top { name: UPPER, node: tree.upper() }, Top { name: WORK, node: tree.work() }];
    Ok((Arc::new(tree), tops))
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { seconds: i64::try_from(since.as_secs()).unwrap_or(0), nanoseconds: since.subsec_nanos() }
}

struct Tree {
    requests: Requests,
    acls: bool,
}

impl Serve for Tree {
    fn serve(self: Box<Self>, mount: OwnedFd, ready: &mut dyn FnMut()) -> io::Result<()> {
        serve::run(self.requests, mount, Options { threads: THREADS, acls: self.acls }, ready)
    }
}

fn layer(image: Image, file: File) -> io::Result<Stacked> {
    let named = |why: String| io::Error::other(format!("{}: {why}", image.path.display()));
    let window = Window { offset: image.offset, size: image.size };
    let layer: Arc<dyn Layer> = match image.format {
        Format::Squashfs => {
            Arc::new(SquashfsLayer::open(file, window, Default::default()).map_err(|error| named(error.to_string()))?)
        }
        Format::Ext | Format::ExtRoot => {
            let start = if image.format == Format::Ext { Start::Upper } else { Start::Root };
            Arc::new(ExtLayer::open(file, window, start, CACHED).map_err(|error| named(error.to_string()))?)
        }
    };
    Ok(Stacked { bytes: image.size, path: image.path, layer })
}

/// Whose files are shown as whose, and whose our own are.
fn shown(users: &Users) -> (Show, Ids) {
    match users {
        Users::Everybody => (Show::everything(), Ids::ROOT),
        Users::Caller { uid, gid } => {
            let own = Ids { uid: *uid, gid: *gid };
            (Show::Plain(own), own)
        }
        // Inside, the caller is 0 and the subordinate ids follow.
        Users::Range { uids, gids, .. } => (Show::Mapped { uids: vec![0..=uids.1], gids: vec![0..=gids.1] }, Ids::ROOT),
    }
}
