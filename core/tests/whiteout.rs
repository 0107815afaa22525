//! Whiteouts found and translated, with e2fsck and the kernel's own OverlayFS as the oracles.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::env;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use condatainer_core::ext::Tree;
use condatainer_core::whiteout::{Kinds, Translated, Until, scan, translate};
use support::{Bench, GEOMETRIES, Mounted, debugfs_script, fsck, ok, rich_tree, snapshot, tool, whole};

const IMAGE: &str = "CONDATAINER_TEST_TRANSLATED_IMAGE";

fn kinds(image: &Path) -> Kinds {
    let file = File::open(image).unwrap();
    scan(&Tree::open(&file, whole(image)).unwrap(), Until::default()).unwrap().unwrap()
}

fn translated(image: &Path) -> Result<Translated, String> {
    let file = OpenOptions::new().read(true).write(true).open(image).unwrap();
    translate(&file, whole(image)).map_err(|error| error.to_string())
}

#[test]
fn whiteouts_of_every_kind_are_counted() {
    let bench = Bench::new();
    let source = bench.path("rich");
    rich_tree(&source);
    for options in [&["-t", "ext3"][..], &["-t", "ext4"], &["-t", "ext3", "-O", "^filetype"]] {
        let image = bench.image_of("image", options, 32, &source);
        debugfs_script(&image, "ea_set /upper/opt trusted.overlay.opaque y\nwrite /dev/null /upper/var/.wh..wh..opq\n");
        let all = kinds(&image);
        assert_eq!(all, Kinds { fuse: 1, opaque: 2, kernel: 1 }, "{options:?}");
        assert_eq!(all.name(), "mixed");
    }
}

/// What fuse-overlayfs leaves behind, and what only looks like it.
fn with_whiteouts(at: &Path) {
    rich_tree(at);
    let upper = at.join("upper");
    for i in 0..40 {
        fs::write(upper.join(format!("many/.wh.one-of-many-that-are-hidden-{i:02}")), "").unwrap();
    }
    fs::create_dir_all(upper.join("etc/deep/er")).unwrap();
    for name in
        ["etc/.wh.passwd", "etc/deep/er/.wh.x", "etc/.wh..wh..opq", "etc/.wh..wh.odd", "etc/.wh.both", "etc/both"]
    {
        fs::write(upper.join(name), "").unwrap();
    }
    fs::write(upper.join("etc/.wh.with-content"), "somebody's data").unwrap();
    fs::write(upper.join("etc/.wh.linked"), "").unwrap();
    fs::hard_link(upper.join("etc/.wh.linked"), upper.join("etc/another-name")).unwrap();
}

const EXPECTED: Translated = Translated { translated: 43, left: 4 };

#[test]
fn a_translated_image_is_sound_in_every_geometry() {
    for (name, options) in GEOMETRIES {
        let bench = Bench::new();
        let source = bench.path("source");
        with_whiteouts(&source);
        let image = bench.image_of("image", options, 64, &source);
        debugfs_script(&image, "sif /upper/etc/.wh.passwd uid 1234567\nea_set /upper/etc/.wh.passwd user.note kept\n");
        // Indexes, where the features allow them: mke2fs makes none.
        tool("e2fsck").args(["-fyD"]).arg(&image).output().unwrap();
        let before = snapshot(&image);
        let bytes = fs::read(&image).unwrap();
        let checksums = support::superblock_field(&image, "Filesystem features").contains("metadata_csum");
        match translated(&image) {
            Err(error) if checksums => {
                assert!(error.contains("metadata_csum"), "{name}: {error}");
                assert!(bytes == fs::read(&image).unwrap(), "{name}: a refused image changed");
            }
            done => {
                assert_eq!(done, Ok(EXPECTED), "{name}");
                assert_eq!(fsck(&image), Ok(()), "{name}");
                assert_eq!(snapshot(&image), expected(before), "{name}");
                assert_eq!(translated(&image), Ok(Translated { translated: 0, left: 4 }), "{name}: twice");
            }
        }
    }
}

