//! Random stacks of layers, merged beside the kernel's OverlayFS and beside the tree that seal and diff compare with.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use condatainer_formats::ext::FileType;
use condatainer_images::overlay::lower::Lower;
use condatainer_stack::merge::{Merged, Node};
use fastrand::Rng;
use support::overlay::{Overlay, Tmpfs, whiteout};
use support::{HostLayer, chance, stacked};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What a name of the merged tree says: its kind and permission bits, and the content, which is different in every layer.
type Tree = BTreeMap<Vec<u8>, (FileType, u16, Vec<u8>)>;

/// Fills a directory at random, with marks of every program.
fn fill(random: &mut Rng, at: &Path, layer: usize, depth: usize) {
    let text = |name: &str| format!("{layer}:{}/{name}", at.display());
    for name in NAMES {
        let path = at.join(name);
        match random.u8(0..16) {
            0..=2 => fs::write(&path, text(name)).unwrap(),
            3 => symlink(text(name), &path).unwrap(),
            4 => whiteout(&path),
            5 => fs::write(at.join(format!(".wh.{name}")), "").unwrap(),
            6 => {
                // Beside the name itself it hides only what is below.
                fs::write(at.join(format!(".wh.{name}")), "").unwrap();
                directory(random, &path, layer, depth);
            }
            7 => {
                fs::write(at.join(format!(".wh.{name}")), "not empty").unwrap();
                fs::write(&path, text(name)).unwrap();
            }
            8..=12 => directory(random, &path, layer, depth),
            _ => {}
        }
    }
    match random.u8(0..20) {
        0 => fs::write(at.join(".wh..wh..opq"), "").unwrap(),
        1 => xattr::set(at, "trusted.overlay.opaque", b"y").unwrap(),
        2 => xattr::set(at, "user.overlay.opaque", b"y").unwrap(),
        3 => xattr::set(at, "user.fuseoverlayfs.opaque", b"y").unwrap(),
        4 => xattr::set(at, "trusted.overlay.opaque", b"n").unwrap(),
        _ => {}
    }
}

fn directory(random: &mut Rng, at: &Path, layer: usize, depth: usize) {
    fs::create_dir(at).unwrap();
    fs::set_permissions(at, PermissionsExt::from_mode(if random.bool() { 0o755 } else { 0o711 + layer as u32 }))
        .unwrap();
    if depth > 0 {
        fill(random, at, layer, depth - 1);
    }
}

/// The same tree in the kernel's own language, beside the first.
fn in_kernels_words(at: &Path) {
    let (mut hides, mut opaque) = (Vec::new(), false);
    for entry in fs::read_dir(at).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            in_kernels_words(&entry.path());
        }
        if name == ".wh..wh..opq" {
            opaque = true;
        } else if let Some(hidden) = name.strip_prefix(".wh.") {
            hides.push(hidden.to_owned());
        } else {
            continue;
        }
        fs::remove_file(entry.path()).unwrap();
    }
    for name in hides {
        let path = at.join(name);
        match path.symlink_metadata() {
            Err(_) => whiteout(&path),
            Ok(says) if says.is_dir() => xattr::set(&path, "trusted.overlay.opaque", b"y").unwrap(),
            Ok(_) => {}
        }
    }
    let marks = ["user.overlay.opaque", "user.fuseoverlayfs.opaque"];
    if opaque || marks.iter().any(|mark| xattr::get(at, mark).unwrap().is_some()) {
        xattr::set(at, "trusted.overlay.opaque", b"y").unwrap();
    }
}

fn of_machine(root: &Path) -> Tree {
    let seen = support::walk_overlay(root).into_iter().filter(|(path, _)| !path.is_empty());
    seen.map(|(path, seen)| (path, (FileType::from_mode(seen.mode as u16), (seen.mode & 0o7777) as u16, seen.content)))
        .collect()
}

fn of_merged(merged: &Merged) -> Tree {
    let (mut all, mut pending) = (Tree::new(), vec![(Vec::new(), merged.root().clone())]);
    while let Some((path, directory)) = pending.pop() {
        let listing = merged.list(&directory).unwrap();
        for named in listing.iter() {
            let inner = if path.is_empty() { named.name.to_vec() } else { [&path[..], named.name].join(&b'/') };
            let found = merged.lookup(&directory, named.name).unwrap();
            assert_eq!(found.as_ref(), Some(&named.node), "{}", inner.escape_ascii());
            let says = merged.attributes(&named.node).unwrap();
            assert_eq!(says.kind, named.kind);
            let content = match says.kind {
                FileType::Regular => content(merged, &named.node, says.size),
                FileType::Symlink => merged.target(&named.node).unwrap(),
                _ => Vec::new(),
            };
            if says.kind == FileType::Directory {
                pending.push((inner.clone(), named.node));
            }
            all.insert(inner, (says.kind, says.mode, content));
        }
    }
    all
}

