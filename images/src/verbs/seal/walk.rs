//! The tree of the image as a layer is to show it: every name once, whiteouts translated, always in the same order.
//!
//! A directory comes before what is in it, its own files and whiteouts come before its subdirectories, and names are sorted by
//! their bytes. The same walk counts what will be written and then writes it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::error::{SealError, display};
use super::stack::StackBelow;
use crate::image::ImageError;
use crate::overlay::path::join;
use crate::overlay::upper::Names;
use condatainer_formats::ext::{ExtError, FileType, Node, Tree, Visit, Walk, Xattr};
use condatainer_formats::overlayfs::{is_whiteout, points_below};

/// Longer paths are of no use to anybody, and a hostile image could spend days on them; in bytes.
const LONGEST_PATH: usize = 1 << 16;

/// One name of the layer.
pub(super) struct Entry<'a> {
    /// Without a slash in front; empty for the root.
    pub(super) path: &'a [u8],
    /// The inode behind it; for a whiteout that of its directory.
    pub(super) node: &'a Node,
    pub(super) what: What<'a>,
}

pub(super) enum What<'a> {
    /// A file, directory or anything else, with its attributes.
    Itself(&'a [Xattr]),
    /// Another name of what came before under this path.
    Link(&'a [u8]),
    /// Nothing: what lies below does not show.
    Whiteout,
}

/// What the layer cannot show as the image has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Translated {
    /// Single names that were hidden by a file `.wh.NAME` or a device 0/0.
    pub(super) whiteouts: u64,
    /// Directories that hid everything below.
    pub(super) opaque: u64,
    /// Single names that are hidden in their stead.
    pub(super) opaque_whiteouts: u64,
    /// Sockets that were left out.
    pub(super) sockets: u64,
}

