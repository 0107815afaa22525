//! What an image changes, case by case; `diff_kernel.rs` compares with what the kernel shows.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use condatainer_formats::ext::Ids;
use condatainer_images::image;
use condatainer_images::overlay::lower::{Below, Lower};
use condatainer_images::verbs::diff::{Aspect, Change, Changes, Count, Entry, by_directory, diff};
use support::{Bench, Part, bytes_of, debugfs_script, debugfs_write, put, set_mode, sif, squashfs_with, whiteout};

fn changes(image: &Path, layers: &[PathBuf]) -> Changes {
    let lower = Lower::open(layers).unwrap_or_else(|e| panic!("{e}"));
    diff(&image::open(image).unwrap(), &lower).unwrap_or_else(|e| panic!("{e}"))
}

/// One line per entry: letter, path, and what a changed one differs in.
fn lines(changes: &Changes) -> Vec<String> {
    changes.entries.iter().map(line).collect()
}

fn line(entry: &Entry) -> String {
    let letter = match entry.change {
        Change::Added => 'A',
        Change::Changed => 'M',
        Change::Deleted => 'D',
    };
    let what: Vec<String> = entry.what.iter().map(|aspect| format!(" {aspect:?}").to_lowercase()).collect();
    format!("{letter} {}{}", entry.path.escape_ascii(), what.concat())
}

/// A base with something of every kind, as a squashfs.
fn base(bench: &Bench) -> PathBuf {
    let tree = bench.path("base-tree");
    for (path, content) in [
        ("etc/passwd", "root"),
        ("etc/same", "the same"),
        ("usr/bin/tool", "tool"),
        ("usr/lib/a/one", "1"),
        ("usr/lib/a/deep/two", "22"),
        ("usr/lib/b/three", "333"),
        ("opt/dir/old", "old"),
        ("opt/dir/kept", "kept"),
        ("opt/file", "file"),
        ("srv/x", "x"),
    ] {
        put(&tree, path, content);
    }
    symlink("passwd", tree.join("etc/link")).unwrap();
    let image = bench.path("base.sqf");
    fs::write(&image, squashfs_with(bench, &tree, &[])).unwrap();
    image
}

/// An image whose upper is filled by `fill`.
fn image_with(bench: &Bench, name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let tree = bench.path(&format!("{name}.tree"));
    fs::create_dir_all(tree.join("upper")).unwrap();
    fs::create_dir_all(tree.join("work")).unwrap();
    fill(&tree.join("upper"));
    bench.image_of(name, &["-t", "ext3"], 32, &tree)
}

#[test]
fn every_whiteout_is_a_deletion() {
    let bench = Bench::new();
    let base = base(&bench);
    let image = image_with(&bench, "env.img", |upper| {
        for dir in ["usr/lib/b", "opt/dir", "etc"] {
            fs::create_dir_all(upper.join(dir)).unwrap();
        }
        whiteout(&upper.join("etc/passwd"));
        put(upper, "etc/.wh.link", "");
        put(upper, "usr/.wh.bin", "");
        whiteout(&upper.join("usr/lib/a"));
        put(upper, "opt/dir/.wh..wh..opq", "");
        put(upper, "opt/dir/new", "new");
        put(upper, "opt/dir/kept", "kept");
        // Nothing is below these.
        put(upper, "etc/.wh.never", "");
        whiteout(&upper.join("etc/nowhere"));
        // A whiteout beside a directory of the name hides what is below it.
        put(upper, ".wh.srv", "");
        put(upper, "srv/y", "y");
        put(upper, ".wh.", "a name like any other");
    });
    debugfs_write(&image, "ea_set /upper/usr/lib/b trusted.overlay.opaque y");
    debugfs_script(&image, "sif /upper/opt/dir/kept mtime @0x1\n");
    let changes = changes(&image, &[base]);
    assert_eq!(
        lines(&changes),
        [
            "A /.wh.",
            "D /etc/link",
            "D /etc/passwd",
            "M /opt/dir/kept time",
            "A /opt/dir/new",
            "D /opt/dir/old",
            "D /srv/x",
            "A /srv/y",
            "D /usr/bin",
            "D /usr/lib/a",
            "D /usr/lib/b/three",
        ]
    );
    let below = |path: &[u8]| changes.entries.iter().find(|entry| entry.path == path).unwrap().below;
    assert_eq!(below(b"/usr/lib/a"), Some(Below { files: 2, directories: 1, bytes: 3 }));
    assert_eq!(changes.totals.deleted, Count { files: 8, directories: 3, bytes: 4 + 3 + 1 + 4 + 3 + 3 });
}

