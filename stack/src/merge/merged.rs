//! The merged tree: the layers, lowest first, and what can be asked about a node.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;

use super::cache::Cache;
use super::listing::Listing;
use super::node::{Node, Part};
use super::several::{Several, Way};
use super::stacked::Stacked;
use super::union;
use super::whole::Whole;
use crate::layer::{Attributes, Time};
use condatainer_formats::ext::Xattr;
use condatainer_formats::overlayfs::{Meaning, is_metacopy, is_private, is_whiteout, meaning};

/// Bytes of listings that are kept.
const LISTINGS: usize = 16 << 20;
/// A layer's number has to find place beside its keys.
const MOST_LAYERS: usize = 4096;

/// A merged tree. Any number of threads read it at the same time.
pub struct Merged {
    layers: Vec<Stacked>,
    /// Which layer holds mount points, that no mark hides.
    points: Option<u16>,
    root: Node,
    has_host: bool,
    listings: Cache,
    whole: Whole,
    /// Whose turn it is to make the listing of a large directory.
    large: Mutex<()>,
    /// Of each layer, once it was asked for.
    several: Vec<Mutex<Option<Several>>>,
}

impl Merged {
    /// Merges layers, lowest first.
    ///
    /// # Errors
    /// There are none, or too many.
    pub fn new(layers: Vec<Stacked>) -> io::Result<Self> {
        Self::of(layers, None)
    }

    /// The same, above a layer of mount points, which show also where an image has deleted something of that name.
    ///
    /// # Errors
    /// As [`Merged::new`].
    pub fn above_points(points: Stacked, mut layers: Vec<Stacked>) -> io::Result<Self> {
        layers.insert(0, points);
        Self::of(layers, Some(0))
    }

    fn of(layers: Vec<Stacked>, points: Option<u16>) -> io::Result<Self> {
        if layers.len() > MOST_LAYERS {
            return Err(io::Error::other(format!("a stack has at most {MOST_LAYERS} layers")));
        }
        let roots = layers.iter().enumerate().rev();
        let roots = roots.map(|(number, stacked)| Part { layer: number as u16, key: stacked.layer.root() });
        let root = Node::of(roots.collect()).ok_or_else(|| io::Error::other("a stack needs at least one layer"))?;
        let has_host = layers.iter().any(|stacked| stacked.layer.is_of_host());
        let several = layers.iter().map(|_| Mutex::default()).collect();
        Ok(Self {
            layers,
            points,
            root,
            has_host,
            listings: Cache::new(LISTINGS),
            whole: Whole::new(),
            large: Mutex::default(),
            several,
        })
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The layers, lowest first.
    #[must_use]
    pub fn layers(&self) -> &[Stacked] {
        &self.layers
    }

    /// All names of a directory.
    ///
    /// # Errors
    /// Not a directory, or one that cannot be read.
    pub fn list(&self, directory: &Node) -> io::Result<Arc<Listing>> {
        let changed: Vec<Time> =
            self.of_host(directory).map(|says| says.map_or(Time::default(), |says| says.changed)).collect();
        let make = || union::listing(&self.layers, self.points, directory.parts(), &self.large);
        self.listings.get(directory, &changed, make)
    }

    /// As [`Merged::list`]; whoever has begun to list a directory goes on in that listing, whatever has happened since.
    ///
    /// # Errors
    /// As [`Merged::list`].
    pub fn list_on(&self, directory: &Node) -> io::Result<Arc<Listing>> {
        self.listings.kept(directory).map_or_else(|| self.list(directory), Ok)
    }

    /// Whether it may change while it is served: it is of a directory of the host, or one may get a part of it. Of a directory that layers
    /// share one may, and the kernel knows that by its topmost part only.
    #[must_use]
    pub fn may_change(&self, node: &Node) -> bool {
        self.has_host && (matches!(node, Node::Several(_)) || self.is_of_host(node.topmost()).is_some())
    }

    /// Whether there is anything that may.
    #[must_use]
    pub fn any_may_change(&self) -> bool {
        self.has_host
    }

    fn is_of_host(&self, part: Part) -> Option<&Stacked> {
        self.layers.get(usize::from(part.layer)).filter(|stacked| stacked.layer.is_of_host())
    }

    /// What those parts say that are directories of the host.
    fn of_host<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = io::Result<Attributes>> + 'a {
        let parts = node.parts().iter().filter(|_| self.has_host);
        parts.filter_map(|part| Some(self.is_of_host(*part)?.layer.attributes(part.key)))
    }

