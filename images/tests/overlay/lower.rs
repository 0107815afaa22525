//! What lies below an image, beside the kernel's own squashfs and overlay.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Cursor;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use condatainer_formats::ext::FileType;
use condatainer_images::overlay::lower::Lower;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use support::{Bench, Mounted, Overlay, Part, Tmpfs, put, rich_tree, set_mode, sif, squashfs_with, whiteout};

/// Files of every layout, names and links of every length, attributes, many names, devices.
fn everything(at: &Path) {
    rich_tree(at);
    let upper = at.join("upper");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i / 1000).wrapping_mul(i) as u8).collect();
    fs::write(upper.join("large"), &bytes).unwrap();
    fs::write(upper.join("exactly-a-block"), &bytes[..131_072]).unwrap();
    let sparse = File::create(upper.join("sparse")).unwrap();
    sparse.write_all_at(b"not a hole", 5 << 20).unwrap();
    sparse.set_len((9 << 20) + 7).unwrap();
    symlink("y".repeat(4000), upper.join("longest-link")).unwrap();
    symlink(OsStr::from_bytes(b"to-\xFF\xFE"), upper.join("odd-link")).unwrap();
    for name in [&b"odd-\xFF\x1b[31m"[..], b" ", b"a\nb", &[b'n'; 255]] {
        fs::write(upper.join(OsStr::from_bytes(name)), name).unwrap();
    }
    for i in 0..3000 {
        fs::write(upper.join("many").join(format!("{i}")), format!("{i}").repeat(i % 90)).unwrap();
    }
    mknod(&upper.join("disk"), SFlag::S_IFBLK, Mode::from_bits_truncate(0o660), makedev(259, 70_000)).unwrap();
    for (name, key) in [("plain", "user.note"), ("opt", "trusted.some"), ("longest-link", "trusted.link")] {
        xattr::set(upper.join(name), key, &[b'v'; 300]).unwrap();
    }
}

/// Fails unless everything below a directory of the machine is in `lower`, equal, and nothing else.
fn assert_same(lower: &Lower, at: &Path, label: &str) -> usize {
    let (mut pending, mut seen) = (vec![Vec::new()], 0);
    while let Some(path) = pending.pop() {
        let here = at.join(OsStr::from_bytes(&path));
        let names: BTreeSet<Vec<u8>> =
            fs::read_dir(&here).unwrap().map(|e| e.unwrap().file_name().into_vec()).collect();
        assert_eq!(lower.names(&path).unwrap(), names, "{label}: names of {here:?}");
        for name in names {
            let inner = [&path[..], &name].join(&b'/');
            let inner = inner.strip_prefix(b"/").unwrap_or(&inner).to_vec();
            let place = at.join(OsStr::from_bytes(&inner));
            assert_node(lower, &inner, &place, label);
            if place.symlink_metadata().unwrap().is_dir() {
                pending.push(inner);
            }
            seen += 1;
        }
    }
    seen
}

fn assert_node(lower: &Lower, path: &[u8], place: &Path, label: &str) {
    let (node, meta) = (lower.get(path).unwrap(), place.symlink_metadata().unwrap());
    let node = node.unwrap_or_else(|| panic!("{label}: {place:?} is missing"));
    let kind = FileType::from_mode(meta.mode() as u16);
    assert_eq!((node.kind, u32::from(node.mode)), (kind, meta.mode() & 0o7777), "{label}: {place:?}");
    assert_eq!((node.ids.uid, node.ids.gid, node.mtime), (meta.uid(), meta.gid(), meta.mtime()), "{label}: {place:?}");
    if meta.file_type().is_block_device() || meta.file_type().is_char_device() {
        let device = makedev(node.device.0.into(), node.device.1.into());
        assert_eq!(device, meta.rdev(), "{label}: {place:?}");
    }
    if kind == FileType::Symlink {
        assert_eq!(node.target, Some(fs::read_link(place).unwrap().into_os_string().into_vec()), "{label}: {place:?}");
    }
    if kind == FileType::Regular {
        let content = fs::read(place).unwrap();
        assert_eq!(node.size, content.len() as u64);
        let same = |bytes: &[u8]| lower.has_content(&node, &mut Cursor::new(bytes)).unwrap().unwrap();
        assert!(same(&content), "{label}: {place:?} reads differently");
        if content.len() > 1 << 20 {
            return;
        }
        assert!(!same(&[&content[..], b"x"].concat()), "{label}: {place:?} is taken for a longer file");
        assert!(content.is_empty() || !same(&content[1..]), "{label}: {place:?} is taken for a shorter file");
    }
}

