//! The kinds of images: how mke2fs is asked for them, and what becomes of them.

use std::fs::{self, File};

use condatainer_images::image::open;

use crate::content::rich;
use crate::support::{self, Bench, GEOMETRIES, Part, debugfs_write, sif, squashfs};
use crate::view::Image;
use crate::{USER, refusal, there_and_back, to_root};

/// A name as in the list of what must be proven, and the options of mke2fs.
type Kind = (&'static str, &'static [&'static str]);

/// Those beyond [`GEOMETRIES`] that are handled.
const HANDLED: &[Kind] = &[
    ("ext3 orphan_file", &["-t", "ext3", "-O", "orphan_file"]),
    ("ext4 inline_data", &["-t", "ext4", "-O", "inline_data"]),
    ("ext4 fast_commit", &["-t", "ext4", "-O", "fast_commit"]),
    ("ext4 large_dir", &["-t", "ext4", "-O", "large_dir"]),
];

/// Those that are refused, and the words that say why.
const REFUSED: &[(Kind, &str)] = &[
    (("ext4 quota", &["-t", "ext4", "-O", "quota"]), "uses the file system feature quota,"),
    (("ext4 project", &["-t", "ext4", "-O", "project,quota"]), "uses the file system features quota, project,"),
    (("ext4 bigalloc", &["-t", "ext4", "-O", "bigalloc"]), "uses the file system feature bigalloc,"),
    (("ext4 mmp", &["-t", "ext4", "-O", "mmp"]), "uses the file system feature mmp,"),
    (("ext4 casefold", &["-t", "ext4", "-O", "casefold"]), "uses the file system feature casefold,"),
    (("ext4 encrypt", &["-t", "ext4", "-O", "encrypt"]), "uses the file system feature encrypt,"),
    (("ext4 verity", &["-t", "ext4", "-O", "verity"]), "uses the file system feature verity,"),
];

/// Bits that nobody knows yet, as debugfs sets them.
const FUTURE: &[(&str, &str)] = &[
    ("FEATURE_C30", "uses the file system feature FEATURE_C30,"),
    ("FEATURE_I27", "uses the file system feature FEATURE_I27,"),
    ("FEATURE_R28", "uses the file system feature FEATURE_R28,"),
];

#[test]
fn every_geometry_is_handled() {
    for (name, options) in GEOMETRIES {
        handle(name, options);
    }
}

#[test]
fn further_kinds_are_handled() {
    for (name, options) in HANDLED {
        handle(name, options);
    }
}

fn handle(name: &str, options: &[&str]) {
    let bench = Bench::new();
    let image = Image::whole(rich(&bench, "image", options, 48, USER));
    assert!(!there_and_back(name, &image).walked, "{name}");
}

#[test]
fn a_sparse_image_of_200_gib_is_handled() {
    let bench = Bench::new();
    let image = rich(&bench, "huge", &["-t", "ext3", "-i", "1048576", "-J", "size=4"], 200 << 10, USER);
    let allocated = || fs::metadata(&image).map(|meta| std::os::unix::fs::MetadataExt::blocks(&meta)).unwrap();
    let before = allocated();
    there_and_back("200 GiB", &Image::whole(image.clone()));
    assert!(allocated() <= before + 64, "{before} sectors became {}", allocated());
}

#[test]
fn an_overlay_in_a_sif_is_handled() {
    let bench = Bench::new();
    let base = squashfs(&bench, &bench.tree());
    let overlay = fs::read(rich(&bench, "overlay", &["-t", "ext3"], 48, USER)).unwrap();
    let parts =
        [Part { fs: 1, role: 2, group: 1, content: &base }, Part { fs: 2, role: 4, group: 1, content: &overlay }];
    let path = bench.path("a.sif");
    fs::write(&path, sif(&parts)).unwrap();
    let window = open(&path).unwrap().image.ext_window().unwrap();
    assert!(window.offset > 0);
    there_and_back("SIF", &Image { path, window });
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let bench = Bench::new();
    for ((name, options), why) in REFUSED {
        let image = bench.image("refused", options, 48);
        let message = refusal(name, &image, &to_root());
        assert!(message.contains(why) && message.ends_with("which condatainer does not support"), "{name}: {message}");
    }
    for (feature, why) in FUTURE {
        let image = bench.image("future", &["-t", "ext3"], 16);
        debugfs_write(&image, &format!("feature {feature}"));
        let message = refusal(feature, &image, &to_root());
        assert!(message.contains(why), "{feature}: {message}");
    }
}

#[test]
fn a_journal_of_its_own_is_refused_by_name() {
    let bench = Bench::new();
    let journal = bench.path("journal");
    File::create(&journal).unwrap().set_len(16 << 20).unwrap();
    let made = support::tool("mke2fs").args(["-q", "-F", "-O", "journal_dev"]).arg(&journal).output().unwrap();
    support::ok(made, "mke2fs");
    let message = refusal("journal_dev", &journal, &to_root());
    assert!(message.contains("uses the file system feature journal_dev,"), "{message}");
}