    /// What a name stands for.
    ///
    /// # Errors
    /// As [`Merged::list`].
    pub fn lookup(&self, directory: &Node, name: &[u8]) -> io::Result<Option<Node>> {
        match (self.list(directory), directory) {
            (Err(error), Node::One(part)) if error.kind() == io::ErrorKind::PermissionDenied => self.known(*part, name),
            (listing, _) => Ok(listing?.find(name).map(|named| named.node)),
        }
    }

    /// A name of a directory of the host that may be entered and not listed.
    fn known(&self, directory: Part, name: &[u8]) -> io::Result<Option<Node>> {
        let stacked = self.layers.get(usize::from(directory.layer)).ok_or(Errno::ESTALE)?;
        let named = |error| stacked.named(error);
        let Some(key) = stacked.layer.find(directory.key, name).map_err(named)? else { return Ok(None) };
        let says = stacked.layer.attributes(key).map_err(named)?;
        if meaning(name) != Meaning::Itself && !union::is_users(stacked, Some(says.kind), key) {
            return Ok(None);
        }
        let part = Part { key, ..directory };
        Ok((!is_whiteout(says.kind, says.device)).then_some(Node::One(part)))
    }

    /// See [`crate::layer::Layer::hold`].
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn hold(&self, file: &Node) -> io::Result<()> {
        let (stacked, part) = self.topmost(file)?;
        stacked.layer.hold(part.key).map_err(|error| stacked.named(error))
    }

    /// See [`crate::layer::Layer::release`].
    pub fn release(&self, file: &Node) {
        if let Ok((stacked, part)) = self.topmost(file) {
            stacked.layer.release(part.key);
        }
    }

    /// The node for what a listing has shown as this one; see [`crate::layer::Layer::inode`].
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn inode(&self, node: &Node) -> io::Result<Node> {
        let inode = |part: &Part| -> io::Result<Part> {
            let stacked = self.layers.get(usize::from(part.layer)).ok_or(Errno::ESTALE)?;
            let key = stacked.layer.inode(part.key).map_err(|error| stacked.named(error))?;
            Ok(Part { key, ..*part })
        };
        match node {
            Node::One(part) => inode(part).map(Node::One),
            Node::Several(parts) => {
                let top = inode(&node.topmost())?;
                // A part below that cannot be looked at is an error when it is read.
                let below = parts.iter().skip(1).map(|part| inode(part).unwrap_or(*part));
                Ok(Node::Several(std::iter::once(top).chain(below).collect()))
            }
        }
    }

    /// What it says, as it is on disk. A directory that several layers have says 1 link, as OverlayFS says it, since nobody has counted
    /// what is in it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn attributes(&self, node: &Node) -> io::Result<Attributes> {
        let (stacked, part) = self.topmost(node)?;
        let says = stacked.layer.attributes(part.key).map_err(|error| stacked.named(error))?;
        let links = if matches!(node, Node::Several(_)) { 1 } else { says.links };
        Ok(Attributes { links, ..says })
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    /// Not a regular file, or it cannot be read, or the layer has only what it is and not what it holds (metacopy).
    pub fn read(&self, file: &Node, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let (stacked, part) = self.topmost(file)?;
        let may_lie_elsewhere = part.layer > union::lowest(self.points) && stacked.layer.may_have_xattrs();
        if may_lie_elsewhere && !self.whole.has(part) {
            let xattrs = stacked.layer.xattrs(part.key).map_err(|error| stacked.named(error))?;
            if xattrs.iter().any(is_metacopy) {
                return Err(stacked.refuse(
                    "a file's content lies elsewhere (a kernel overlay with metacopy); copy it there without that option",
                ));
            }
            self.whole.keep(part);
        }
        stacked.layer.read(part.key, offset, buf).map_err(|error| stacked.named(error))
    }

