//! Telling kinds apart, on real files of every kind.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use condatainer_formats::ext::Ids;
use condatainer_images::image::{ImageError, Kind, PartitionFs, identify, open};
use condatainer_images::verbs::chown::{Request, chown};
use support::{Bench, Part, fsck, sif, squashfs, tool};

fn message(path: &Path) -> String {
    let message = identify(path).unwrap_err().to_string();
    assert!(message.starts_with(&path.display().to_string()) && !message.contains('\n'), "{message}");
    message
}

#[test]
fn names_do_not_count() {
    let bench = Bench::new();
    for (options, kind) in [(["-t", "ext2"], "ext2"), (["-t", "ext3"], "ext3"), (["-t", "ext4"], "ext4")] {
        assert_eq!(identify(&bench.image("x.sqf", &options, 16)).unwrap().kind.name(), kind);
    }
    fs::write(bench.path("x.img"), squashfs(&bench, &bench.tree())).unwrap();
    assert_eq!(identify(&bench.path("x.img")).unwrap().kind, Kind::Squashfs);
    assert_eq!(identify(bench.dir.path()).unwrap().kind, Kind::Directory);
}

#[test]
fn a_sif_with_an_overlay_is_probed_and_chowned_at_its_offset() {
    let bench = Bench::new();
    let base = squashfs(&bench, &bench.tree());
    let overlay = fs::read(bench.image("overlay", &["-t", "ext3"], 16)).unwrap();
    let stray = vec![0; 8192];
    let parts = [
        Part { fs: 1, role: 2, group: 1, content: &base },
        Part { fs: 2, role: 4, group: 9, content: &stray },
        Part { fs: 2, role: 4, group: 1, content: &overlay },
    ];
    let path = bench.path("a.sif");
    let bytes = sif(&parts);
    fs::write(&path, &bytes).unwrap();

    let opened = open(&path).unwrap();
    let Kind::Sif(found) = &opened.image.kind else { panic!("{:?}", opened.image.kind) };
    assert_eq!(found.primary().unwrap().fs, PartitionFs::Squashfs);
    assert_eq!(found.overlays().map(|p| p.id).collect::<Vec<_>>(), [3]);
    let window = opened.image.ext_window().unwrap();
    assert_eq!(window.size, 16 << 20);
    assert_eq!(opened.probe().unwrap().unwrap().upper.owner().unwrap().ids(), Ids::ROOT);

    let user = Ids { uid: 70_000, gid: 80_000 };
    chown(&path, &Request::new(user, user), &mut |_, _| {}).unwrap();
    assert_eq!(opened.probe().unwrap().unwrap().upper.owner().unwrap().ids(), user);
    let after = fs::read(&path).unwrap();
    let (start, end) = (window.offset as usize, (window.offset + window.size) as usize);
    assert!(after[..start] == bytes[..start] && after[end..] == bytes[end..]);
    fs::write(bench.path("cut"), &after[start..end]).unwrap();
    assert_eq!(fsck(&bench.path("cut")), Ok(()));
}

#[test]
fn an_unclean_overlay_in_a_sif_is_cleaned_at_its_offset() {
    let bench = Bench::new();
    let image = bench.image("overlay", &["-t", "ext3"], 16);
    support::debugfs_write(&image, "ssv state 0");
    let overlay = fs::read(&image).unwrap();
    let path = bench.path("odd?name.sif");
    fs::write(&path, sif(&[Part { fs: 2, role: 4, group: 1, content: &overlay }])).unwrap();
    let request = Request { replay: true, ..Request::new(Ids::ROOT, Ids { uid: 1, gid: 1 }) };
    assert!(support::attempt(&path, &request).unwrap().replayed);
    assert!(open(&path).unwrap().probe().unwrap().unwrap().state.is_clean());
}

#[test]
fn a_plain_sif_has_nothing_to_probe() {
    let bench = Bench::new();
    let base = squashfs(&bench, &bench.tree());
    let path = bench.path("base.sif");
    fs::write(&path, sif(&[Part { fs: 1, role: 2, group: 1, content: &base }])).unwrap();
    assert!(open(&path).unwrap().probe().unwrap().is_none());
    let error = chown(&path, &Request::new(Ids::ROOT, Ids::ROOT), &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("is a sif without a writable overlay"), "{error}");
}