#[test]
fn every_squashfs_reads_as_the_kernel_reads_it() {
    let bench = Bench::new();
    let source = bench.path("rich");
    everything(&source);
    let variants: &[&[&str]] = &[
        &["-comp", "gzip"],
        &["-comp", "xz", "-Xbcj", "x86"],
        &["-comp", "lz4"],
        &["-comp", "zstd", "-b", "1M"],
        &["-comp", "gzip", "-b", "4096", "-no-fragments"],
        &["-comp", "zstd", "-always-use-fragments", "-no-exports", "-no-duplicates"],
        &["-comp", "gzip", "-noI", "-noD", "-noF", "-noX", "-no-xattrs"],
    ];
    for options in variants {
        let path = bench.path("made.sqf");
        fs::write(&path, squashfs_with(&bench, &source.join("upper"), options)).unwrap();
        let mounted = Mounted::new(&path, "ro");
        let lower = Lower::open(std::slice::from_ref(&path)).unwrap();
        // Below an image, a device 0/0 and a file .wh.NAME are whiteouts, so that they alone do not show.
        for name in ["whiteout", ".wh.deleted"] {
            assert!(mounted.at.path().join(name).symlink_metadata().is_ok());
            assert_eq!(lower.get(name.as_bytes()).unwrap(), None);
        }
        let scratch = Tmpfs::new();
        let visible = without_whiteouts(mounted.at.path(), scratch.at.path());
        assert!(assert_same(&lower, &visible.path(), &format!("{options:?}")) > 3900);
    }
}

/// The tree at `at` without its file of fuse-overlayfs, by way of a kernel overlay above it, which hides its device 0/0.
fn without_whiteouts(at: &Path, scratch: &Path) -> Overlay {
    let overlay = Overlay::new(&[at], Some(scratch));
    fs::remove_file(overlay.path().join(".wh.deleted")).unwrap();
    overlay
}

/// Three layers in which every case of a merge occurs, in the language of the kernel.
fn three_layers(bench: &Bench) -> [PathBuf; 3] {
    let [base, middle, top] = ["base", "middle", "top"].map(|name| bench.path(name));
    for path in ["kept", "replaced", "gone", "d/kept", "d/gone", "d/back", "o/old", "o/deep/old", "w/inside", "f/below"]
    {
        put(&base, path, "base");
    }
    for path in ["replaced", "d/new", "o/middle", "w-was-a-file", "oo/middle"] {
        put(&middle, path, "middle");
    }
    whiteout(&middle.join("gone"));
    whiteout(&middle.join("d/gone"));
    whiteout(&middle.join("d/back"));
    whiteout(&middle.join("w"));
    fs::write(middle.join("f"), "a file hides a directory").unwrap();
    xattr::set(middle.join("o"), "trusted.overlay.opaque", b"y").unwrap();
    for path in ["d/back", "d/top", "w/inside-again", "f/again", "o/top", "oo/top"] {
        put(&top, path, "top");
    }
    set_mode(&top.join("d"), 0o750);
    xattr::set(top.join("oo"), "trusted.overlay.opaque", b"y").unwrap();
    whiteout(&top.join("w-was-a-file"));
    [base, middle, top]
}

#[test]
fn layers_merge_as_the_kernel_merges_them() {
    let bench = Bench::new();
    let [base, middle, top] = three_layers(&bench);
    let images = [&base, &middle, &top].map(|tree| {
        let image = tree.with_extension("sqf");
        fs::write(&image, squashfs_with(&bench, tree, &[])).unwrap();
        image
    });
    let mounted = [&images[0], &images[1], &images[2]].map(|image| Mounted::new(image, "ro"));
    let merged = Overlay::new(&[mounted[2].at.path(), mounted[1].at.path(), mounted[0].at.path()], None);
    let seen = assert_same(&Lower::open(&images).unwrap(), &merged.path(), "squashfs");
    assert_eq!(seen, 16);
    // Directories of the machine, and a mixture.
    assert_same(&Lower::open(&[base.clone(), middle.clone(), top.clone()]).unwrap(), &merged.path(), "directories");
    assert_same(&Lower::open(&[images[0].clone(), middle, images[2].clone()]).unwrap(), &merged.path(), "mixture");
}

