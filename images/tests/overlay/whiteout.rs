//! Whiteouts found and translated, with e2fsck and the kernel's own OverlayFS as the oracles.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::env;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use condatainer_formats::ext::{Ids, Tree};
use condatainer_images::overlay::whiteout::{
    Found, Kinds, Mounter, Translated, find, honoured, honoured_by, remembered, scan, translate,
};
use support::{
    Bench, GEOMETRIES, Mounted, bytes_of, copy, debugfs_script, fsck, fuse_whiteout, ok, rich_tree, snapshot, tool,
    whole,
};

const IMAGE: &str = "CONDATAINER_TEST_TRANSLATED_IMAGE";

fn scanned(image: &Path) -> Found {
    let file = File::open(image).unwrap();
    scan(&Tree::open(&file, whole(image)).unwrap(), None).unwrap().unwrap()
}

fn kinds(image: &Path) -> Kinds {
    scanned(image).kinds
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
        debugfs_script(
            &image,
            "ea_set /upper/opt trusted.overlay.opaque y\nwrite /dev/null /upper/var/.wh..wh..opq\nsif /upper/var/.wh..wh..opq mode 0100700\nwrite /dev/null /upper/.wh.ordinary\n",
        );
        let all = kinds(&image);
        assert_eq!(all, Kinds { fuse: 2, ordinary: 1, opaque: 2, kernel: 1 }, "{options:?}");
        assert_eq!(all.name(), "mixed");
    }
}

/// As fuse-overlayfs makes one without privileges: opaque by an attribute, by a mark, and by what it makes of its own mark.
fn new_directory(at: &Path) {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    fs::create_dir_all(at).unwrap();
    fuse_whiteout(&at.join(".wh..wh..opq"));
    mknod(&at.join(".wh..opq"), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(0, 0)).unwrap();
    xattr::set(at, "user.fuseoverlayfs.opaque", b"y").unwrap();
}

/// What fuse-overlayfs leaves behind, and what only looks like it.
fn with_whiteouts(at: &Path) {
    rich_tree(at);
    let upper = at.join("upper");
    for i in 0..40 {
        fuse_whiteout(&upper.join(format!("many/.wh.one-of-many-that-are-hidden-{i:02}")));
    }
    fs::create_dir_all(upper.join("etc/deep/er")).unwrap();
    for name in
        ["etc/.wh.passwd", "etc/deep/er/.wh.x", "etc/.wh..wh..opq", "etc/.wh..wh.odd", "etc/.wh.both", "etc/both"]
    {
        fuse_whiteout(&upper.join(name));
    }
    for dir in ["fresh", "fresh/er"] {
        new_directory(&upper.join(dir));
        fs::write(upper.join(dir).join("file"), "content").unwrap();
    }
    fs::write(upper.join("etc/.wh.with-content"), "somebody's data").unwrap();
    fuse_whiteout(&upper.join("etc/.wh.linked"));
    fs::hard_link(upper.join("etc/.wh.linked"), upper.join("etc/another-name")).unwrap();
}

const EXPECTED: Translated = Translated { translated: 43, removed: 4, left: 5 };

#[test]
fn a_translated_image_is_sound_in_every_geometry() {
    for (name, options) in GEOMETRIES {
        let bench = Bench::new();
        let source = bench.path("source");
        with_whiteouts(&source);
        let image = bench.image_of("image", options, 64, &source);
        debugfs_script(
            &image,
            "sif /upper uid 70000\nsif /upper gid 1234567\nsif /upper/etc/.wh.passwd uid 1234567\nea_set /upper/etc/.wh.passwd user.note kept\n",
        );
        // Indexes, where the features allow them: mke2fs makes none.
        tool("e2fsck").args(["-fyD"]).arg(&image).output().unwrap();
        let before = snapshot(&image);
        let bytes = bytes_of(&image);
        let features = support::superblock_field(&image, "Filesystem features");
        let checksums = features.contains("metadata_csum") || features.contains("uninit_bg");
        match translated(&image) {
            Err(error) if checksums => {
                assert!(error.contains("checksums"), "{name}: {error}");
                assert!(bytes == bytes_of(&image), "{name}: a refused image changed");
            }
            // Blocks of a directory with extents are not moved, so that some names stay: which, the order of the names decides.
            Ok(done) if features.contains("extent") && done.left > EXPECTED.left => {
                let all = EXPECTED.translated + EXPECTED.left;
                assert_eq!((done.translated + done.left, done.removed), (all, EXPECTED.removed), "{name}");
                assert_eq!(fsck(&image), Ok(()), "{name}");
                assert_eq!(translated(&image), Ok(Translated { translated: 0, removed: 0, ..done }), "{name}: twice");
            }
            done => {
                assert_eq!(done, Ok(EXPECTED), "{name}");
                assert_eq!(fsck(&image), Ok(()), "{name}");
                assert_eq!(snapshot(&image), expected(before), "{name}");
                assert_eq!(translated(&image), Ok(Translated { translated: 0, removed: 0, left: 5 }), "{name}: twice");
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
                seen.ids = Ids { uid: 70_000, gid: 1_234_567 };
                (format!("{dir}/{hidden}"), seen)
            }
            _ => (path, seen),
        }
    };
    let stays = |path: &str| !path.starts_with("/upper/fresh") || !path.contains("/.wh.");
    before.into_iter().filter(|(path, _)| stays(path)).map(rename).collect()
}

