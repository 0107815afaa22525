//! The server beside the tree that it serves, through a real mount.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::Ordering;

use condatainer_formats::ext::Ids;
use condatainer_stack::ids::Show;
use condatainer_stack::layer::Time;
use condatainer_stack::merge::{Point, with_points};
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::statvfs::statvfs;
use nix::unistd::{Whence, lseek};
use support::overlay::{Tmpfs, put, whiteout};
use support::{Mount, stacked, walk};

/// Something of every kind.
fn everything(at: &Path) {
    put(at, "etc/passwd", "root:x:0:0");
    put(at, "bin/tool", "#!/bin/sh\n");
    fs::set_permissions(at.join("bin/tool"), PermissionsExt::from_mode(0o4755)).unwrap();
    fs::hard_link(at.join("bin/tool"), at.join("bin/same")).unwrap();
    fs::hard_link(at.join("bin/tool"), at.join("etc/same")).unwrap();
    symlink("../bin/tool", at.join("etc/link")).unwrap();
    symlink("y".repeat(4000), at.join("long")).unwrap();
    fs::write(at.join("large"), (0..3_000_000_u32).map(|i| (i / 7) as u8).collect::<Vec<_>>()).unwrap();
    let sparse = File::create(at.join("sparse")).unwrap();
    sparse.write_all_at(b"data", 5 << 20).unwrap();
    sparse.set_len((9 << 20) + 7).unwrap();
    for (name, kind, number) in [
        ("fifo", SFlag::S_IFIFO, 0),
        ("socket", SFlag::S_IFSOCK, 0),
        ("disk", SFlag::S_IFBLK, makedev(259, 70_000)),
        ("null", SFlag::S_IFCHR, makedev(1, 3)),
    ] {
        mknod(&at.join(name), kind, Mode::from_bits_truncate(0o640), number).unwrap();
    }
    for i in 0..3000 {
        put(at, &format!("many/{i}"), &i.to_string());
    }
    fs::create_dir(at.join("empty")).unwrap();
    std::os::unix::fs::chown(at.join("etc"), Some(70_000), Some(42)).unwrap();
    xattr::set(at.join("etc"), "user.note", b"of etc").unwrap();
    let times = [-1, 1_700_000_000].map(|seconds| nix::sys::time::TimeSpec::new(seconds, 123_456_789));
    let flags = nix::sys::stat::UtimensatFlags::NoFollowSymlink;
    nix::sys::stat::utimensat(nix::fcntl::AT_FDCWD, &at.join("etc/link"), &times[1], &times[0], flags).unwrap();
}

#[test]
fn a_walk_sees_what_is_there() {
    let memory = Tmpfs::new();
    let tree = memory.at.path().join("tree");
    everything(&tree);
    let expected = walk(&tree);
    let mount = Mount::new(vec![stacked(&tree)]);
    let found = walk(&mount.path());
    for (path, seen) in &expected {
        let mut seen = seen.clone();
        let mut there = found.get(path).unwrap_or_else(|| panic!("{} is missing", path.escape_ascii())).clone();
        // Reading touches.
        (seen.times[0], there.times[0]) = Default::default();
        assert!(seen == there, "{}: {seen:?} and {there:?}", path.escape_ascii());
    }
    assert_eq!(found.len(), expected.len());
    assert_eq!(*mount.told.lock().unwrap(), [""; 0]);

    let at = mount.path();
    let file = File::open(at.join("sparse")).unwrap();
    let places = [(0, Whence::SeekData), (5 << 20, Whence::SeekHole), (0, Whence::SeekHole)];
    let places = places.map(|(from, whence)| lseek(&file, from, whence).unwrap());
    let same = File::open(tree.join("sparse")).unwrap();
    let expected = [(0, Whence::SeekData), (5 << 20, Whence::SeekHole), (0, Whence::SeekHole)];
    assert_eq!(places, expected.map(|(from, whence)| lseek(&same, from, whence).unwrap()));
    assert_eq!(lseek(&file, 100 << 20, Whence::SeekData), Err(Errno::ENXIO));

    let room = statvfs(&at).unwrap();
    assert_eq!((room.name_max(), room.blocks(), room.blocks_free()), (255, 256, 0));
    assert_eq!(names(mount.root()), ["lower"]);
    let dots = nix::dir::Dir::open(&at, nix::fcntl::OFlag::O_RDONLY, Mode::empty()).unwrap();
    let dots: Vec<_> = dots.into_iter().map(Result::unwrap).filter(|e| e.file_name().to_bytes()[0] == b'.').collect();
    let inodes = dots.iter().map(nix::dir::Entry::ino).collect::<Vec<_>>();
    assert_eq!(inodes, [at.metadata().unwrap().ino(), mount.root().metadata().unwrap().ino()]);
}