#[test]
fn whiteouts_of_fuse_overlayfs_count() {
    let bench = Bench::new();
    let [base, middle] = ["base", "middle"].map(|name| bench.path(name));
    for path in ["kept", "gone", "d/old", "d/deep/old", "both/old", "x/gone", "x/kept"] {
        put(&base, path, "base");
    }
    for path in [".wh.gone", "d/.wh..wh..opq", "d/new", ".wh.both", "both/new", "x/.wh.gone", "x/.wh."] {
        put(&middle, path, "middle");
    }
    let image = bench.path("middle.sqf");
    fs::write(&image, squashfs_with(&bench, &middle, &[])).unwrap();
    let opaque = bench.path("opaque");
    put(&opaque, "x/only", "top");
    xattr::set(opaque.join("x"), "user.fuseoverlayfs.opaque", b"y").unwrap();
    for layers in [[base.clone(), middle], [base.clone(), image]] {
        let lower = Lower::open(&layers).unwrap();
        let names = |path: &str| {
            let names = lower.names(path.as_bytes()).unwrap();
            names.into_iter().map(|name| String::from_utf8(name).unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(""), "both d kept x");
        assert_eq!([names("d"), names("both"), names("x")], ["new", "new", ".wh. kept"]);
        for hidden in ["gone", ".wh.gone", "d/old", "d/deep/old", "d/.wh..wh..opq", "both/old", "x/gone", "kept/x"] {
            assert_eq!(lower.get(hidden.as_bytes()).unwrap(), None, "{hidden}");
        }
        let [first, second] = layers;
        let lower = Lower::open(&[first, second, opaque.clone()]).unwrap();
        assert_eq!(lower.names(b"x").unwrap().into_iter().collect::<Vec<_>>(), [b"only"]);
    }
}

#[test]
fn a_sif_is_its_system_and_its_overlays() {
    let bench = Bench::new();
    let [system, overlay] = ["system", "overlay"].map(|name| bench.path(name));
    put(&system, "etc/os", "base");
    put(&system, "etc/gone", "base");
    put(&overlay, "upper/etc/.wh.gone", "");
    put(&overlay, "upper/etc/new", "overlay");
    put(&overlay, "work/work/x", "");
    let squash = squashfs_with(&bench, &system, &[]);
    let ext = fs::read(bench.image_of("overlay.img", &["-t", "ext3"], 16, &overlay)).unwrap();
    let part = |fs, role, content| Part { fs, role, group: 1, content };
    let path = bench.path("base.sif");
    fs::write(&path, sif(&[part(4, 3, b"data"), part(1, 2, &squash), part(2, 4, &ext)])).unwrap();
    let names = |lower: &Lower| lower.names(b"etc").unwrap().into_iter().collect::<Vec<_>>().join(&b' ');
    assert_eq!(names(&Lower::open(std::slice::from_ref(&path)).unwrap()), b"new os");
    assert_eq!(names(&Lower::open_inside(&path, &[]).unwrap()), b"gone os");
    // On top of another base, only its overlay counts.
    let base = bench.path("empty");
    fs::create_dir(&base).unwrap();
    let lower = Lower::open(&[base.clone(), path.clone()]).unwrap();
    assert_eq!(names(&lower), b"new");
    // An image of its own is the same.
    assert_eq!(names(&Lower::open(&[base.clone(), bench.path("overlay.img")]).unwrap()), b"new");
    // So is a directory that holds one, but not as a base.
    assert_eq!(names(&Lower::open(&[base.clone(), overlay.clone()]).unwrap()), b"new");
    assert_eq!(Lower::open(&[overlay]).unwrap().names(b"").unwrap().len(), 2);

    let refusal = |parts: &[Part<'_>], above: bool| {
        fs::write(&path, sif(parts)).unwrap();
        let layers = if above { vec![base.clone(), path.clone()] } else { vec![path.clone()] };
        Lower::open(&layers).map(drop).unwrap_err().to_string()
    };
    assert!(refusal(&[part(1, 1, &squash)], false).contains("without a system to start from"));
    assert!(refusal(&[part(1, 2, &squash)], true).contains("has no overlay partition, so it cannot be a layer"));
    assert!(refusal(&[part(5, 2, &squash)], false).contains("is encrypted"));
}

#[test]
fn links_in_a_directory_are_not_followed() {
    let bench = Bench::new();
    let [base, outside] = ["base", "outside"].map(|name| bench.path(name));
    put(&outside, "secret", "secret");
    put(&base, "real/file", "");
    symlink(&outside, base.join("out")).unwrap();
    symlink("real", base.join("in")).unwrap();
    let lower = Lower::open(&[base]).unwrap();
    assert_eq!(lower.get(b"out").unwrap().unwrap().kind, FileType::Symlink);
    for path in [&b"out/secret"[..], b"in/file", b"../outside/secret", b"real/../real/file", b"real/file/x"] {
        assert_eq!(lower.get(path).unwrap(), None, "{}", String::from_utf8_lossy(path));
    }
    assert!(lower.names(b"out").unwrap().is_empty() && lower.names(b"in").unwrap().is_empty());
    assert!(lower.get(b"real/file").unwrap().is_some());
}

#[test]
fn what_a_directory_holds_is_counted() {
    let bench = Bench::new();
    let base = bench.path("base");
    put(&base, "d/a", "four");
    put(&base, "d/e/b", "seven..");
    symlink("a", base.join("d/link")).unwrap();
    let lower = Lower::open(&[base]).unwrap();
    let below = lower.below(b"d").unwrap();
    assert_eq!((below.files, below.directories, below.bytes), (3, 1, 11));
}

/// Everything that can be asked about a tree that may be broken; only that it ends counts.
fn ask_everything(path: &Path) -> Result<(), String> {
    let lower = Lower::open(&[path.to_owned()]).map_err(|e| e.to_string())?;
    lower.below(b"").map_err(|e| e.to_string())?;
    let mut pending = vec![Vec::new()];
    while let Some(path) = pending.pop() {
        for name in lower.names(&path).map_err(|e| e.to_string())? {
            let inner = [&path[..], &name].join(&b'/');
            let Some(node) = lower.get(&inner).map_err(|e| e.to_string())? else { continue };
            match node.kind {
                FileType::Directory => pending.push(inner),
                FileType::Regular => {
                    lower.has_content(&node, &mut std::io::repeat(0)).map_err(|e| e.to_string())?.unwrap();
                }
                _ => {}
            }
        }
    }
    Ok(())
}

#[test]
fn broken_images_are_errors() {
    let bench = Bench::new();
    let tree = bench.path("tree");
    for i in 0..40 {
        put(&tree, &format!("d{}/f{i}", i % 7), &"text ".repeat(i * 9));
    }
    xattr::set(tree.join("d1"), "user.note", b"v").unwrap();
    let path = bench.path("broken.sqf");
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize % below
    };
    let mut errors = 0;
    for options in
        [&["-comp", "gzip"][..], &["-comp", "zstd"], &["-comp", "xz"], &["-comp", "lz4"], &["-noI", "-noD", "-noF"]]
    {
        let sound = squashfs_with(&bench, &tree, options);
        for _ in 0..400 {
            let mut bytes = sound.clone();
            for _ in 0..1 + next(3) {
                let at = next(bytes.len().min(4 << 10));
                bytes[at] = next(256) as u8;
            }
            if next(4) == 0 {
                bytes.truncate(next(bytes.len()));
            }
            fs::write(&path, bytes).unwrap();
            if let Err(message) = ask_everything(&path) {
                assert!(!message.contains('\n') && message.contains("broken.sqf: "), "{message}");
                errors += 1;
            }
        }
    }
    assert!(errors > 200, "{errors}");
}