/// What is to become of the names.
fn expected(
    before: std::collections::BTreeMap<String, support::Seen>,
) -> std::collections::BTreeMap<String, support::Seen> {
    const LEFT: [&str; 5] = [".wh..wh..opq", ".wh..wh.odd", ".wh.both", ".wh.with-content", ".wh.linked"];
    let rename = |(path, mut seen): (String, support::Seen)| {
        let (dir, name) = path.rsplit_once('/').unwrap();
        match name.strip_prefix(".wh.") {
            Some(hidden) if !LEFT.contains(&name) => {
                seen.mode = 0o020_000 | seen.mode & 0o7777;
                (format!("{dir}/{hidden}"), seen)
            }
            _ => (path, seen),
        }
    };
    before.into_iter().map(rename).collect()
}

#[test]
fn the_kernel_honours_what_was_translated() {
    let bench = Bench::new();
    let (source, lower, at) = (bench.path("source"), bench.path("lower"), bench.path("merged"));
    with_whiteouts(&source);
    fs::create_dir_all(lower.join("etc/deep/er")).unwrap();
    fs::create_dir_all(&at).unwrap();
    for name in ["deleted", "etc/passwd", "etc/kept", "etc/deep/er/x"] {
        fs::write(lower.join(name), "from below").unwrap();
    }
    let image = bench.image_of("image", &["-t", "ext3"], 64, &source);
    assert_eq!(translated(&image), Ok(EXPECTED));
    let mounted = Mounted::new(&image, "ro");
    let options = format!("lowerdir={}:{}", mounted.at.path().join("upper").display(), lower.display());
    let mount = Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&at).output().unwrap();
    ok(mount, "mount -t overlay");
    let there = ["deleted", "etc/passwd", "etc/kept", "etc/deep/er/x"].map(|name| at.join(name).exists());
    ok(Command::new("umount").arg(&at).output().unwrap(), "umount");
    assert_eq!(there, [false, false, true, false]);
}

/// Not a test of its own, but the process that is killed: this test binary, started again with an image to work on.
#[test]
fn victim() {
    if let Some(image) = env::var_os(IMAGE) {
        translated(Path::new(&image)).unwrap();
    }
}

fn start(image: &Path) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "victim"]).env(IMAGE, image).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn many_whiteouts(bench: &Bench) -> PathBuf {
    let source = bench.path("source");
    for dir in 0..200 {
        let path = source.join(format!("upper/{dir}"));
        fs::create_dir_all(&path).unwrap();
        (0..50).for_each(|i| fs::write(path.join(format!(".wh.hidden-{i}")), "").unwrap());
    }
    fs::create_dir_all(source.join("work")).unwrap();
    bench.image_of("original", &["-t", "ext3", "-N", "16384"], 48, &source)
}

/// Whether writing has begun and not ended: meanwhile the image is marked as not clean.
fn is_under_way(image: &Path) -> bool {
    let mut state = [0];
    File::open(image).unwrap().read_exact_at(&mut state, 1024 + 0x3A).unwrap();
    state[0] & 1 == 0
}

fn wait_for_the_first_write(image: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_under_way(image) {
        assert!(Instant::now() < deadline, "nothing was written");
    }
}

#[test]
fn killed_at_any_instant_it_is_healed_and_completed() {
    let instants = if env::var_os("CONDATAINER_SOAK").is_some() { 200 } else { 12 };
    let bench = Bench::new();
    let original = many_whiteouts(&bench);
    let image = bench.path("victim.img");
    let mut halfway = 0;
    for instant in 0..instants {
        fs::copy(&original, &image).unwrap();
        let mut child = start(&image);
        wait_for_the_first_write(&image);
        std::thread::sleep(Duration::from_millis(3) * instant);
        child.kill().unwrap();
        child.wait().unwrap();
        halfway += u32::from(is_under_way(&image));
        let healed = tool("e2fsck").arg("-p").arg(&image).output().unwrap().status.code().unwrap();
        assert!(healed <= 1, "instant {instant}: e2fsck -p ended with {healed}");
        assert_eq!(fsck(&image), Ok(()), "instant {instant}");
        translated(&image).unwrap();
        assert_eq!(kinds(&image), Kinds { fuse: 0, opaque: 0, kernel: 10_000 }, "instant {instant}");
        assert_eq!(fsck(&image), Ok(()), "instant {instant}");
    }
    eprintln!("of {instants} runs {halfway} were cut off among the writes");
    assert!(halfway > 0, "no run was cut off among its writes");
}
