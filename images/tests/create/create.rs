//! Making images with the machine's mke2fs, judged by e2fsck and by Apptainer's own check.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use condatainer_formats::ext::{Ids, Owner, probe};
use condatainer_images::image::Kind;
use condatainer_images::verbs::create::{Contents, CreateError, MIN_SIZE, Made, Profile, Spec};
use support::{Bench, Mounted, debugfs, fsck, ok, stat, whole};
use tempfile::TempDir;

const USER: Ids = Ids { uid: 1_234_567, gid: 70_001 };
const IMAGE: &str = "CONDATAINER_TEST_CREATE_IMAGE";

fn create(spec: &Spec) -> Result<Made, CreateError> {
    condatainer_images::verbs::create::create(spec, &mut |_, _| {})
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

/// A tree that the image is to hold from the start.
#[test]
fn what_is_given_is_in_it() {
    let bench = Bench::new();
    let tree = bench.dir.path().join("tree");
    for dir in ["upper/ext3/env/bin", "work"] {
        fs::create_dir_all(tree.join(dir)).unwrap();
    }
    for name in ["", "upper", "work"] {
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(tree.join("upper/ext3/env/bin/tool"), "made").unwrap();
    fs::hard_link(tree.join("upper/ext3/env/bin/tool"), tree.join("upper/ext3/env/bin/same")).unwrap();
    let owner = Ids { uid: tree.metadata().unwrap().uid(), gid: tree.metadata().unwrap().gid() };
    let contents = Some(Contents { directory: tree.clone(), owner });
    let spec = |name: &str| Spec { contents: contents.clone(), ..Spec::new(bench.path(name), MIN_SIZE, owner) };
    create(&spec("env.img")).unwrap();
    assert_eq!(fsck(&bench.path("env.img")), Ok(()));
    let said = debugfs(&bench.path("env.img"), "stat upper/ext3/env/bin/same");
    assert!(said.contains("Links: 2"), "{said}");
    // All of it is the image's owner's, whoever has made it.
    create(&Spec { owner: USER, ..spec("given.img") }).unwrap();
    assert_eq!(fsck(&bench.path("given.img")), Ok(()));
    for path in ["upper", "work", "upper/ext3/env/bin", "upper/ext3/env/bin/tool"] {
        assert_eq!(stat(&bench.path("given.img"), path).0, USER, "{path}");
    }

    fs::write(tree.join("upper/large"), vec![7; 70 << 20]).unwrap();
    let error = create(&spec("full.img")).unwrap_err();
    assert!(matches!(error, CreateError::ContentsTooLarge { size: MIN_SIZE, .. }), "{error}");
    fs::remove_dir_all(&tree).unwrap();
    fs::remove_file(bench.path("given.img")).unwrap();
    assert_eq!(leftovers(&bench), ["env.img"]);
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
fn awkward_names_and_no_readers_but_the_owner() {
    let bench = Bench::new();
    let name = bench.path("a name?with=all, the trouble.img");
    let image = create(&Spec::new(name.clone(), MIN_SIZE, USER)).unwrap().image;
    assert_eq!(leftovers(&bench), [name.file_name().unwrap().to_str().unwrap()]);
    let plain = File::create(bench.path("plain")).unwrap().metadata().unwrap();
    assert_eq!((image.mode, image.uid), (0o600, plain.uid()), "whatever the umask allows");
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
fn a_tmpdir_that_is_not_there_is_said() {
    let bench = Bench::new();
    let spec = Spec { tmpdir: Some("/nowhere/at/all".into()), ..Spec::new(bench.path("env.img"), MIN_SIZE, USER) };
    let error = create(&spec).unwrap_err();
    assert!(error.to_string().ends_with("the directory /nowhere/at/all does not exist; make it first"), "{error}");
    assert_eq!(leftovers(&bench), [] as [&str; 0]);
}

/// A file system of its own, mounted as long as this lives.
struct Disk(TempDir);

impl Disk {
    fn tmpfs(options: &str) -> Self {
        let at = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        ok(command.args(["-t", "tmpfs", "-o", options, "none"]).arg(at.path()).output().unwrap(), "mount");
        Self(at)
    }

    fn names(&self) -> usize {
        fs::read_dir(self.0.path()).unwrap().count()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(self.0.path()).status().unwrap().success();
        assert!(done || std::thread::panicking(), "umount");
    }
}

#[test]
fn made_elsewhere_and_moved() {
    let bench = Bench::new();
    fs::create_dir(bench.path("near")).unwrap();
    let far = Disk::tmpfs("size=64m");
    for (tmpdir, copied) in [(bench.path("near"), false), (far.0.path().to_owned(), true)] {
        for allocate in [false, true] {
            let path = bench.path("env.img");
            let spec = Spec { allocate, tmpdir: Some(tmpdir.clone()), ..Spec::new(path.clone(), 1 << 30, USER) };
            let mut told = Vec::new();
            let made =
                condatainer_images::verbs::create::create(&spec, &mut |done, total| told.push((done, total))).unwrap();
            assert_eq!(fsck(&path), Ok(()));
            assert_eq!(stat(&path, "/upper"), (USER, 0o755));
            assert_eq!(made.image.allocated_bytes >= 1 << 30, allocate, "{}", made.image.allocated_bytes);
            assert_eq!(told.is_empty(), !copied && !allocate, "{told:?}");
            assert_eq!((leftovers(&bench).len(), fs::read_dir(&tmpdir).unwrap().count()), (2, 0));
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_disk_with_too_little_room_is_told_before_anything_is_done() {
    for (options, reason) in [("size=4m", " are needed at once, "), ("nr_inodes=1", "0 inodes are free in ")] {
        let disk = Disk::tmpfs(options);
        let error = create(&Spec::new(disk.0.path().join("env.img"), 1 << 30, USER)).unwrap_err().to_string();
        assert!(error.contains(reason) && !error.contains('\n'), "{error}");
        let bench = Bench::new();
        let spec = Spec { tmpdir: Some(disk.0.path().into()), ..Spec::new(bench.path("env.img"), 1 << 30, USER) };
        let error = create(&spec).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert_eq!((disk.names(), leftovers(&bench).len()), (0, 0));
    }
}

#[test]
fn what_is_asked_for_at_once_is_enough() {
    for size in [MIN_SIZE, 1 << 30, 100 << 30] {
        let refused = Disk::tmpfs("size=1m");
        let error = create(&Spec::new(refused.0.path().join("env.img"), size, USER)).unwrap_err();
        let CreateError::NoSpace { needed, .. } = error else { panic!("{error}") };
        let disk = Disk::tmpfs(&format!("size={needed}"));
        let made = create(&Spec::new(disk.0.path().join("env.img"), size, USER)).unwrap();
        assert!(made.is_larger_than_free());
        assert_eq!((fsck(&made.image.path), disk.names()), (Ok(()), 1));
    }
}

#[test]
fn a_disk_that_becomes_full_leaves_nothing() {
    let bench = Bench::new();
    let mounted = Mounted::new(&bench.image("disk", &["-t", "ext4", "-m", "0"], 4 << 10), "rw");
    let (path, filler) = (mounted.at.path().join("env.img"), mounted.at.path().join("filler"));
    let spec = Spec { allocate: true, ..Spec::new(path, 3 << 30, USER) };
    let mut fill = |done, _| {
        if done == 1 << 30 {
            let free = nix::sys::statvfs::statvfs(mounted.at.path()).unwrap();
            let bytes = (free.blocks_available() - 64) * free.fragment_size();
            let file = File::create(&filler).unwrap();
            nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, bytes as i64).unwrap();
        }
    };
    let error = condatainer_images::verbs::create::create(&spec, &mut fill).unwrap_err().to_string();
    assert!(error.contains("no space is left there; nothing was made"), "{error}");
    let mut names: Vec<_> = fs::read_dir(mounted.at.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["filler", "lost+found", "upper", "work"]);
}

#[test]
fn a_file_system_without_such_large_files_is_said() {
    let bench = Bench::new();
    // With blocks of 1 KiB and no extents a file ends at 16 GiB.
    let mounted = Mounted::new(&bench.image("disk", &["-t", "ext3", "-b", "1024"], 64), "rw");
    let error = create(&Spec::new(mounted.at.path().join("env.img"), 20 << 30, USER)).unwrap_err().to_string();
    assert!(error.contains("cannot hold a file of 20.00 GiB; make it smaller (-s), or elsewhere"), "{error}");
}

/// Not a test of its own, but a create in a process that a test has prepared.
#[test]
fn victim() {
    if let Some(path) = std::env::var_os(IMAGE) {
        match create(&Spec::new(path.into(), MIN_SIZE, USER)) {
            Ok(_) => println!("MADE"),
            Err(error) => println!("REFUSED {error}"),
        }
    }
}

/// What a create says in a shell of its own mount namespace after `script`.
fn prepared(image: &Path, script: &str) -> String {
    let script = format!("set -e; {script}; exec \"$0\" --exact victim --nocapture");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]).arg(std::env::current_exe().unwrap()).env(IMAGE, image);
    let output = ok(command.output().unwrap(), &script);
    let said = output.lines().find_map(|line| line.split_once("REFUSED "));
    said.map_or_else(|| output.contains("MADE").to_string(), |(_, said)| said.to_owned())
}

#[test]
fn what_the_process_may_not_do_or_lacks() {
    let bench = Bench::new();
    let image = bench.path("env.img");
    let limit = prepared(&image, "ulimit -f 1000");
    assert!(limit.contains("your limit on file sizes is ") && limit.contains("(ulimit -f)"), "{limit}");
    let missing =
        prepared(&image, "mount --bind /dev/null $(realpath $(PATH=$PATH:/usr/sbin:/sbin command -v mke2fs))");
    assert!(missing.ends_with("mke2fs was not found; install the package e2fsprogs"), "{missing}");
    assert_eq!(prepared(&image, "export TMPDIR=/nowhere/at/all"), "true", "no temporary directory is needed");
    fs::remove_file(&image).unwrap();
    let sealed = format!("mount --bind {d} {d}; mount -o remount,bind,ro {d}", d = bench.dir.path().display());
    let sealed = prepared(&image, &sealed);
    assert!(sealed.contains("you cannot make files in ") && sealed.contains("make it elsewhere"), "{sealed}");
    assert_eq!(leftovers(&bench), [] as [&str; 0]);
}

#[test]
fn a_configuration_of_mke2fs_has_no_say() {
    let bench = Bench::new();
    let (image, config) = (bench.path("env.img"), bench.path("mke2fs.conf"));
    let text = "[defaults]\nbase_features = sparse_super,large_file,filetype,extent,metadata_csum\n\
                [fs_types]\next3 = {\nfeatures = has_journal,extent,64bit\nblocksize = 1024\n}\n";
    fs::write(&config, text).unwrap();
    assert_eq!(prepared(&image, &format!("export MKE2FS_CONFIG={}", config.display())), "true");
    let probe = probe(&File::open(&image).unwrap(), whole(&image)).unwrap();
    assert_eq!((probe.apptainer, probe.block_size), (Ok(()), 4096));
}

#[test]
fn what_a_killed_create_left_is_removed_by_the_next() {
    let bench = Bench::new();
    let draft = bench.path(".env.img.condatainer-aB3xyZ.new");
    fs::write(&draft, "half an image").unwrap();
    fs::write(bench.path(".mine.new"), "precious").unwrap();
    let made = create(&Spec::new(bench.path("env.img"), MIN_SIZE, USER)).unwrap();
    assert_eq!(made.swept, [draft]);
    assert_eq!(leftovers(&bench).len(), 2);
}
