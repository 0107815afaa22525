//! The images of a stack as one tree, which the server answers from.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::message::{Format, Image, Stack};
use super::server::{Say, Serve};
use crate::ids::Show;
use crate::layer::ext::{ExtLayer, Start};
use crate::layer::squashfs::SquashfsLayer;
use crate::layer::{Layer, Time};
use crate::merge::{self, Stacked};
use crate::namespace::user::Users;
use crate::serve::{self, Lower, Options, Requests, Trouble};
use condatainer_formats::ext::{Ids, Window};

/// Of an ext image's metadata, in bytes.
const CACHED: usize = 8 << 20;
/// Who waits for one file must not keep others waiting.
const THREADS: usize = 8;

/// Opens the images, lowest first; what is wrong with one is told to `say` when somebody comes upon it.
///
/// # Errors
/// The first one that cannot be read, by its name.
pub fn open(images: Vec<(Image, File)>, stack: &Stack, say: Say) -> io::Result<Box<dyn Serve>> {
    let layers = images.into_iter().map(|(image, file)| layer(image, file)).collect::<io::Result<Vec<_>>>()?;
    let (show, ids) = shown(&stack.users);
    let acls = show.shows_acls();
    let made = Time::default();
    let (merged, _unmade) = merge::with_points(layers, &[], ids, made)?;
    let lower = Lower::new(merged, show, Arc::new(Trouble::with(say)));
    let root = lower.root();
    let requests = Requests::new((Arc::new(lower), root), None, ids, made);
    Ok(Box::new(Tree { requests, acls }))
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
        Format::Ext => {
            Arc::new(ExtLayer::open(file, window, Start::Upper, CACHED).map_err(|error| named(error.to_string()))?)
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