pub(super) type Sink<'a> = &'a mut dyn FnMut(&Entry<'_>) -> Result<(), SealError>;

/// A directory to be entered.
struct Place {
    path: Vec<u8>,
    /// It hides everything below, by a directory above it or by a whiteout of its own name beside it.
    opaque: bool,
    /// Something below may show through.
    shadowed: bool,
}

pub(super) struct LayerWalk<'a, 'b> {
    tree: &'a Tree<'b>,
    image: &'a std::path::Path,
    below: &'a StackBelow<'a>,
    walk: Walk<Place>,
    /// Files that have more names, by inode number, under their first name.
    linked: HashMap<u32, Vec<u8>>,
    translated: Translated,
}

impl<'a, 'b> LayerWalk<'a, 'b> {
    pub(super) fn new(tree: &'a Tree<'b>, image: &'a std::path::Path, below: &'a StackBelow<'a>) -> Self {
        let (walk, linked) = (Walk::default(), HashMap::new());
        Self { tree, image, below, walk, linked, translated: Translated::default() }
    }

    /// Hands every name below directory `upper` to `sink`.
    pub(super) fn run(mut self, upper: u32, sink: Sink<'_>) -> Result<Translated, SealError> {
        self.walk.add(upper, Place { path: Vec::new(), opaque: false, shadowed: true });
        while let Some(Visit { ino, note: place, is_first }) = self.walk.step() {
            if !is_first {
                let what = format!("the directory {} is in itself", display(&place.path));
                return Err(self.ext(ExtError::corrupt(what)));
            }
            self.enter(ino, &place, sink)?;
        }
        Ok(self.translated)
    }

    fn enter(&mut self, ino: u32, place: &Place, sink: Sink<'_>) -> Result<(), SealError> {
        if place.path.len() > LONGEST_PATH {
            return Err(self.ext(ExtError::unsupported(format!("paths of more than {LONGEST_PATH} bytes"))));
        }
        let node = self.tree.node(ino).map_err(|e| self.ext(e))?;
        let xattrs = self.tree.xattrs(&node).map_err(|e| self.ext(e))?;
        self.refuse_redirects(&place.path, &xattrs)?;
        sink(&Entry { path: &place.path, node: &node, what: What::Itself(&xattrs) })?;
        let Names { real, hidden, opaque } = Names::of(self.tree, &node, &xattrs).map_err(|e| self.ext(e))?;
        let mut names = Sorted { opaque, hidden, ..Sorted::default() };
        for (ino, name) in real {
            self.meet(place, name, ino, &mut names, sink)?;
        }
        self.translated.opaque += u64::from(names.opaque);
        names.opaque |= place.opaque;
        let showing = self.showing(place, &names)?;
        self.whiteouts(place, &node, &names, &showing, sink)?;
        self.descend(place, names, &showing);
        Ok(())
    }

    /// Hands on what a name stands for, but no directory, which is only noted.
    fn meet(
        &mut self,
        place: &Place,
        name: Vec<u8>,
        ino: u32,
        names: &mut Sorted,
        sink: Sink<'_>,
    ) -> Result<(), SealError> {
        let node = self.tree.node(ino).map_err(|e| self.ext(e))?;
        match node.kind {
            _ if is_whiteout(node.kind, node.device) => {
                names.hidden.insert(name);
                return Ok(());
            }
            FileType::Unknown => return Err(self.ext(ExtError::corrupt(format!("inode {ino} is of an unknown type")))),
            FileType::Socket => {
                self.translated.sockets += 1;
                names.sockets.insert(name);
                return Ok(());
            }
            FileType::Directory => {
                names.directories.insert(name.clone(), ino);
            }
            _ => self.file(&join(&place.path, &name), &node, sink)?,
        }
        names.present.insert(name);
        Ok(())
    }

    fn file(&mut self, path: &[u8], node: &Node, sink: Sink<'_>) -> Result<(), SealError> {
        if let Some(first) = self.linked.get(&node.ino) {
            return sink(&Entry { path, node, what: What::Link(first) });
        }
        let xattrs = self.tree.xattrs(node).map_err(|e| self.ext(e))?;
        self.refuse_redirects(path, &xattrs)?;
        if node.links > 1 {
            self.linked.insert(node.ino, path.to_vec());
        }
        sink(&Entry { path, node, what: What::Itself(&xattrs) })
    }

    /// What would show through from below: asked only where that makes a difference.
    fn showing(&self, place: &Place, names: &Sorted) -> Result<BTreeSet<Vec<u8>>, SealError> {
        let of_interest = names.opaque || (self.below.is_known() && !names.sockets.is_empty());
        if place.shadowed && of_interest { self.below.names(&place.path) } else { Ok(BTreeSet::new()) }
    }

    /// In an opaque directory exactly what would show is hidden, since a device in a directory that exists nowhere below
    /// would itself show in a listing. Elsewhere the image's own whiteouts are believed, and a socket hides as it did.
    fn whiteouts(
        &mut self,
        place: &Place,
        directory: &Node,
        names: &Sorted,
        showing: &BTreeSet<Vec<u8>>,
        sink: Sink<'_>,
    ) -> Result<(), SealError> {
        let mut hidden: BTreeSet<&Vec<u8>> = showing.difference(&names.present).collect();
        if !names.opaque {
            hidden.retain(|name| names.sockets.contains(*name));
            hidden.extend(names.hidden.difference(&names.present));
        }
        for name in hidden {
            let single = names.hidden.contains(name) || names.sockets.contains(name);
            self.translated.whiteouts += u64::from(single);
            self.translated.opaque_whiteouts += u64::from(!single);
            sink(&Entry { path: &join(&place.path, name), node: directory, what: What::Whiteout })?;
        }
        Ok(())
    }

    fn descend(&mut self, place: &Place, names: Sorted, showing: &BTreeSet<Vec<u8>>) {
        for (name, ino) in names.directories.into_iter().rev() {
            let shadowed = if names.opaque { showing.contains(&name) } else { place.shadowed };
            let opaque = names.opaque || names.hidden.contains(&name);
            self.walk.add(ino, Place { path: join(&place.path, &name), opaque, shadowed });
        }
    }

    /// A kernel overlay that was told to may keep only the old name of a directory, or a file without its content.
    fn refuse_redirects(&self, path: &[u8], xattrs: &[Xattr]) -> Result<(), SealError> {
        match xattrs.iter().any(points_below) {
            true => Err(SealError::Redirect { path: self.image.into(), inside: display(path) }),
            false => Ok(()),
        }
    }

    fn ext(&self, error: ExtError) -> SealError {
        SealError::Image(ImageError::ext(self.image, error))
    }
}

/// The names of one directory, by what becomes of them.
#[derive(Default)]
struct Sorted {
    opaque: bool,
    present: BTreeSet<Vec<u8>>,
    directories: BTreeMap<Vec<u8>, u32>,
    hidden: BTreeSet<Vec<u8>>,
    sockets: BTreeSet<Vec<u8>>,
}
