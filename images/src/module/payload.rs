//! The module inside a squashfs: where it lies, whether it has programs, and the script that built it.

use std::io::Read;
use std::path::Path;

use super::variables::Module;
use super::{script, sidecar};
use crate::image::Opened;
use condatainer_formats::ext::FileType;
use condatainer_formats::squashfs::{Inode, Squashfs, SquashfsError};

/// Where the original CondaTainer keeps the script that built a module.
const SCRIPT: &str = ".cnt-build-script";
/// A script has some pages; more is none.
const LARGEST: u64 = 1 << 20;
/// `assembly/datatype/version` is the longest kind of name.
const DEEPEST: usize = 3;

/// The module in this image.
pub(super) fn read(path: &Path, opened: &Opened) -> Result<Module, SquashfsError> {
    let image = Squashfs::open(opened.file.try_clone()?, opened.image.content)?;
    let Some((root, place)) = root(&image, path)? else { return Ok(Module::default()) };
    let is_directory = |inode: Option<Inode>| inode.is_some_and(|inode| inode.kind == FileType::Directory);
    let has_bin = is_directory(child(&image, &place, "bin")?);
    let mut module = Module { root: Some(root), has_bin, ..Module::default() };
    if let Some(file) = child(&image, &place, SCRIPT)?.filter(|file| file.kind == FileType::Regular) {
        let mut bytes = Vec::new();
        image.open_file(&file)?.take(LARGEST).read_to_end(&mut bytes)?;
        script::merge(&mut module, &String::from_utf8_lossy(&bytes));
    }
    Ok(module)
}

/// Where the file's name says that the module is, or, in a file that was renamed, the one place where it can be.
fn root(image: &Squashfs, path: &Path) -> Result<Option<(String, Inode)>, SquashfsError> {
    let Some(cnt) = child(image, &image.inode(image.root())?, "cnt")? else { return Ok(None) };
    let named = sidecar::app_root(path);
    let mut place = Some(cnt.clone());
    for part in named.split('/').skip(2) {
        place = place.map(|inode| child(image, &inode, part)).transpose()?.flatten();
    }
    match place {
        Some(place) => Ok(Some((named, place))),
        None => only_child(image, cnt),
    }
}

fn only_child(image: &Squashfs, cnt: Inode) -> Result<Option<(String, Inode)>, SquashfsError> {
    let (mut root, mut place) = (String::from("/cnt"), cnt);
    for _ in 0..DEEPEST {
        let entries = image.entries(&place)?;
        let [entry] = entries.as_slice() else { break };
        let Ok(name) = std::str::from_utf8(&entry.name) else { break };
        if entry.kind != FileType::Directory || name == "bin" {
            break;
        }
        root = format!("{root}/{name}");
        place = image.inode(entry.reference)?;
    }
    Ok((root != "/cnt").then_some((root, place)))
}

fn child(image: &Squashfs, directory: &Inode, name: &str) -> Result<Option<Inode>, SquashfsError> {
    if directory.kind != FileType::Directory {
        return Ok(None);
    }
    let entries = image.entries(directory)?;
    let entry = entries.into_iter().find(|entry| entry.name == name.as_bytes());
    entry.map(|entry| image.inode(entry.reference)).transpose()
}
