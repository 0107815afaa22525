//! The server beside the tree that it serves, through a real mount.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod changes;
#[path = "../support/oracle.rs"]
#[allow(dead_code, unreachable_pub)]
mod oracle;
mod points;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use condatainer_formats::ext::Ids;
use condatainer_formats::source::Window;
use condatainer_formats::squashfs::Budget;
use condatainer_stack::ids::Show;
use condatainer_stack::layer::Layer;
use condatainer_stack::layer::ext::{ExtLayer, Start};
use condatainer_stack::layer::squashfs::SquashfsLayer;
use condatainer_stack::merge::Stacked;
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::statvfs::statvfs;
use nix::unistd::{Whence, lseek};
use support::overlay::{Overlay, Tmpfs, put};
use support::{HostLayer, Mount, Seen, stacked, walk};

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
    assert_same(&found, &expected, "directory");
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

/// Compares all but the time of the last reading, which reading changes.
fn assert_same(found: &BTreeMap<Vec<u8>, Seen>, expected: &BTreeMap<Vec<u8>, Seen>, label: &str) {
    for (path, seen) in expected {
        let place = path.escape_ascii();
        let mut there = found.get(path).unwrap_or_else(|| panic!("{label}: {place} is missing")).clone();
        there.times[0] = seen.times[0];
        let short = |seen: &Seen| Seen { content: Vec::new(), ..seen.clone() };
        assert_eq!(short(&there), short(seen), "{label}: {place}");
        assert!(there.content == seen.content, "{label}: {place} reads differently");
    }
    assert_eq!(found.len(), expected.len(), "{label}");
}

fn names(at: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(at).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// An image as a layer, and as the kernel has mounted it.
fn image(path: &Path) -> (Stacked, oracle::Mounted) {
    let file = File::open(path).unwrap();
    let bytes = file.metadata().unwrap().len();
    let layer: Arc<dyn Layer> = if path.extension().unwrap() == "sqf" {
        Arc::new(SquashfsLayer::open(file, Window::whole(bytes), Budget::default()).unwrap())
    } else {
        Arc::new(ExtLayer::open(file, Window::whole(bytes), Start::Root, 1 << 20).unwrap())
    };
    (Stacked { path: path.into(), bytes, layer }, oracle::Mounted::new(path))
}

#[test]
fn images_are_seen_as_the_kernel_sees_them() {
    let memory = Tmpfs::new();
    let tree = memory.at.path().join("tree");
    everything(&tree);
    xattr::set(tree.join("bin/tool"), "user.note", &[b'v'; 300]).unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    xattr::set(tree.join("bin/tool"), "security.capability", &capability).unwrap();
    let made = |name: &str, program: &str, words: &[&str]| {
        let path = memory.at.path().join(name);
        let mut command = support::tool(program);
        let words = words.iter().map(|word| match *word {
            "TREE" => tree.as_os_str().to_owned(),
            "IMAGE" => path.as_os_str().to_owned(),
            word => word.into(),
        });
        command.args(words);
        support::ok(command.output().unwrap(), program);
        path
    };
    let squashed = ["TREE", "IMAGE", "-quiet", "-no-progress", "-comp"];
    let images = [
        made("zstd.sqf", "mksquashfs", &[&squashed[..], &["zstd"]].concat()),
        made("xz.sqf", "mksquashfs", &[&squashed[..], &["xz", "-b", "4096"]].concat()),
        made("ext3.img", "mke2fs", &["-q", "-t", "ext3", "-b", "4096", "-d", "TREE", "IMAGE", "32M"]),
        made("ext4.img", "mke2fs", &["-q", "-t", "ext4", "-b", "4096", "-d", "TREE", "IMAGE", "32M"]),
    ];
    let both = images.each_ref().map(|path| image(path));
    for (path, (layer, kernel)) in images.iter().zip(&both) {
        let mount = Mount::new(vec![layer.clone()]);
        assert_same(&walk(&mount.path()), &walk(kernel.path()), &path.display().to_string());
        assert_eq!(*mount.told.lock().unwrap(), [""; 0]);
    }
    // All of them as one tree, beside the kernel's own overlay.
    let order: Vec<_> = both.iter().rev().map(|(_, kernel)| kernel.path()).collect();
    let overlay = Overlay::new(&order, None);
    let mount = Mount::new(both.iter().map(|(layer, _)| layer.clone()).collect());
    let without_links = |mut all: BTreeMap<Vec<u8>, Seen>| {
        // What the kernel says of a merged directory's size and links is its topmost layer's, or 1.
        let directories = all.values_mut().filter(|seen| seen.mode & 0o170_000 == 0o040_000);
        directories.for_each(|seen| (seen.size, seen.links) = (0, 1));
        all
    };
    assert_same(&without_links(walk(&mount.path())), &without_links(walk(&overlay.path())), "merged");
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
        let counted: Vec<_> = layers.iter().map(|layer| Arc::new(HostLayer::new(layer))).collect();
        let stack = counted.iter().zip(&layers).map(|(layer, path)| Stacked {
            path: path.clone(),
            bytes: 0,
            layer: Arc::clone(layer) as _,
        });
        let mount = Mount::new(stack.collect());
        let at = mount.path().join("d");
        at.metadata().unwrap();
        let asked = || {
            let layers = counted.iter().map(|layer| layer.asked.load(Ordering::Relaxed)).sum::<usize>();
            (mount.tree.lookups.load(Ordering::Relaxed), layers)
        };
        let before = asked();
        // The second time the kernel has kept all names, the missing ones too.
        for _ in 0..2 {
            for name in 0..200 {
                at.join(format!("0-{name}")).metadata().unwrap();
                at.join(format!("missing-{name}")).metadata().unwrap_err();
            }
            let now = asked();
            assert_eq!((now.0 - before.0, now.1 - before.1), (400, 200), "{count} layers");
        }
        assert!(counted.iter().all(|layer| layer.listed.load(Ordering::Relaxed) <= 2), "each directory is read once");
    }
}