#[test]
fn a_file_is_changed_in_what_differs() {
    let bench = Bench::new();
    let base = base(&bench);
    let bytes = |name: &str| fs::read(bench.path("base-tree").join(name)).unwrap();
    let time = fs::metadata(bench.path("base-tree/etc/same")).unwrap().mtime();
    let image = image_with(&bench, "env.img", |upper| {
        fs::create_dir_all(upper.join("usr/lib/b")).unwrap();
        put(upper, "etc/passwd", "toor");
        put(upper, "etc/same", "the same");
        fs::create_dir_all(upper.join("usr/bin")).unwrap();
        fs::write(upper.join("usr/bin/tool"), bytes("usr/bin/tool")).unwrap();
        set_mode(&upper.join("usr/bin/tool"), 0o755);
        symlink("group", upper.join("etc/link")).unwrap();
        put(upper, "opt", "a file in the place of a directory");
        put(upper, "srv/x/inside", "a directory in the place of a file");
        set_mode(&upper.join("usr/lib"), 0o700);
    });
    debugfs_script(&image, &format!("sif /upper/etc/same mtime @{time:#x}\nsif /upper/usr/lib/b gid 42\n"));
    let changes = changes(&image, &[base]);
    assert_eq!(
        lines(&changes),
        [
            "M /etc/link target",
            "M /etc/passwd content",
            "M /opt kind",
            "M /srv/x kind",
            "A /srv/x/inside",
            "M /usr/bin/tool mode",
            "M /usr/lib mode",
            "M /usr/lib/b owner",
        ]
    );
    assert_eq!(changes.copies, Count { files: 1, directories: 0, bytes: 8 });
    let metadata: Vec<bool> = changes.entries.iter().map(Entry::is_metadata_only).collect();
    assert_eq!(metadata, [false, false, false, false, false, true, true, true]);
    let opt = &changes.entries[2];
    assert_eq!(opt.below, Some(Below { files: 3, directories: 1, bytes: 11 }));
    assert_eq!((opt.before.unwrap().kind.describe(), opt.after.unwrap().size), ("a directory", 34));
    assert_eq!(changes.totals.deleted, Count { files: 3, directories: 1, bytes: 11 });
}

/// A copy of root's file, in an image of `owner`, with the given owner of the copy.
fn owner_of_a_copy(bench: &Bench, base: &Path, image_owner: Ids, copy: Ids) -> Vec<Aspect> {
    let image = image_with(bench, "owned.img", |upper| put(upper, "etc/same", "the same"));
    let set = |path: &str, Ids { uid, gid }: Ids| format!("sif {path} uid {uid}\nsif {path} gid {gid}\n");
    let time = fs::metadata(bench.path("base-tree/etc/same")).unwrap().mtime();
    debugfs_script(
        &image,
        &format!(
            "{}{}sif /upper/etc/same mtime @{time:#x}\n",
            set("/upper", image_owner),
            set("/upper/etc/same", copy)
        ),
    );
    let changes = changes(&image, &[base.to_owned()]);
    let same = changes.entries.into_iter().find(|entry| entry.path == b"/etc/same");
    same.map(|entry| entry.what).unwrap_or_default()
}

