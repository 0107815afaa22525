//! The states in which an image can be when chown comes, each on an ext3 and an ext4, and what becomes of it.

use std::any::Any;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use condatainer_images::lock::{Access, take};
use condatainer_images::verbs::chown::Request;

use crate::content::rich;
use crate::support::{self, Bench, Mounted, copy, debugfs, debugfs_script, debugfs_write, whole};
use crate::view::Image;
use crate::{USER, refusal, run, there_and_back, to_root};

enum Outcome {
    /// Done by a look at the inode tables alone.
    Scanned,
    /// Done, and what lies beside the overlay is left alone.
    Walked,
    /// Refused with these words.
    Refused(&'static str),
    /// Refused with these words, unless e2fsck may put it right first.
    Repaired(&'static str),
}
use Outcome::{Refused, Repaired, Scanned, Walked};

/// Brings an image into a state that lasts as long as what is returned.
type Spoil = fn(&Path) -> Box<dyn Any>;

const STATES: &[(&str, Spoil, Outcome)] = &[
    ("clean", |_| Box::new(()), Scanned),
    ("used by the kernel and unmounted", |image| inside(image, write_late), Scanned),
    (
        "needs_recovery: copied while the kernel had it",
        |image| crashed(image, write_late),
        Repaired("its journal has not been replayed"),
    ),
    (
        "orphans: copied while a deleted file was open",
        |image| crashed(image, delete_open),
        Repaired("its journal has not been replayed"),
    ),
    (
        "needs_recovery, with nothing to replay",
        |image| asked(image, "feature needs_recovery"),
        Repaired("its journal has not been replayed"),
    ),
    ("not unmounted, bitmaps behind: a killed fuse2fs", killed_fuse2fs, Repaired("it was not unmounted cleanly")),
    ("error flag", |image| asked(image, "ssv state 3"), Repaired("it has recorded errors")),
    (
        "an orphan in the superblock",
        |image| asked(image, "ssv last_orphan 14"),
        Repaired("deleted files that were not yet freed"),
    ),
    ("non-empty lost+found", |image| inside(image, |at| found(&at.join("lost+found/#99"))), Walked),
    ("extra root entries", |image| inside(image, |at| found(&at.join("mine"))), Walked),
    ("a hard link from upper to a file beside it", |image| inside(image, link_beside), Walked),
    ("work missing", |image| inside(image, |at| fs::remove_dir_all(at.join("work")).unwrap()), Scanned),
    (
        "upper missing",
        |image| inside(image, |at| fs::rename(at.join("upper"), at.join("other")).unwrap()),
        Refused("a layout without a directory upper/"),
    ),
    (
        "upper a symbolic link",
        |image| inside(image, |at| link_instead(at, "upper")),
        Refused("a layout in which upper is a symbolic link"),
    ),
    (
        "upper a file",
        |image| inside(image, |at| file_instead(at, "upper")),
        Refused("a layout in which upper is a regular file"),
    ),
    (
        "work a symbolic link",
        |image| inside(image, |at| link_instead(at, "work")),
        Refused("a layout in which work is a symbolic link"),
    ),
    ("locked for reading", |image| locked(image, Access::Read), Refused("is in use (locked for reading")),
    ("locked for writing", |image| locked(image, Access::Write), Refused("is in use (locked for writing")),
    (
        "mounted by the kernel to read",
        |image| Box::new(Mounted::new(image, "ro")),
        Refused("is in use (attached to /dev/loop"),
    ),
    (
        "mounted by the kernel to write",
        |image| Box::new(Mounted::new(image, "rw")),
        Refused("is in use (attached to /dev/loop"),
    ),
    (
        "truncated by a block",
        |image| cut(image, |size| size - 4096),
        Refused("is truncated: 4.00 KiB are missing at the end of its ext file system"),
    ),
    ("truncated to its superblock", |image| cut(image, |_| 4096), Refused("is truncated")),
    ("without any content", |image| cut(image, |_| 0), Refused("is empty")),
    ("the root directory points to itself", looping, Refused("is damaged")),
    ("an inode table outside", outside, Refused("is damaged")),
    ("an inode table in the place of another", doubled, Refused("is damaged")),
];

#[test]
fn on_ext3() {
    every_state(&["-t", "ext3", "-b", "4096", "-g", "4096"]);
}

#[test]
fn on_ext4() {
    every_state(&["-t", "ext4", "-b", "4096", "-g", "4096"]);
}

fn every_state(options: &[&str]) {
    let bench = Bench::new();
    let original = rich(&bench, "original", options, 48, USER);
    for (name, spoil, outcome) in STATES {
        let path = bench.path("image");
        copy(&original, &path);
        let kept = spoil(&path);
        check(name, &path, outcome);
        drop(kept);
    }
}

fn check(name: &str, path: &Path, outcome: &Outcome) {
    match outcome {
        Scanned => assert!(!there_and_back(name, &Image::whole(path.into())).walked, "{name}"),
        Walked => assert!(there_and_back(name, &Image::whole(path.into())).walked, "{name}"),
        Refused(why) => {
            for request in [to_root(), Request { replay: true, ..to_root() }] {
                let message = refusal(name, path, &request);
                assert!(message.contains(why), "{name}: {message}");
            }
        }
        Repaired(why) => {
            let message = refusal(name, path, &to_root());
            assert!(
                message.contains(why) && message.contains("; run `condatainer overlay check --fix "),
                "{name}: {message}"
            );
            repaired(name, path);
        }
    }
}

/// With leave to repair, all is done: what a journal held is there, and no inode was passed over.
fn repaired(name: &str, path: &Path) {
    let report = run(path, &Request { replay: true, ..to_root() });
    assert!(report.replayed && report.changed > 900, "{name}: {report:?}");
    let image = Image::whole(path.into());
    assert_eq!(image.fsck(), Ok(()), "{name}");
    let view = image.view();
    let ours = view.iter().filter(|(path, _)| path.starts_with("upper") || path.starts_with("work"));
    for (path, seen) in ours {
        assert!(seen.ids.uid != USER.uid && seen.ids.gid != USER.gid, "{name}: {}: {}", path.display(), seen.ids);
    }
    assert_eq!(view.contains_key(Path::new("upper/late")), name.contains("while the kernel had it"), "{name}");
    assert!(view.contains_key(Path::new("upper/many")), "{name}");
}

/// Changes made through a mount that ends well.
fn inside(image: &Path, change: fn(&Path)) -> Box<dyn Any> {
    let mounted = Mounted::new(image, "rw");
    change(mounted.at.path());
    drop(mounted);
    Box::new(())
}

/// Changes made through a mount, and the image as it lies there while it is still mounted: as after a power cut.
fn crashed<T>(image: &Path, change: fn(&Path) -> T) -> Box<dyn Any> {
    let copy = image.with_extension("copy");
    let mounted = Mounted::new(image, "rw");
    let open = change(mounted.at.path());
    nix::unistd::syncfs(File::open(mounted.at.path()).unwrap()).unwrap();
    support::copy(image, &copy);
    drop(open);
    drop(mounted);
    fs::rename(copy, image).unwrap();
    assert!(debugfs(image, "feature").contains("needs_recovery"));
    Box::new(())
}

fn write_late(at: &Path) {
    fs::write(at.join("upper/late"), "written late").unwrap();
    std::os::unix::fs::chown(at.join("upper/late"), Some(USER.uid), Some(USER.gid)).unwrap();
}

/// The file has no name any more, but lives as long as what is returned.
fn delete_open(at: &Path) -> File {
    let path = at.join("upper/gone");
    fs::write(&path, "x".repeat(100_000)).unwrap();
    let open = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    open
}

fn asked(image: &Path, request: &str) -> Box<dyn Any> {
    debugfs_write(image, request);
    Box::new(())
}

/// What a killed fuse2fs leaves: the state of a mounted file system, and bitmaps that do not yet know the newest files.
fn killed_fuse2fs(image: &Path) -> Box<dyn Any> {
    debugfs_script(
        image,
        "ssv state 0\nfreei /upper/foreign\nfreei /upper/opt\nfreei /upper\nssv free_inodes_count 11500\n",
    );
    Box::new(())
}

fn found(at: &Path) {
    fs::create_dir(at).unwrap();
    fs::write(at.join("precious"), "not ours").unwrap();
    std::os::unix::fs::chown(at, Some(USER.uid), Some(USER.gid)).unwrap();
}

/// The file has a name in upper, so it moves although it has another elsewhere.
fn link_beside(at: &Path) {
    fs::create_dir(at.join("mine")).unwrap();
    fs::hard_link(at.join("upper/plain"), at.join("mine/link")).unwrap();
}

fn link_instead(at: &Path, name: &str) {
    fs::rename(at.join(name), at.join("other")).unwrap();
    symlink("other", at.join(name)).unwrap();
}

fn file_instead(at: &Path, name: &str) {
    fs::rename(at.join(name), at.join("other")).unwrap();
    fs::write(at.join(name), "").unwrap();
}

fn locked(image: &Path, access: Access) -> Box<dyn Any> {
    let holder = File::options().read(true).write(true).open(image).unwrap();
    let guard = take(&holder, whole(image), access).unwrap();
    Box::new((guard, holder))
}

fn cut(image: &Path, length: fn(u64) -> u64) -> Box<dyn Any> {
    let file = File::options().write(true).open(image).unwrap();
    file.set_len(length(file.metadata().unwrap().len())).unwrap();
    Box::new(())
}

/// The block of the root directory is filled with its own number, as names and as pointers.
fn looping(image: &Path) -> Box<dyn Any> {
    let block: u32 = debugfs(image, "blocks /").split_whitespace().next().unwrap().parse().unwrap();
    let own = block.to_le_bytes().repeat(1024);
    File::options().write(true).open(image).unwrap().write_all_at(&own, u64::from(block) * 4096).unwrap();
    Box::new(())
}

fn outside(image: &Path) -> Box<dyn Any> {
    asked(image, "set_bg 0 inode_table 0x7fffffff")
}

/// Two groups with one table: every owner in it would be changed under two numbers.
fn doubled(image: &Path) -> Box<dyn Any> {
    let text = support::ok(support::tool("dumpe2fs").arg(image).output().unwrap(), "dumpe2fs");
    let first = text.split_once("Inode table at ").unwrap().1.split_once('-').unwrap().0;
    asked(image, &format!("set_bg 1 inode_table {first}"))
}
