//! What an image changes, beside a comparison of the trees that the kernel shows.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use condatainer_core::diff::{Aspect, Change, Changes, Count, Entry, by_directory, diff};
use condatainer_core::ext::Ids;
use condatainer_core::image;
use condatainer_core::lower::{Below, Lower};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use support::{
    Bench, Mounted, Overlay, Part, debugfs_script, debugfs_write, put, set_mode, sif, squashfs_with, whiteout,
};

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

/// What a look at both trees tells: the letter of every path that differs; below something deleted nothing is said.
fn by_looking(below: &Path, merged: &Path) -> BTreeMap<Vec<u8>, char> {
    let (mut all, mut pending) = (BTreeMap::new(), vec![(Vec::new(), true)]);
    while let Some((path, both)) = pending.pop() {
        let names = |tree: &Path| -> BTreeSet<Vec<u8>> {
            let listing = fs::read_dir(tree.join(OsStr::from_bytes(&path))).unwrap();
            listing.map(|entry| entry.unwrap().file_name().into_vec()).collect()
        };
        let (before, now) = (if both { names(below) } else { BTreeSet::new() }, names(merged));
        for name in before.union(&now) {
            let inner = if path.is_empty() { name.clone() } else { [&path[..], name].join(&b'/') };
            let place = |tree: &Path| tree.join(OsStr::from_bytes(&inner));
            let is_dir = |tree: &Path| place(tree).symlink_metadata().is_ok_and(|meta| meta.is_dir());
            let key = [b"/", &inner[..]].concat();
            let both = match (before.contains(name), now.contains(name)) {
                (true, false) => all.insert(key, 'D').is_some(),
                (false, _) => all.insert(key, 'A').is_some(),
                (true, true) => {
                    if look(&place(below)) != look(&place(merged)) {
                        all.insert(key, 'M');
                    }
                    is_dir(below)
                }
            };
            if now.contains(name) && is_dir(merged) {
                pending.push((inner, both));
            }
        }
    }
    all
}

fn look(path: &Path) -> (u32, u32, u32, Vec<u8>, i64) {
    let meta = path.symlink_metadata().unwrap();
    let content = match () {
        () if meta.is_file() => fs::read(path).unwrap(),
        () if meta.is_symlink() => fs::read_link(path).unwrap().into_os_string().into_vec(),
        () => meta.rdev().to_le_bytes().to_vec(),
    };
    let mode = if meta.is_symlink() { 0 } else { meta.mode() & 0o7777 };
    (meta.mode() & 0o170_000 | mode, meta.uid(), meta.gid(), content, if meta.is_file() { meta.mtime() } else { 0 })
}

/// Numbers that are always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % limit
    }
}

/// One of the things that people do to files. What is impossible just fails.
fn disturb(root: &Path, dice: &mut Dice) {
    let mut path = root.to_owned();
    for _ in 0..=dice.below(3) {
        path.push(format!("n{}", dice.below(4)));
    }
    let other = root.join(format!("n{}", dice.below(4))).join(format!("n{}", dice.below(4)));
    let _ = match dice.below(13) {
        0 => fs::write(&path, "x".repeat(dice.below(9000))),
        1 => fs::remove_file(&path),
        2 => fs::remove_dir_all(&path),
        3 => fs::create_dir_all(&path),
        4 => symlink(format!("to{}", dice.below(3)), &path),
        5 => fs::rename(&path, &other),
        6 => fs::hard_link(&path, &other),
        7 => fs::OpenOptions::new().append(true).open(&path).map(drop),
        8 => std::os::unix::fs::lchown(&path, Some(dice.below(2) as u32 * 42), None),
        9 => fs::remove_file(&path).and_then(|()| symlink(format!("to{}", dice.below(3)), &path)),
        10 => fs::File::open(&path).and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH)),
        11 => mknod(&path, SFlag::S_IFCHR, Mode::empty(), makedev(1, dice.below(4) as u64)).map_err(Into::into),
        _ if path.is_symlink() => Ok(()),
        _ => fs::metadata(&path).map(|_| set_mode(&path, [0o700, 0o755, 0o644][dice.below(3)])),
    };
}

#[test]
fn changes_through_a_kernel_overlay_are_what_a_look_tells() {
    let bench = Bench::new();
    let mut seen = BTreeSet::new();
    for round in 0..12 {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15 + round);
        let trees = [0, 1].map(|number| {
            let tree = bench.path(&format!("tree-{round}-{number}"));
            fs::create_dir(&tree).unwrap();
            (0..60).for_each(|_| disturb(&tree, &mut dice));
            let image = tree.with_extension("sqf");
            fs::write(&image, squashfs_with(&bench, &tree, &[])).unwrap();
            image
        });
        let image = image_with(&bench, &format!("env-{round}.img"), |_| {});
        let lower = trees.each_ref().map(|image| Mounted::new(image, "ro"));
        let found = {
            let mounted = Mounted::new(&image, "rw");
            let below = Overlay::new(&[lower[1].at.path(), lower[0].at.path()], None);
            let above = Overlay::new(&[lower[1].at.path(), lower[0].at.path()], Some(mounted.at.path()));
            (0..150).for_each(|_| disturb(&above.path(), &mut dice));
            by_looking(&below.path(), &above.path())
        };
        let changes = changes(&image, &trees);
        let told: BTreeMap<Vec<u8>, char> =
            changes.entries.iter().map(|entry| (entry.path.clone(), line(entry).chars().next().unwrap())).collect();
        assert_eq!(told, found, "round {round}: {:#?}", lines(&changes));
        seen.extend(changes.entries.iter().flat_map(|entry| entry.what.iter().map(|aspect| format!("{aspect:?}"))));
        seen.extend(found.values().map(char::to_string));
    }
    let all = ["A", "Content", "D", "Device", "Kind", "M", "Mode", "Owner", "Target", "Time"];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), all, "the trial met too little");
}

#[test]
fn nothing_is_written_and_no_lock_is_asked() {
    let bench = Bench::new();
    let base = base(&bench);
    let image = image_with(&bench, "env.img", |upper| put(upper, "new", "new"));
    let before = fs::read(&image).unwrap();
    set_mode(&image, 0o444);
    let holder = fs::File::options().read(true).write(true).open(&image).unwrap();
    let window = support::whole(&image);
    let _guard = condatainer_core::lock::take(&holder, window, condatainer_core::lock::Access::Write).unwrap();
    assert_eq!(lines(&changes(&image, &[base])), ["A /new"]);
    assert!(fs::read(&image).unwrap() == before);
}
