//! Which mount points a tree lacks, and where they have to be made: a path may lead through the tree's symbolic links.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::merged::Merged;
use super::node::Node;
use super::stacked::Stacked;
use crate::layer::Time;
use crate::layer::points::Points;
use condatainer_formats::ext::{FileType, Ids};

/// Links on the way to one path; the kernel follows as many.
const MOST_LINKS: usize = 40;

/// A mount point that an engine wants.
#[derive(Debug, Clone, Copy)]
pub struct Point<'a> {
    /// An absolute path in the container.
    pub path: &'a [u8],
    /// What it is for.
    pub mounted: Mounted,
    /// Permission bits, where it is made.
    pub mode: u16,
    /// Whose it is, where it is made.
    pub ids: Ids,
}

/// What is mounted on a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mounted {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// A file, also where an image has a symbolic link: what that leads to is not covered.
    FileForLink,
}

/// A mount point that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmade {
    /// As it was wanted.
    pub path: Vec<u8>,
    /// Why: to be put behind it.
    pub why: String,
}

/// A layer of the mount points that `layers` lack, and which of those wanted cannot be made. Without any layers all are made.
///
/// # Errors
/// As [`Merged::new`].
pub fn with_points(
    layers: Vec<Stacked>,
    wanted: &[Point<'_>],
    ids: Ids,
    made: Time,
) -> io::Result<(Merged, Vec<Unmade>)> {
    let above = if layers.is_empty() { None } else { Some(Merged::new(layers.clone())?) };
    let (points, unmade) = missing(above.as_ref(), wanted, ids, made);
    let points = Stacked { path: "the mount points".into(), bytes: 0, layer: Arc::new(points) };
    Ok((Merged::above_points(points, layers)?, unmade))
}

/// The mount points that `above` lacks. Where there is no tree above, all of them.
fn missing(above: Option<&Merged>, wanted: &[Point<'_>], ids: Ids, made: Time) -> (Points, Vec<Unmade>) {
    let (mut points, mut unmade) = (Points::new(ids, made), Vec::new());
    for point in wanted {
        let made = resolve(above, point).and_then(|place| match place {
            Some(place) => {
                let kind = if point.mounted.is_file() { FileType::Regular } else { FileType::Directory };
                points.add(&place, kind, point.mode, point.ids).map_err(|_| "another mount point is in the way".into())
            }
            None => Ok(()),
        });
        if let Err(why) = made {
            unmade.push(Unmade { path: point.path.to_vec(), why });
        }
    }
    (points, unmade)
}

/// Where on the way a path has got to, name by name, and what the tree has there.
struct Way<'a> {
    tree: Option<&'a Merged>,
    names: Vec<Vec<u8>>,
    /// The directory behind each name, as far as the tree has them; the root comes first.
    directories: Vec<Option<Node>>,
}

/// The names from the root down to where a mount point has to be made; none where it is there already.
fn resolve(above: Option<&Merged>, point: &Point<'_>) -> Result<Option<Vec<Vec<u8>>>, String> {
    let mut way = Way::new(above);
    let (mut ahead, mut links, mut there) = (names(point.path), 0, None);
    ahead.reverse();
    while let Some(name) = ahead.pop() {
        if name == b".." {
            way.up();
            there = Some(FileType::Directory);
            continue;
        }
        let (node, kind) = match way.look(&name).map_err(|error| error.to_string())? {
            Some(found) => found,
            None => {
                way.down(name, None);
                there = None;
                continue;
            }
        };
        if kind == FileType::Symlink && ahead.is_empty() && point.mounted == Mounted::FileForLink {
            way.down(name, None);
            return Ok(Some(way.names));
        }
        if kind == FileType::Symlink {
            links += 1;
            let target = way.target(&node).map_err(|error| error.to_string())?;
            if links > MOST_LINKS || target.is_empty() {
                return Err("leads through too many symbolic links of the image".into());
            }
            if target.starts_with(b"/") {
                way = Way::new(above);
            }
            ahead.extend(names(&target).into_iter().rev());
            there = Some(FileType::Directory);
            continue;
        }
        if kind != FileType::Directory && !ahead.is_empty() {
            return Err(format!("the image has {} on the way to it", kind.describe()));
        }
        way.down(name, Some(node));
        there = Some(kind);
    }
    match there {
        None if !way.names.is_empty() => Ok(Some(way.names)),
        Some(kind) if (kind == FileType::Directory) == point.mounted.is_file() => {
            Err(format!("the image has {} there", kind.describe()))
        }
        _ => Ok(None),
    }
}

impl Mounted {
    /// Whether it is a file, whatever is in its place.
    #[must_use]
    pub fn is_file(self) -> bool {
        self != Self::Directory
    }
}

impl<'a> Way<'a> {
    fn new(tree: Option<&'a Merged>) -> Self {
        Self { tree, names: Vec::new(), directories: vec![tree.map(|tree| tree.root().clone())] }
    }

    fn up(&mut self) {
        if self.names.pop().is_some() {
            self.directories.pop();
        }
    }

    fn down(&mut self, name: Vec<u8>, node: Option<Node>) {
        self.names.push(name);
        self.directories.push(node);
    }

    /// What the tree has under a name of the directory that was got to.
    fn look(&self, name: &[u8]) -> io::Result<Option<(Node, FileType)>> {
        let (Some(tree), Some(Some(directory))) = (self.tree, self.directories.last()) else { return Ok(None) };
        Ok(tree.list(directory)?.find(name).map(|named| (named.node, named.kind)))
    }

    fn target(&self, link: &Node) -> io::Result<Vec<u8>> {
        self.tree.map_or_else(|| Ok(Vec::new()), |tree| tree.target(link))
    }
}

fn names(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.map(<[u8]>::to_vec).collect()
}