#[test]
fn a_directory_in_itself_is_an_error() {
    let bench = Bench::new();
    let tree = bench.path("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    put(&tree, "a/b/f", "");
    let mut bytes = squashfs_with(&bench, &tree, &["-noI"]);
    // The name of `b` is given the inode of `a`: the names lie in runs of one entry each.
    let names = bytes.windows(9).position(|w| w[4..] == [1, 0, 0, 0, b'b']).unwrap();
    let parent = bytes.windows(9).position(|w| w[4..] == [1, 0, 0, 0, b'a']).unwrap();
    let inode = [bytes[parent], bytes[parent + 1]];
    bytes[names..names + 2].copy_from_slice(&inode);
    let path = bench.path("loop.sqf");
    fs::write(&path, bytes).unwrap();
    let lower = Lower::open(&[path]).unwrap();
    assert!(lower.get(&b"a/b/b/b/b/b"[..]).unwrap().is_some());
    assert!(lower.below(b"").unwrap_err().to_string().contains("a directory has two names"));
    assert_eq!(lower.get(&b"a/".repeat(1_000_000)).unwrap(), None);
}

#[test]
fn a_compression_that_is_not_supported_is_refused_by_name() {
    let bench = Bench::new();
    let tree = bench.tree();
    let path = bench.path("old.sqf");
    let mut image = squashfs_with(&bench, &tree, &["-comp", "lzo"]);
    // The one that the kernel does not know either.
    image[20] = 2;
    fs::write(&path, image).unwrap();
    let message = Lower::open(&[path]).map(drop).unwrap_err().to_string();
    assert!(
        message.ends_with("old.sqf: uses squashfs compression lzma, which condatainer does not support"),
        "{message}"
    );
}
