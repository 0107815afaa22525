//! Every kind of file system: ext2, ext3 and ext4, small and large blocks and inodes, with and without each feature that moves something.

use std::fs;
use std::thread;

use condatainer_stack::layer::Layer;
use condatainer_stack::layer::ext::Start;

use crate::kernel::{self, Mounted, format};
use crate::seen::{below, compare};
use crate::tool::tool;
use crate::{fill, layer};

/// Options of mke2fs, and how many names one directory gets.
const KINDS: &[(&[&str], usize)] = &[
    (&["-t", "ext2", "-b", "1024"], 2000),
    (&["-t", "ext2", "-b", "4096", "-I", "128"], 50_000),
    (&["-t", "ext3", "-b", "1024", "-I", "128"], 2000),
    (&["-t", "ext3", "-b", "2048"], 2000),
    (&["-t", "ext3", "-b", "4096"], 50_000),
    (&["-t", "ext3", "-b", "4096", "-O", "^dir_index,^filetype"], 3000),
    (&["-t", "ext3", "-b", "1024", "-O", "meta_bg,^resize_inode"], 2000),
    (&["-t", "ext4", "-b", "1024"], 2000),
    (&["-t", "ext4", "-b", "2048", "-I", "1024"], 2000),
    (&["-t", "ext4", "-b", "4096"], 50_000),
    (&["-t", "ext4", "-b", "4096", "-O", "^64bit,^metadata_csum,uninit_bg"], 2000),
    (&["-t", "ext4", "-b", "4096", "-O", "^flex_bg,^has_journal"], 2000),
    (&["-t", "ext4", "-b", "4096", "-O", "inline_data"], 2000),
    (&["-t", "ext4", "-b", "1024", "-O", "inline_data,ea_inode,large_dir"], 20_000),
    (&["-t", "ext4", "-b", "4096", "-O", "bigalloc", "-C", "65536", "-N", "16000"], 2000),
    (&["-t", "ext4", "-b", "4096", "-O", "^extent,^64bit,metadata_csum_seed,orphan_file"], 2000),
];

#[test]
fn every_kind_reads_as_the_kernel_reads_it() {
    let bench = kernel::bench();
    for (options, many) in KINDS {
        let what = options.join(" ");
        let image = bench.path().join("image");
        format(&image, &[&["-N", "60000"][..], options].concat(), 512);
        let mounted = Mounted::new(&image, "rw");
        fill::fill(mounted.path(), *many);
        drop(mounted);
        let mounted = Mounted::new(&image, "ro");
        let root = kernel::walk(mounted.path());
        let upper = below(&root, b"upper");
        compare(&what, &layer::walk(&layer::open(&image, Start::Root)), &root);
        // Several threads at once, with caches too small for all of it.
        let layer = layer::open(&image, Start::Upper);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| compare(&what, &layer::walk(&layer), &upper));
            }
        });
        early_stop(&layer);
        drop(mounted);
        fs::remove_file(&image).unwrap();
    }
}

/// What needs a key, or other rules for names, is refused by name; all else of the image is read.
#[test]
fn what_cannot_be_read_is_refused_one_by_one() {
    let bench = kernel::bench();
    let image = bench.path().join("image");
    format(&image, &["-t", "ext4"], 16);
    let mounted = Mounted::new(&image, "rw");
    fs::write(mounted.path().join("secret"), "x".repeat(5000)).unwrap();
    fs::write(mounted.path().join("plain"), "y".repeat(5000)).unwrap();
    fs::create_dir(mounted.path().join("Names")).unwrap();
    drop(mounted);
    // Not every kernel mounts an image that has these features.
    for request in ["feature encrypt casefold", "sif /secret flags 0x80800", "sif /Names flags 0x40080000"] {
        kernel::ok(tool("debugfs").args(["-w", "-R", request]).arg(&image).output().unwrap(), request);
    }
    let layer = layer::open(&image, Start::Root);
    let mut keys = std::collections::BTreeMap::new();
    layer
        .entries(layer.root(), &mut |entry| {
            keys.insert(entry.name.to_vec(), entry.key);
            true
        })
        .unwrap();
    let mut buf = [0; 100];
    assert_eq!(layer.read(keys[&b"plain"[..]], 4990, &mut buf).unwrap(), 10);
    assert_eq!(layer.attributes(keys[&b"secret"[..]]).unwrap().size, 5000);
    let errors = [
        layer.read(keys[&b"secret"[..]], 0, &mut buf).unwrap_err(),
        layer.entries(keys[&b"Names"[..]], &mut |_| true).unwrap_err(),
    ];
    let words = errors.map(|error| error.to_string());
    assert_eq!(words[0], "uses encrypt for a file, which condatainer does not support");
    assert_eq!(words[1], "uses casefold for a directory, which condatainer does not support");
    // And what is asked of the wrong kind.
    let number = |error: std::io::Error| error.raw_os_error();
    assert_eq!(number(layer.read(layer.root(), 0, &mut buf).unwrap_err()), Some(libc::EINVAL));
    assert_eq!(number(layer.target(layer.root()).unwrap_err()), Some(libc::EINVAL));
    assert_eq!(number(layer.entries(keys[&b"plain"[..]], &mut |_| true).unwrap_err()), Some(libc::ENOTDIR));
}

/// A file that is made a directory, for no kernel makes one like it in less than minutes.
#[test]
fn more_names_than_are_believed() {
    let bench = kernel::bench();
    let image = bench.path().join("image");
    format(&image, &["-t", "ext3", "-b", "4096"], 32);
    let names = |most: usize| -> Vec<u8> {
        let record = |number: usize, length: u16| {
            let name = format!("{number:06}");
            let header = [&12_u32.to_le_bytes()[..], &length.to_le_bytes(), &[6, 1], name.as_bytes()].concat();
            [header, vec![0; usize::from(length) - 14]].concat()
        };
        // Of 16 bytes each, so that they fill a block.
        (0..most).flat_map(|number| record(number, 16)).collect()
    };
    let mounted = Mounted::new(&image, "rw");
    fs::write(mounted.path().join("fits"), names(499_968)).unwrap();
    fs::write(mounted.path().join("many"), names(500_224)).unwrap();
    drop(mounted);
    for request in ["sif /fits mode 040755", "sif /many mode 040755"] {
        kernel::ok(tool("debugfs").args(["-w", "-R", request]).arg(&image).output().unwrap(), request);
    }
    let layer = layer::open(&image, Start::Root);
    let mut outcomes = Vec::new();
    layer
        .entries(layer.root(), &mut |entry| {
            let mut count = 0;
            let mut visit = |_: condatainer_stack::layer::Entry<'_>| {
                count += 1;
                true
            };
            if entry.name != b"lost+found" {
                let walked = layer.entries(entry.key, &mut visit).map_err(|error| error.raw_os_error());
                outcomes.push((entry.name.to_vec(), walked, count));
            }
            true
        })
        .unwrap();
    outcomes.sort();
    let expected = [(b"fits".to_vec(), Ok(()), 499_968), (b"many".to_vec(), Err(Some(libc::EFBIG)), 500_000)];
    assert_eq!(outcomes, expected);
}

/// Whoever has seen enough of a directory gets no more of it, and the order is always the same.
fn early_stop(layer: &dyn Layer) {
    let names = |most: usize| {
        let mut names = Vec::new();
        layer
            .entries(layer.root(), &mut |entry| {
                names.push(entry.name.to_vec());
                names.len() < most
            })
            .unwrap();
        names
    };
    let all = names(usize::MAX);
    assert!(all.len() > 50 && names(5) == all[..5] && names(usize::MAX) == all);
}