/// Its empty files `.wh.NAME` are its content. fuse-overlayfs lets nobody make such names, so they came by another way; and what it
/// makes itself has mode 0700.
#[test]
fn an_unpacked_oci_layer_keeps_its_files() {
    let bench = Bench::new();
    let source = bench.path("source");
    let layer = source.join("upper/ext3/layers/one/etc");
    fs::create_dir_all(&layer).unwrap();
    fs::create_dir_all(source.join("work")).unwrap();
    for (name, mode) in [(".wh.a", 0), (".wh.b", 0o600), (".wh.c", 0o644), (".wh..wh..opq", 0o644)] {
        fs::write(layer.join(name), "").unwrap();
        support::set_mode(&layer.join(name), mode);
    }
    xattr::set(&layer, "user.fuseoverlayfs.opaque", b"y").unwrap();
    let image = bench.image_of("image", &["-t", "ext3"], 16, &source);
    let before = bytes_of(&image);
    assert_eq!(kinds(&image), Kinds { fuse: 0, ordinary: 4, opaque: 1, kernel: 0 });
    assert_eq!(translated(&image), Ok(Translated { translated: 0, removed: 0, left: 4 }));
    assert!(bytes_of(&image) == before, "nothing of it was made by fuse-overlayfs");
    // Beside its own deletions.
    fuse_whiteout(&source.join("upper/.wh.gone"));
    let image = bench.image_of("image", &["-t", "ext3"], 16, &source);
    assert_eq!(translated(&image), Ok(Translated { translated: 1, removed: 0, left: 4 }));
    assert_eq!(kinds(&image), Kinds { fuse: 0, ordinary: 4, opaque: 1, kernel: 1 });
    assert_eq!(fsck(&image), Ok(()));
    let honoured = |mounter| {
        let file = File::open(&image).unwrap();
        honoured_by(mounter, &file, whole(&image), &[], None).unwrap()
    };
    assert_eq!(honoured(Mounter::Root), Some(true), "to the kernel's overlay they are files");
    assert_eq!(
        honoured(Mounter::User),
        Some(false),
        "fuse-overlayfs would hide what they name, so it goes on doing so"
    );
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
        (0..50).for_each(|i| fuse_whiteout(&path.join(format!(".wh.hidden-{i}"))));
        new_directory(&path.join("new"));
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

/// Where the disk is quick, all may be over before anybody has looked.
fn wait_for_the_first_write(image: &Path, writer: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_under_way(image) && writer.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "nothing was written");
    }
}

#[test]
fn killed_at_any_instant_it_is_healed_and_completed() {
    let instants = if env::var_os("CONDATAINER_SOAK").is_some() { 200 } else { 12 };
    // What is written to memory is written too soon.
    let bench = Bench::on_disk();
    let original = many_whiteouts(&bench);
    let image = bench.path("victim.img");
    let (mut halfway, mut runs) = (0, 0);
    let deadline = Instant::now() + Duration::from_secs(120);
    while runs < instants || (halfway == 0 && Instant::now() < deadline) {
        let instant = runs % instants;
        runs += 1;
        copy(&original, &image);
        let mut child = start(&image);
        wait_for_the_first_write(&image, &mut child);
        std::thread::sleep(Duration::from_millis(3) * instant);
        child.kill().unwrap();
        child.wait().unwrap();
        halfway += u32::from(is_under_way(&image));
        let healed = tool("e2fsck").arg("-p").arg(&image).output().unwrap();
        let said = String::from_utf8_lossy(&healed.stdout);
        assert!(healed.status.code().unwrap() <= 1, "instant {instant}: e2fsck -p: {said}");
        assert_eq!(fsck(&image), Ok(()), "instant {instant}");
        translated(&image).unwrap();
        assert_eq!(kinds(&image), Kinds { fuse: 0, ordinary: 0, opaque: 200, kernel: 10_000 }, "instant {instant}");
        assert_eq!(fsck(&image), Ok(()), "instant {instant}");
    }
    eprintln!("of {runs} runs {halfway} were cut off among the writes");
    assert!(halfway > 0, "no run was cut off among its writes");
}