    /// The ways to the directories in which a file is that has several names, as its layer has them: what other layers have there may show instead.
    /// In a directory of the host nobody knows them. Looks for as long as `go_on` says so; nothing if it does not.
    pub(crate) fn ways_to(&self, file: &Node, go_on: &dyn Fn() -> bool) -> Option<Vec<Way>> {
        let Part { layer, key } = file.topmost();
        let stacked = self.layers.get(usize::from(layer)).filter(|stacked| !stacked.layer.is_of_host());
        let (Some(stacked), Some(several)) = (stacked, self.several.get(usize::from(layer))) else {
            return Some(Vec::new());
        };
        let mut several = several.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match several.take() {
            Some(found) => found,
            None => Several::of(&*stacked.layer, go_on)?,
        };
        Some(several.insert(found).ways_to(key))
    }

    /// The next data, or the next hole, from `offset` on.
    ///
    /// # Errors
    /// As [`Merged::read`].
    pub fn seek(&self, file: &Node, offset: u64, hole: bool) -> io::Result<Option<u64>> {
        let (stacked, part) = self.topmost(file)?;
        stacked.layer.seek(part.key, offset, hole).map_err(|error| stacked.named(error))
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// Not a symbolic link, or it cannot be read.
    pub fn target(&self, link: &Node) -> io::Result<Vec<u8>> {
        let (stacked, part) = self.topmost(link)?;
        stacked.layer.target(part.key).map_err(|error| stacked.named(error))
    }

    /// Extended attributes, but for an overlay's own.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn xattrs(&self, node: &Node) -> io::Result<Vec<Xattr>> {
        let (stacked, part) = self.topmost(node)?;
        if !stacked.layer.may_have_xattrs() {
            return Ok(Vec::new());
        }
        let mut xattrs = stacked.layer.xattrs(part.key).map_err(|error| stacked.named(error))?;
        xattrs.retain(|xattr| !is_private(xattr));
        Ok(xattrs)
    }

    /// Whether anything in it can have extended attributes.
    #[must_use]
    pub fn may_have_xattrs(&self) -> bool {
        self.layers.iter().any(|stacked| stacked.layer.may_have_xattrs())
    }

    fn topmost(&self, node: &Node) -> io::Result<(&Stacked, Part)> {
        let part = node.topmost();
        let stacked = self.layers.get(usize::from(part.layer)).ok_or(Errno::ESTALE)?;
        Ok((stacked, part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Entry, Key, Layer};
    use condatainer_formats::ext::{FileType, Ids};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Files; the odd ones have their content elsewhere.
    #[derive(Default)]
    struct Files(AtomicUsize);

    impl Layer for Files {
        fn root(&self) -> Key {
            Key(0)
        }
        fn attributes(&self, _: Key) -> io::Result<Attributes> {
            let time = Time::default();
            let (kind, ids, device) = (FileType::Regular, Ids::ROOT, (0, 0));
            let (accessed, modified, changed) = (time, time, time);
            Ok(Attributes { kind, mode: 0o644, ids, size: 9, blocks: 8, links: 1, device, accessed, modified, changed })
        }
        fn entries(&self, _: Key, _: &mut dyn FnMut(Entry<'_>) -> bool) -> io::Result<()> {
            Ok(())
        }
        fn read(&self, _: Key, _: u64, buf: &mut [u8]) -> io::Result<usize> {
            Ok(buf.len())
        }
        fn target(&self, _: Key) -> io::Result<Vec<u8>> {
            Err(Errno::EINVAL.into())
        }
        fn xattrs(&self, key: Key) -> io::Result<Vec<Xattr>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let elsewhere = Xattr { name: b"user.overlay.metacopy".to_vec(), value: Vec::new() };
            Ok(if key.0 % 2 == 1 { vec![elsewhere] } else { Vec::new() })
        }
    }

    #[test]
    fn a_file_is_asked_once_where_its_content_lies() {
        let files = Arc::new(Files::default());
        let stacked = || Stacked { path: "x".into(), bytes: 0, layer: Arc::clone(&files) as _ };
        let merged = Merged::new(vec![stacked(), stacked()]).unwrap();
        let read = |layer, key| merged.read(&Node::One(Part { layer, key: Key(key) }), 0, &mut [0; 4]).is_ok();
        let asked = || files.0.load(Ordering::Relaxed);
        assert!((0..5).all(|_| read(1, 2)) && asked() == 1);
        // An error each time; and the lowest layer has nothing below it.
        assert!((0..5).all(|_| !read(1, 3)) && asked() == 6);
        assert!((0..5).all(|_| read(0, 3)) && asked() == 6);
    }
}
