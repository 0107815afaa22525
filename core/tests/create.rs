//! Making images with the machine's mke2fs, judged by e2fsck and by Apptainer's own check.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use condatainer_core::create::{CreateError, MIN_SIZE, Made, Profile, Spec};
use condatainer_core::ext::{Ids, Owner, probe};
use condatainer_core::image::Kind;
use support::{Bench, fsck, stat, whole};

const USER: Ids = Ids { uid: 1_234_567, gid: 70_001 };

fn create(spec: &Spec) -> Result<Made, CreateError> {
    condatainer_core::create::create(spec, &mut |_, _| {})
}

fn leftovers(bench: &Bench) -> Vec<String> {
    let names = fs::read_dir(bench.dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn every_profile_for_users_and_root() {
    let bench = Bench::new();
    for profile in [Profile::Small, Profile::Balanced, Profile::Large] {
        for owner in [USER, Ids::ROOT] {
            let path = bench.path("env.img");
            let spec = Spec { profile, label: Some("env".into()), ..Spec::new(path.clone(), 300 << 20, owner) };
            let image = create(&spec).unwrap().image;
            assert_eq!((&image.kind, image.size_bytes), (&Kind::Ext(3), 300 << 20));
            assert_eq!(fsck(&path), Ok(()));
            let probe = probe(&File::open(&path).unwrap(), whole(&path)).unwrap();
            let expected = Some(Owner { uid: owner.uid, gid: owner.gid, mode: 0o755 });
            assert_eq!((probe.upper.owner(), probe.work.owner()), (expected, expected));
            assert_eq!(stat(&path, "/"), (Ids::ROOT, 0o755));
            assert_eq!((probe.apptainer.clone(), probe.state.is_clean()), (Ok(()), true));
            assert_eq!(probe.label, "env");
            let ratio = (300 << 20) / u64::from(probe.inodes_total);
            assert!(ratio.abs_diff(profile.bytes_per_inode()) < profile.bytes_per_inode() / 20, "{profile:?}: {ratio}");
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn sparse_unless_allocated() {
    let bench = Bench::new();
    let sparse = create(&Spec::new(bench.path("sparse.img"), 1 << 30, USER)).unwrap().image;
    assert!(sparse.allocated_bytes < 64 << 20, "{}", sparse.allocated_bytes);
    let spec = Spec { allocate: true, ..Spec::new(bench.path("full.img"), 100 << 20, USER) };
    let full = create(&spec).unwrap().image;
    assert!(full.allocated_bytes >= 100 << 20, "{}", full.allocated_bytes);
    assert_eq!(fsck(&full.path), Ok(()));
}

#[test]
fn the_smallest_and_an_odd_size() {
    let bench = Bench::new();
    let image = create(&Spec::new(bench.path("least.img"), MIN_SIZE, USER)).unwrap().image;
    assert_eq!(fsck(&image.path), Ok(()));
    let image = create(&Spec::new(bench.path("odd.img"), MIN_SIZE + 5000, USER)).unwrap().image;
    assert_eq!((image.size_bytes, fsck(&image.path)), (MIN_SIZE + 4096, Ok(())));
}

#[test]
fn nothing_is_ever_replaced() {
    let bench = Bench::new();
    for name in ["file", "dangling"] {
        let path = bench.path(name);
        match name {
            "file" => fs::write(&path, "precious").unwrap(),
            _ => std::os::unix::fs::symlink("nowhere", &path).unwrap(),
        }
        let error = create(&Spec::new(path, MIN_SIZE, USER)).unwrap_err();
        assert!(matches!(error, CreateError::Exists { .. }), "{error}");
    }
    assert_eq!(fs::read_to_string(bench.path("file")).unwrap(), "precious");
    assert_eq!(leftovers(&bench).len(), 2, "{:?}", leftovers(&bench));
}

#[test]
fn awkward_names_and_umask() {
    let bench = Bench::new();
    let name = bench.path("a name?with=all, the trouble.img");
    let image = create(&Spec::new(name.clone(), MIN_SIZE, USER)).unwrap().image;
    assert_eq!(leftovers(&bench), [name.file_name().unwrap().to_str().unwrap()]);
    let plain = File::create(bench.path("plain")).unwrap().metadata().unwrap();
    assert_eq!(image.mode, plain.permissions().mode() & 0o7777);
    assert_eq!(image.uid, plain.uid());
}

#[test]
fn too_little_space_is_told_before_anything_is_done() {
    let bench = Bench::new();
    let spec = Spec { allocate: true, ..Spec::new(bench.path("vast.img"), 15 << 40, USER) };
    let error = create(&spec).unwrap_err();
    assert!(matches!(error, CreateError::NoSpace { .. }), "{error}");
    assert_eq!(leftovers(&bench), [] as [&str; 0]);
}

#[test]
fn a_failing_scratch_directory_leaves_nothing() {
    let bench = Bench::new();
    let spec = Spec { tmpdir: Some("/nowhere/at/all".into()), ..Spec::new(bench.path("env.img"), MIN_SIZE, USER) };
    let error = create(&spec).unwrap_err();
    assert!(error.to_string().contains("set TMPDIR"), "{error}");
    assert_eq!(leftovers(&bench), [] as [&str; 0]);
}