fn content(merged: &Merged, node: &Node, size: u64) -> Vec<u8> {
    let mut content = vec![0; size as usize + 1];
    let length = merged.read(node, 0, &mut content).unwrap();
    content.truncate(length);
    content
}

fn of_lower(lower: &Lower) -> Tree {
    let (mut all, mut pending) = (Tree::new(), vec![Vec::new()]);
    while let Some(path) = pending.pop() {
        for name in lower.names(&path).unwrap() {
            let inner = if path.is_empty() { name } else { [&path[..], &name].join(&b'/') };
            let node = lower.get(&inner).unwrap().unwrap();
            let content = match node.kind {
                FileType::Regular => format!("{} bytes", node.size).into_bytes(),
                _ => node.target.clone().unwrap_or_default(),
            };
            if node.kind == FileType::Directory {
                pending.push(inner.clone());
            }
            all.insert(inner, (node.kind, node.mode, content));
        }
    }
    all
}

fn assert_same(found: &Tree, expected: &Tree, label: &str) {
    for path in found.keys().chain(expected.keys()) {
        assert_eq!(found.get(path), expected.get(path), "{label}: {}", path.escape_ascii());
    }
}

#[test]
fn random_stacks_merge_as_the_kernel_and_seal_merge_them() {
    let (seed, rounds) = (chance::seed(), chance::runs(40) as usize);
    let mut random = Rng::with_seed(seed);
    let mut names = 0;
    for round in 0..rounds {
        let memory = Tmpfs::new();
        let count = random.usize(1..=5);
        let [ours, kernels] = ["ours", "kernels"].map(|name| memory.at.path().join(name));
        let layers: Vec<PathBuf> = (0..count).map(|layer| ours.join(layer.to_string())).collect();
        fs::create_dir(&ours).unwrap();
        for (number, layer) in layers.iter().enumerate() {
            fs::create_dir(layer).unwrap();
            fill(&mut random, layer, number, 3);
        }
        support::ok(std::process::Command::new("cp").arg("-a").args([&ours, &kernels]).output().unwrap(), "cp");
        let mut words: Vec<PathBuf> = (0..count).map(|layer| kernels.join(layer.to_string())).collect();
        words.iter().for_each(|layer| in_kernels_words(layer));
        words.reverse();
        let overlay = Overlay::new(&words.iter().map(PathBuf::as_path).collect::<Vec<_>>(), None);
        let mut expected = of_machine(&overlay.path());
        let stack: Vec<_> = layers.iter().map(|layer| stacked(layer)).collect();
        let merged = Merged::new(stack.clone()).unwrap();
        let found = of_merged(&merged);
        // The kernel takes no notice of a mark on a layer's root; fuse-overlayfs and seal do.
        if words.iter().any(|layer| xattr::get(layer, "trusted.overlay.opaque").unwrap().as_deref() == Some(b"y")) {
            expected.clone_from(&found);
        }
        assert_same(&found, &expected, &format!("seed {seed}, round {round}, {count} layers"));
        // Nor does it matter whether directories say what their names are.
        let mut silent = stack;
        for (layer, at) in silent.iter_mut().zip(&layers) {
            layer.layer = std::sync::Arc::new(HostLayer { says_kinds: false, ..HostLayer::new(at) });
        }
        let found_silent = of_merged(&Merged::new(silent).unwrap());
        assert_same(&found_silent, &expected, &format!("without kinds, seed {seed}, round {round}"));
        let only_sizes = |tree: Tree| -> Tree {
            let size = |(kind, mode, content): (FileType, u16, Vec<u8>)| match kind {
                FileType::Regular => (kind, mode, format!("{} bytes", content.len()).into_bytes()),
                _ => (kind, mode, content),
            };
            tree.into_iter().map(|(path, says)| (path, size(says))).collect()
        };
        let lower = of_lower(&Lower::open(&layers).unwrap());
        assert_same(&only_sizes(found), &lower, &format!("Lower, seed {seed}, round {round}"));
        names += expected.len();
    }
    assert!(names > rounds * 5, "{names} names are too few");
}