#[test]
fn an_owner_that_only_tells_who_copied_is_no_change() {
    let bench = Bench::new();
    let base = base(&bench);
    let [root, user, other] = [0, 1001, 42].map(|id| Ids { uid: id, gid: id });
    let changed = vec![Aspect::Owner];
    assert_eq!(owner_of_a_copy(&bench, &base, user, user), []);
    assert_eq!(owner_of_a_copy(&bench, &base, user, root), []);
    assert_eq!(owner_of_a_copy(&bench, &base, user, other), changed);
    assert_eq!(owner_of_a_copy(&bench, &base, root, root), []);
    assert_eq!(owner_of_a_copy(&bench, &base, root, user), changed);
    assert_eq!(owner_of_a_copy(&bench, &base, root, Ids { uid: 0, gid: 42 }), changed);
    // In a directory of the machine the ids are the machine's: its user is root under fakeroot.
    let tree = bench.path("base-tree");
    let change = |path: &str, id| std::os::unix::fs::chown(tree.join(path), Some(id), Some(id)).unwrap();
    ["etc", "etc/same"].iter().for_each(|path| change(path, 1001));
    assert_eq!(owner_of_a_copy(&bench, &tree, root, root), []);
    assert_eq!(owner_of_a_copy(&bench, &tree, root, other), changed);
}

#[test]
fn names_of_one_file_count_once() {
    let bench = Bench::new();
    let image = image_with(&bench, "env.img", |upper| {
        put(upper, "z/first", "twelve bytes");
        fs::hard_link(upper.join("z/first"), upper.join("z/second")).unwrap();
        fs::hard_link(upper.join("z/first"), upper.join("a-third")).unwrap();
    });
    let changes = changes(&image, &[]);
    let links: Vec<_> = changes.entries.iter().map(|entry| entry.hard_link_to.as_deref()).collect();
    assert_eq!(lines(&changes), ["A /a-third", "A /z", "A /z/first", "A /z/second"]);
    assert_eq!(links, [None, None, Some(&b"/a-third"[..]), Some(b"/a-third")]);
    assert_eq!(changes.totals.added, Count { files: 3, directories: 1, bytes: 12 });
}

#[test]
fn odd_names_stay_what_they_are() {
    let bench = Bench::new();
    let tree = bench.path("odd");
    fs::create_dir(&tree).unwrap();
    let names: [&[u8]; 6] = [b"\xff\xfe", b"\x1b[31mred", b"a\nb", "stra\u{df}e".as_bytes(), b"\\", &[b'n'; 255]];
    for name in names {
        fs::write(tree.join(OsStr::from_bytes(name)), "below").unwrap();
    }
    let base = bench.path("odd.sqf");
    fs::write(&base, squashfs_with(&bench, &tree, &[])).unwrap();
    let image = image_with(&bench, "env.img", |upper| {
        for name in names {
            fs::write(upper.join(OsStr::from_bytes(name)), "above, and longer").unwrap();
        }
        // fuse-overlayfs cannot hide a name of 252 bytes and more by a file either.
        fs::write(upper.join(OsStr::from_bytes(b".wh.\xff\xff")), "").unwrap();
    });
    let changes = changes(&image, &[base]);
    let mut expected: Vec<Vec<u8>> = names.iter().map(|name| [b"/", *name].concat()).collect();
    expected.sort();
    let found: Vec<Vec<u8>> = changes.entries.iter().map(|entry| entry.path.clone()).collect();
    assert_eq!(found, expected);
    let json = serde_json::to_value(&changes.entries).unwrap();
    let odd = json.as_array().unwrap().iter().find(|entry| entry.get("path_hex").is_some()).unwrap();
    assert_eq!((&odd["path"], &odd["path_hex"]), (&"/\u{fffd}\u{fffd}".into(), &"2ffffe".into()));
    assert_eq!(odd["before"]["size_bytes"], 5);
}