#[test]
fn what_was_read_is_not_asked_about_again() {
    let memory = Tmpfs::new();
    let tree = memory.at.path().join("tree");
    (0..50).for_each(|name| put(&tree, &format!("d/{name}"), "content"));
    let mount = Mount::new(vec![stacked(&tree)]);
    let at = mount.path().join("d");
    at.metadata().unwrap();
    let before = mount.tree.asked.load(Ordering::Relaxed);
    for name in 0..50 {
        fs::read(at.join(name.to_string())).unwrap();
        at.join(name.to_string()).metadata().unwrap();
    }
    assert_eq!(fs::read_dir(&at).unwrap().filter(|entry| entry.as_ref().unwrap().metadata().is_ok()).count(), 50);
    at.metadata().unwrap();
    assert_eq!(mount.tree.asked.load(Ordering::Relaxed), before);
}

#[test]
fn an_image_that_somebody_cuts_off_is_an_error() {
    let memory = Tmpfs::new();
    let tree = memory.at.path().join("tree");
    everything(&tree);
    let path = memory.at.path().join("image.sqf");
    let mut command = Command::new("mksquashfs");
    command.args([&tree, &path]).args(["-quiet", "-no-progress", "-noD"]);
    support::ok(command.output().unwrap(), "mksquashfs");
    let (layer, kernel) = image(&path);
    drop(kernel);
    let mount = Mount::new(vec![layer]);
    let at = mount.path();
    assert_eq!(fs::read(at.join("etc/passwd")).unwrap(), b"root:x:0:0");
    File::options().write(true).open(&path).unwrap().set_len(100_000).unwrap();
    for _ in 0..2 {
        assert_eq!(fs::read(at.join("large")).unwrap_err().raw_os_error(), Some(Errno::EIO as i32));
    }
    let told = mount.told.lock().unwrap().join("\n");
    assert!(told.lines().count() == 1 && told.contains("image.sqf: "), "{told}");
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
    assert_eq!(mount.tree.lower.remembered(), 500);
    let says = mount.path().join("d0").metadata().unwrap();
    assert_eq!(says.nlink(), 1);
    // What the kernel drops is dropped here, and has the same number when it comes again.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    mount.drop_names();
    while mount.tree.lower.remembered() > 0 && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(mount.tree.lower.remembered(), 0);
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

#[test]
fn listings_stay_in_order_while_others_walk_and_read() {
    let memory = Tmpfs::new();
    let [low, high] = ["low", "high"].map(|name| memory.at.path().join(name));
    everything(&low);
    everything(&high);
    for i in 0..3000 {
        put(&high, &format!("many/{}", i + 1500), "again");
    }
    let mount = Mount::new(vec![stacked(&low), stacked(&high)]);
    let order = || -> Vec<_> {
        fs::read_dir(mount.path().join("many")).unwrap().map(|e| e.unwrap()).map(|e| (e.file_name(), e.ino())).collect()
    };
    let expected = order();
    assert_eq!(expected.len(), 4500);
    let paths: Vec<_> = walk(&mount.path()).into_keys().collect();
    std::thread::scope(|scope| {
        for walker in 0..4 {
            let (mount, order, expected, paths) = (&mount, &order, &expected, &paths);
            scope.spawn(move || {
                for round in 0..3 {
                    assert_eq!(order(), *expected, "walker {walker}, round {round}");
                    assert!(walk(&mount.path()).into_keys().eq(paths.iter().cloned()));
                    mount.drop_names();
                }
            });
            let high = &high;
            scope.spawn(move || {
                let (ours, theirs) = (File::open(mount.path().join("large")), File::open(high.join("large")));
                let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
                let mut random = fastrand::Rng::with_seed(walker);
                for _ in 0..300 {
                    let (at, length) = (random.u64(0..3_100_000), random.usize(0..300_000));
                    let (mut a, mut b) = (vec![0; length], vec![0; length]);
                    let lengths = [ours.read_at(&mut a, at).unwrap(), theirs.read_at(&mut b, at).unwrap()];
                    assert!(lengths[0] == lengths[1] && a == b, "{length} at {at}");
                }
            });
        }
    });
    // A listing goes on where it was left, also when all has been forgotten in between.
    let mut half = fs::read_dir(mount.path().join("many")).unwrap();
    let first: Vec<_> = half.by_ref().take(2000).map(|e| e.unwrap().file_name()).collect();
    mount.drop_names();
    let all: Vec<_> = first.into_iter().chain(half.map(|e| e.unwrap().file_name())).collect();
    assert!(all.iter().eq(expected.iter().map(|(name, _)| name)));
}