#[test]
fn a_launch_line_shifts_the_content() {
    let bench = Bench::new();
    let line = b"#!/usr/bin/env run-singularity\n";
    let image = fs::read(bench.image("bare", &["-t", "ext3"], 16)).unwrap();
    for (content, kind) in [(image, "ext3"), (squashfs(&bench, &bench.tree()), "squashfs")] {
        let path = bench.path("launched");
        fs::write(&path, [line.to_vec(), content].concat()).unwrap();
        let found = identify(&path).unwrap();
        assert_eq!((found.kind.name(), found.content.offset), (kind, 31));
    }
    let launched = bench.path("launched.img");
    fs::write(&launched, [line.to_vec(), fs::read(bench.path("bare")).unwrap()].concat()).unwrap();
    let error = chown(&launched, &Request::new(Ids::ROOT, Ids { uid: 1, gid: 1 }), &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("begins at byte 31"), "{error}");
}

#[test]
fn truncated_images_say_so() {
    let bench = Bench::new();
    let squash = squashfs(&bench, &bench.tree());
    fs::write(bench.path("short.sqf"), &squash[..200]).unwrap();
    assert!(message(&bench.path("short.sqf")).ends_with("are missing at the end of its squashfs; copy it again"));
    let image = bench.image("short.img", &["-t", "ext3"], 16);
    fs::write(&image, &fs::read(&image).unwrap()[..5 << 20]).unwrap();
    assert!(message(&image).contains("is truncated: 11.00 MiB are missing at the end of its ext file system"));
    let whole = sif(&[Part { fs: 1, role: 2, group: 1, content: &squash }]);
    for length in [100, 4096, 20_000, whole.len() - 1] {
        fs::write(bench.path("short.sif"), &whole[..length]).unwrap();
        assert!(
            message(&bench.path("short.sif")).ends_with("are missing at the end of its SIF; copy it again"),
            "{length}"
        );
    }
}

#[test]
fn other_things_are_named() {
    let bench = Bench::new();
    let tree = bench.tree();
    let tar = bench.path("a.tar");
    support::ok(tool("tar").arg("-cf").arg(&tar).arg("-C").arg(&tree).arg(".").output().unwrap(), "tar");
    assert!(message(&tar).contains("is a tar archive"));
    support::ok(tool("gzip").arg("-k").arg(&tar).output().unwrap(), "gzip");
    assert!(message(&bench.path("a.tar.gz")).contains("is a gzip archive"));
    let cases: [(&str, &[u8], &str); 5] = [
        ("empty", b"", "is empty"),
        ("zeros", &[0; 8192], "unformatted"),
        ("random", &[0x91, 0xC3, 7, 8, 9], "not an image that condatainer knows"),
        ("qcow", b"QFI\xfb\0\0\0\x03", "a qcow2 disk image"),
        ("def", b"Bootstrap: docker\nFrom: x\n", "a container definition"),
    ];
    for (name, bytes, what) in cases {
        fs::write(bench.path(name), bytes).unwrap();
        assert!(message(&bench.path(name)).contains(what), "{name}");
    }
    fs::create_dir(bench.path("oci")).unwrap();
    fs::write(bench.path("oci/oci-layout"), "{}").unwrap();
    assert!(message(&bench.path("oci")).contains("an OCI image layout"));
    nix::unistd::mkfifo(&bench.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(message(&bench.path("fifo")).contains("is a fifo"));
    let _socket = std::os::unix::net::UnixListener::bind(bench.path("socket")).unwrap();
    assert!(message(&bench.path("socket")).contains("is a socket"));
}

#[test]
fn what_can_be_told_of_the_file() {
    let bench = Bench::new();
    let image = bench.image("sparse", &["-t", "ext3"], 512);
    fs::set_permissions(&image, fs::Permissions::from_mode(0o640)).unwrap();
    let found = identify(&image).unwrap();
    assert_eq!((found.size_bytes, found.mode), (512 << 20, 0o640));
    assert!(found.allocated_bytes < 64 << 20);
    assert!(found.is_still_at(&image));
    fs::rename(bench.image("other", &["-t", "ext3"], 16), &image).unwrap();
    assert!(!found.is_still_at(&image));
    assert!(matches!(identify(&image.join("below")), Err(ImageError::NotFound { .. })));
}