fn names(at: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(at).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn nothing_can_be_written() {
    let memory = Tmpfs::new();
    let tree = memory.at.path().join("tree");
    everything(&tree);
    let mount = Mount::new(vec![stacked(&tree)]);
    let at = mount.path();
    let code = |result: std::io::Result<()>| result.unwrap_err().raw_os_error();
    let refused = [
        code(OpenOptions::new().write(true).open(at.join("large")).map(drop)),
        code(fs::write(at.join("new"), "")),
        code(fs::create_dir(at.join("new"))),
        code(fs::remove_file(at.join("large"))),
        code(fs::remove_dir(at.join("empty"))),
        code(fs::rename(at.join("large"), at.join("other"))),
        code(fs::hard_link(at.join("large"), at.join("other"))),
        code(symlink("x", at.join("other"))),
        code(fs::set_permissions(at.join("large"), PermissionsExt::from_mode(0o600))),
        code(xattr::set(at.join("large"), "user.note", b"v")),
        code(fs::create_dir(mount.root().join("new"))),
        code(fs::remove_dir(&at)),
    ];
    assert_eq!(refused, [Some(Errno::EROFS as i32); 12]);
}

#[test]
fn a_new_name_costs_one_search_whatever_the_number_of_layers() {
    let memory = Tmpfs::new();
    for count in [1, 6] {
        let layers: Vec<_> = (0..count).map(|layer| memory.at.path().join(format!("{count}-{layer}"))).collect();
        for (number, layer) in layers.iter().enumerate() {
            for name in 0..200 {
                put(layer, &format!("d/{number}-{name}"), "");
            }
        }
        let counted: Vec<_> = layers.iter().map(|layer| std::sync::Arc::new(support::HostLayer::new(layer))).collect();
        let stack = counted.iter().zip(&layers).map(|(layer, path)| condatainer_stack::merge::Stacked {
            path: path.clone(),
            bytes: 0,
            layer: std::sync::Arc::clone(layer) as _,
        });
        let mount = Mount::new(stack.collect());
        let at = mount.path().join("d");
        at.metadata().unwrap();
        let asked = || counted.iter().map(|layer| layer.asked.load(Ordering::Relaxed)).sum::<usize>();
        let before = asked();
        for name in 0..200 {
            at.join(format!("0-{name}")).metadata().unwrap();
            at.join(format!("missing-{name}")).metadata().unwrap_err();
        }
        assert_eq!(asked() - before, 200, "{count} layers");
        for name in 0..200 {
            at.join(format!("0-{name}")).metadata().unwrap();
            at.join(format!("missing-{name}")).metadata().unwrap_err();
        }
        assert_eq!(asked() - before, 200, "the kernel keeps names, missing ones too");
        assert!(counted.iter().all(|layer| layer.listed.load(Ordering::Relaxed) <= 2), "each directory is read once");
    }
}

#[test]
fn shared_directories_are_forgotten() {
    let memory = Tmpfs::new();
    let [low, high] = ["low", "high"].map(|name| memory.at.path().join(name));
    for i in 0..500 {
        put(&low, &format!("d{i}/low"), "");
        put(&high, &format!("d{i}/high"), "");
    }
    let mount = Mount::new(vec![stacked(&low), stacked(&high)]);
    assert_eq!(walk(&mount.path()).len(), 1501);
    assert_eq!(mount.lower.remembered(), 500);
    let says = mount.path().join("d0").metadata().unwrap();
    assert_eq!(says.nlink(), 1);
    // What the kernel drops is dropped here, and has the same number when it comes again.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    mount.drop_names();
    while mount.lower.remembered() > 0 && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(mount.lower.remembered(), 0);
    assert_eq!(mount.path().join("d0").metadata().unwrap().ino(), says.ino());
    assert_eq!(names(&mount.path().join("d7")), ["high", "low"]);
}

#[test]
fn everything_is_the_users_in_plain_mode() {
    let memory = Tmpfs::new();
    let tree = memory.at.path().join("tree");
    everything(&tree);
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    xattr::set(tree.join("bin/tool"), "security.capability", &capability).unwrap();
    xattr::set(tree.join("bin"), "trusted.some", b"v").unwrap();
    xattr::set(tree.join("bin"), "user.overlay.origin", b"v").unwrap();
    let user = Ids { uid: 1234, gid: 99 };
    let mount = Mount::shown(vec![stacked(&tree)], Show::Plain(user));
    let found = walk(&mount.path());
    assert!(found.values().all(|seen| seen.ids == (1234, 99)));
    assert!(found[&b"bin/tool"[..]].xattrs.is_empty() && found[&b"bin"[..]].xattrs.is_empty());
    assert_eq!(found[&b"etc"[..]].xattrs, [(b"user.note".to_vec(), b"of etc".to_vec())]);
    let everything = Mount::new(vec![stacked(&tree)]);
    let found = walk(&everything.path());
    assert_eq!(found[&b"bin/tool"[..]].xattrs, [(b"security.capability".to_vec(), capability.to_vec())]);
    assert_eq!((found[&b"etc"[..]].ids, found[&b"bin"[..]].xattrs.len()), ((70_000, 42), 0));
}

#[test]
fn mount_points_are_made_where_the_images_lead() {
    let memory = Tmpfs::new();
    let [base, module] = ["base", "module"].map(|name| memory.at.path().join(name));
    put(&base, "run/there", "");
    put(&base, "etc/passwd", "of the image");
    fs::create_dir_all(base.join("var")).unwrap();
    symlink("/run", base.join("var/run")).unwrap();
    symlink("data/home", base.join("home")).unwrap();
    symlink("../../run/systemd/stub", base.join("etc/resolv.conf")).unwrap();
    symlink("loop", base.join("loop")).unwrap();
    put(&base, "gone/old", "");
    put(&base, "opt/old", "");
    put(&module, "run/module", "");
    whiteout(&module.join("gone"));
    put(&module, "opt/.wh..wh..opq", "");
    let user = Ids { uid: 1234, gid: 99 };
    let point = |path: &'static str, file, mode| Point { path: path.as_bytes(), file, mode, ids: user };
    let wanted = [
        point("/proc", false, 0o555),
        point("/tmp", false, 0o1777),
        point("/var/run/user/7", false, 0o700),
        point("/home/alice", false, 0o700),
        point("/etc/passwd", true, 0o644),
        point("/etc/resolv.conf", true, 0o644),
        point("/etc/group", true, 0o644),
        point("/gone", false, 0o755),
        point("/opt/new", false, 0o755),
        point("/etc/passwd/below", false, 0o755),
        point("/run/there", false, 0o755),
        point("/loop/x", false, 0o755),
        point("/etc/../etc/./hosts", true, 0o644),
    ];
    let (merged, unmade) =
        with_points(vec![stacked(&base), stacked(&module)], &wanted, Ids::ROOT, Time::default()).unwrap();
    let unmade: Vec<_> = unmade.iter().map(|one| format!("{}: {}", one.path.escape_ascii(), one.why)).collect();
    assert_eq!(
        unmade,
        [
            "/etc/passwd/below: the image has a regular file on the way to it",
            "/run/there: the image has a regular file there",
            "/loop/x: leads through too many symbolic links of the image",
        ]
    );
    let mount = Mount::of(merged, Show::everything());
    let at = mount.path();
    assert_eq!(names(&at), ["data", "etc", "gone", "home", "loop", "opt", "proc", "run", "tmp", "var"]);
    assert_eq!(names(&at.join("run")), ["module", "systemd", "there", "user"]);
    assert_eq!(names(&at.join("etc")), ["group", "hosts", "passwd", "resolv.conf"]);
    assert_eq!((names(&at.join("gone")).len(), names(&at.join("opt"))), (0, vec!["new".into()]));
    let says = at.join("data/home/alice").metadata().unwrap();
    assert_eq!((says.mode() & 0o7777, says.uid(), says.gid()), (0o700, 1234, 99));
    assert_eq!(at.join("tmp").metadata().unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(fs::read_to_string(at.join("etc/passwd")).unwrap(), "of the image");
    assert!(at.join("run/systemd/stub").is_file());
}

#[test]
fn what_lies_elsewhere_is_an_error_and_is_told_once() {
    let memory = Tmpfs::new();
    let [low, high] = ["low", "high"].map(|name| memory.at.path().join(name));
    put(&low, "moved/file", "");
    put(&high, "new/own", "");
    put(&high, "meta", "\0\0\0");
    xattr::set(high.join("new"), "trusted.overlay.redirect", b"/moved").unwrap();
    xattr::set(high.join("meta"), "trusted.overlay.metacopy", b"").unwrap();
    let mount = Mount::new(vec![stacked(&low), stacked(&high)]);
    for _ in 0..2 {
        let codes = [
            fs::read_dir(mount.path().join("new")).and_then(Iterator::collect::<Result<Vec<_>, _>>).map(drop),
            fs::read(mount.path().join("meta")).map(drop),
        ];
        assert_eq!(codes.map(|result| result.map_err(|error| error.raw_os_error())), [Err(Some(Errno::EIO as i32)); 2]);
    }
    let told = mount.told.lock().unwrap().join("\n");
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("/high: ") && told.contains("redirect_dir") && told.contains("metacopy"), "{told}");
}