#[test]
fn sums_by_directory() {
    let bench = Bench::new();
    let base = base(&bench);
    let image = image_with(&bench, "env.img", |upper| {
        put(upper, "ext3/env/bin/python", "1234567890");
        put(upper, "ext3/env/lib/x", "12345");
        put(upper, "top", "1");
        put(upper, "usr/lib/.wh.a", "");
    });
    let changes = changes(&image, &[base]);
    let sums: BTreeMap<String, _> = by_directory(&changes.entries)
        .into_iter()
        .map(|summary| (String::from_utf8(summary.path).unwrap(), summary.totals))
        .collect();
    assert_eq!(sums.keys().collect::<Vec<_>>(), ["/", "/ext3", "/ext3/env", "/usr/lib"]);
    assert_eq!(sums["/ext3/env"].added, Count { files: 2, directories: 2, bytes: 15 });
    assert_eq!(sums["/usr/lib"].deleted, Count { files: 2, directories: 2, bytes: 3 });
}

#[test]
fn an_image_in_a_sif_lies_on_the_rest_of_it() {
    let bench = Bench::new();
    let system = fs::read(base(&bench)).unwrap();
    let overlay = image_with(&bench, "overlay.img", |upper| {
        put(upper, "etc/.wh.passwd", "");
        put(upper, "new", "new");
    });
    let overlay = fs::read(overlay).unwrap();
    let part = |fs, role, content| Part { fs, role, group: 1, content };
    let path = bench.path("whole.sif");
    fs::write(&path, sif(&[part(1, 2, &system), part(2, 4, &overlay)])).unwrap();
    let lower = Lower::open_inside(&path, &[]).unwrap();
    let changes = diff(&image::open(&path).unwrap(), &lower).unwrap();
    assert_eq!(lines(&changes), ["D /etc/passwd", "A /new"]);
}

#[test]
fn what_is_no_image_is_refused() {
    let bench = Bench::new();
    let base = base(&bench);
    let lower = Lower::open(std::slice::from_ref(&base)).unwrap();
    let refusal = |path: &Path| diff(&image::open(path).unwrap(), &lower).unwrap_err().to_string();
    assert!(refusal(&base).contains("base.sqf: is a squashfs without a writable overlay; only ext3 images"));
    assert!(refusal(bench.dir.path()).contains("is a directory without a writable overlay"));
    let empty = bench.path("empty");
    fs::create_dir(&empty).unwrap();
    let bare = bench.image_of("bare.img", &["-t", "ext3"], 16, &empty);
    assert!(refusal(&bare).contains("bare.img: uses a layout without a directory upper/"));
    debugfs_write(&bare, "symlink upper lost+found");
    assert!(refusal(&bare).contains("upper is a symbolic link"));
}

#[test]
fn a_directory_in_itself_is_damage() {
    let bench = Bench::new();
    let image = image_with(&bench, "env.img", |upper| put(upper, "a/b/c", ""));
    debugfs_write(&image, "link /upper/a /upper/a/b/loop");
    let lower = Lower::open(&[]).unwrap();
    let message = diff(&image::open(&image).unwrap(), &lower).unwrap_err().to_string();
    assert!(message.contains("env.img: is damaged: a directory has two names"), "{message}");
}

#[test]
fn nothing_is_written_and_no_lock_is_asked() {
    let bench = Bench::new();
    let base = base(&bench);
    let image = image_with(&bench, "env.img", |upper| put(upper, "new", "new"));
    let before = bytes_of(&image);
    set_mode(&image, 0o444);
    let holder = fs::File::options().read(true).write(true).open(&image).unwrap();
    let window = support::whole(&image);
    let _guard = condatainer_images::lock::take(&holder, window, condatainer_images::lock::Access::Write).unwrap();
    assert_eq!(lines(&changes(&image, &[base])), ["A /new"]);
    assert!(bytes_of(&image) == before);
}
