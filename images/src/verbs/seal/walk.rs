//! The tree of the image as a layer is to show it: every name once, whiteouts translated, always in the same order.
//!
//! A directory comes before what is in it, its own files and whiteouts come before its subdirectories, and names are sorted by
//! their bytes. The same walk counts what will be written and then writes it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::SealError;
use super::below::Lazy;
use super::inside::display;
use crate::image::ImageError;
use crate::overlay::lower::join;
use crate::overlay::whiteout::{Meaning, is_opaque, meaning};
use condatainer_formats::ext::raw::InoSet;
use condatainer_formats::ext::{ExtError, FileType, Node, ReadAt, Tree, Xattr};

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
    ino: u32,
    /// It hides everything below, by a directory above it or by a whiteout of its own name beside it.
    opaque: bool,
    /// Something below may show through.
    shadowed: bool,
}

pub(super) struct Walk<'a, 'b, R: ?Sized> {
    tree: &'a Tree<'b, R>,
    image: &'a std::path::Path,
    below: &'a Lazy<'a>,
    entered: InoSet,
    pending: Vec<Place>,
    /// Files that have more names, by inode number, under their first name.
    linked: HashMap<u32, Vec<u8>>,
    translated: Translated,
}

impl<'a, 'b, R: ReadAt + ?Sized> Walk<'a, 'b, R> {
    pub(super) fn new(tree: &'a Tree<'b, R>, image: &'a std::path::Path, below: &'a Lazy<'a>) -> Self {
        let (entered, pending, linked) = (InoSet::default(), Vec::new(), HashMap::new());
        Self { tree, image, below, entered, pending, linked, translated: Translated::default() }
    }

    /// Hands every name below directory `upper` to `sink`.
    pub(super) fn run(mut self, upper: u32, sink: Sink<'_>) -> Result<Translated, SealError> {
        self.pending.push(Place { path: Vec::new(), ino: upper, opaque: false, shadowed: true });
        while let Some(place) = self.pending.pop() {
            self.enter(&place, sink)?;
        }
        Ok(self.translated)
    }

    fn enter(&mut self, place: &Place, sink: Sink<'_>) -> Result<(), SealError> {
        if !self.entered.insert(place.ino) {
            return Err(self.ext(ExtError::corrupt(format!("the directory {} is in itself", display(&place.path)))));
        }
        if place.path.len() > LONGEST_PATH {
            return Err(self.ext(ExtError::unsupported(format!("paths of more than {LONGEST_PATH} bytes"))));
        }
        let node = self.tree.node(place.ino).map_err(|e| self.ext(e))?;
        let xattrs = self.tree.xattrs(&node).map_err(|e| self.ext(e))?;
        self.refuse_redirects(&place.path, &xattrs)?;
        sink(&Entry { path: &place.path, node: &node, what: What::Itself(&xattrs) })?;
        let mut names = Names { opaque: xattrs.iter().any(is_opaque), ..Names::default() };
        self.read(place, &node, &mut names, sink)?;
        self.translated.opaque += u64::from(names.opaque);
        names.opaque |= place.opaque;
        let showing = self.showing(place, &names)?;
        self.whiteouts(place, &node, &names, &showing, sink)?;
        self.descend(place, names, &showing);
        Ok(())
    }

    /// Everything in a directory but its subdirectories, which are only noted.
    fn read(&mut self, place: &Place, node: &Node, names: &mut Names, sink: Sink<'_>) -> Result<(), SealError> {
        for name in self.tree.names(node).map_err(|e| self.ext(e))? {
            match meaning(&name.name) {
                Meaning::Opaque => names.opaque = true,
                Meaning::Hides(hidden) => {
                    names.hidden.insert(hidden.to_vec());
                }
                Meaning::Itself => self.meet(place, name.name, name.ino, names, sink)?,
            }
        }
        Ok(())
    }

    fn meet(
        &mut self,
        place: &Place,
        name: Vec<u8>,
        ino: u32,
        names: &mut Names,
        sink: Sink<'_>,
    ) -> Result<(), SealError> {
        let node = self.tree.node(ino).map_err(|e| self.ext(e))?;
        match node.kind {
            _ if node.is_kernel_whiteout() => {
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
    fn showing(&self, place: &Place, names: &Names) -> Result<BTreeSet<Vec<u8>>, SealError> {
        let of_interest = names.opaque || (self.below.is_known() && !names.sockets.is_empty());
        if place.shadowed && of_interest { self.below.names(&place.path) } else { Ok(BTreeSet::new()) }
    }

    /// In an opaque directory exactly what would show is hidden, since a device in a directory that exists nowhere below
    /// would itself show in a listing. Elsewhere the image's own whiteouts are believed, and a socket hides as it did.
    fn whiteouts(
        &mut self,
        place: &Place,
        directory: &Node,
        names: &Names,
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

    fn descend(&mut self, place: &Place, names: Names, showing: &BTreeSet<Vec<u8>>) {
        for (name, ino) in names.directories.into_iter().rev() {
            let shadowed = if names.opaque { showing.contains(&name) } else { place.shadowed };
            let opaque = names.opaque || names.hidden.contains(&name);
            self.pending.push(Place { path: join(&place.path, &name), ino, opaque, shadowed });
        }
    }

    /// A kernel overlay that was told to may keep only the old name of a directory, or a file without its content.
    fn refuse_redirects(&self, path: &[u8], xattrs: &[Xattr]) -> Result<(), SealError> {
        let points_below =
            |xattr: &&Xattr| xattr.name.ends_with(b".overlay.redirect") || xattr.name.ends_with(b".overlay.metacopy");
        match xattrs.iter().find(points_below) {
            Some(_) => Err(SealError::Redirect { path: self.image.into(), inside: display(path) }),
            None => Ok(()),
        }
    }

    fn ext(&self, error: ExtError) -> SealError {
        SealError::Image(ImageError::ext(self.image, error))
    }
}

/// The names of one directory, by what they mean.
#[derive(Default)]
struct Names {
    opaque: bool,
    present: BTreeSet<Vec<u8>>,
    directories: BTreeMap<Vec<u8>, u32>,
    hidden: BTreeSet<Vec<u8>>,
    sockets: BTreeSet<Vec<u8>>,
}