#[test]
fn what_was_found_is_remembered_until_somebody_writes() {
    let bench = Bench::new();
    let source = bench.path("source");
    with_whiteouts(&source);
    let image = bench.image_of("image", &["-t", "ext3"], 64, &source);
    let file = OpenOptions::new().read(true).write(true).open(&image).unwrap();
    let stamp = || condatainer_formats::ext::probe::stamp(&file, whole(&image)).unwrap();
    assert_eq!(remembered(&file, &stamp()), None);
    let found = find(&file, whole(&image), None).unwrap().unwrap();
    assert_eq!(found, scanned(&image));
    assert_eq!(remembered(&file, &stamp()), Some(found.clone()), "does the file system here have extended attributes?");
    // A mount by the kernel, even for reading only the second time, is recognised; so is debugfs.
    drop(Mounted::new(&image, "rw"));
    assert_eq!(remembered(&file, &stamp()), None);
    find(&file, whole(&image), None).unwrap();
    debugfs_script(&image, "write /dev/null /upper/.wh.one-more\nsif /upper/.wh.one-more mode 0100700\n");
    assert_eq!(remembered(&file, &stamp()), None);
    assert_eq!(find(&file, whole(&image), None).unwrap().unwrap().kinds.fuse, found.kinds.fuse + 1);
    translated(&image).unwrap();
    assert_eq!(remembered(&file, &stamp()), None, "a translation does not count as a mount");
}

/// What `apt install` leaves in `usr/share/doc`. An attribute of the image file has room for 4 KiB at most.
#[test]
fn hundreds_of_opaque_directories_are_remembered() {
    let bench = Bench::new();
    for (count, all) in [(40, true), (150, true), (2000, false)] {
        let source = bench.path(&format!("source-{count}"));
        for i in 0..count {
            let at = source.join(format!("upper/usr/share/doc/libpackage-{i}-dev"));
            fs::create_dir_all(&at).unwrap();
            xattr::set(&at, "user.fuseoverlayfs.opaque", b"y").unwrap();
        }
        fs::create_dir_all(source.join("work")).unwrap();
        let image = bench.image_of(&format!("{count}.img"), &["-t", "ext3", "-N", "8192"], 32, &source);
        let file = OpenOptions::new().read(true).write(true).open(&image).unwrap();
        let stamp = condatainer_formats::ext::probe::stamp(&file, whole(&image)).unwrap();
        let found = find(&file, whole(&image), None).unwrap().unwrap();
        assert_eq!((found.kinds.opaque, found.opaque.is_some()), (count, all));
        assert_eq!(remembered(&file, &stamp), Some(found.clone()), "{count}");
        let lower = bench.path("lower");
        fs::create_dir_all(&lower).unwrap();
        assert_eq!(honoured(&found, std::slice::from_ref(&lower)), all, "{count}: who cannot tell must not say yes");
    }
}

#[test]
fn no_time_to_search_is_no_answer() {
    let bench = Bench::new();
    let image = bench.image("image", &["-t", "ext3"], 16);
    let file = File::open(&image).unwrap();
    assert_eq!(find(&file, whole(&image), Some(Duration::ZERO)).unwrap(), None);
    assert!(find(&file, whole(&image), None).unwrap().is_some());
}

#[test]
fn opaque_directories_matter_where_there_is_something_below() {
    let bench = Bench::new();
    let (source, lower) = (bench.path("source"), bench.path("lower"));
    for dir in ["upper/new/deep", "upper/usr/share/again", "work"] {
        fs::create_dir_all(source.join(dir)).unwrap();
    }
    for dir in ["new", "new/deep", "usr/share/again"] {
        new_directory(&source.join("upper").join(dir));
    }
    let image = bench.image_of("image", &["-t", "ext3"], 16, &source);
    let found = scanned(&image);
    let tops = vec![b"new".to_vec(), b"usr/share/again".to_vec()];
    assert_eq!(found.opaque.clone().map(|mut all| (all.sort(), all).1), Some(tops));
    assert_eq!((found.kinds.fuse, found.kinds.opaque), (6, 3));
    fs::create_dir_all(lower.join("usr/share")).unwrap();
    assert!(!honoured(&found, std::slice::from_ref(&lower)), "the kernel's overlay would show the marks themselves");
    assert_eq!(translated(&image), Ok(Translated { translated: 0, removed: 6, left: 0 }));
    let found = scanned(&image);
    assert_eq!((found.kinds.fuse, found.kinds.opaque), (0, 3));
    let base = support::squashfs(&bench, &lower);
    fs::write(bench.path("base.sqf"), base).unwrap();
    assert!(honoured(&found, std::slice::from_ref(&lower)) && honoured(&found, &[bench.path("base.sqf")]));
    let deleted = Found { kinds: Kinds { kernel: 1, ..found.kinds }, ..found.clone() };
    assert!(!honoured(&deleted, std::slice::from_ref(&lower)), "an old fuse2fs does not tell devices from files");
    fs::create_dir_all(lower.join("usr/share/again/and")).unwrap();
    assert!(!honoured(&found, &[bench.path("base.sqf"), lower.clone()]), "a directory below is hidden");
    assert!(!honoured(&found, &[bench.path("no-such-file")]), "who cannot look cannot tell");
}
