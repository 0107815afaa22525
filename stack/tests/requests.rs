//! Requests in any order, about images that contradict themselves: there is always an answer, and it takes no memory.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/chance.rs"]
mod chance;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use condatainer_formats::ext::{FileType, Ids, Xattr};
use condatainer_formats::source::Window;
use condatainer_formats::squashfs::Budget;
use condatainer_stack::ids::Show;
use condatainer_stack::layer::ext::{ExtLayer, Start};
use condatainer_stack::layer::squashfs::SquashfsLayer;
use condatainer_stack::layer::{Attributes, Entry, Key, Layer, Time};
use condatainer_stack::merge::{Merged, Stacked};
use condatainer_stack::serve::tree::{Changes, New, ROOT, Renaming, SHARED, WRITABLE};
use condatainer_stack::serve::{Lower, Requests, Trouble};
use fastrand::Rng;
use nix::errno::Errno;

const KINDS: [FileType; 8] = [
    FileType::Regular,
    FileType::Directory,
    FileType::Directory,
    FileType::Symlink,
    FileType::CharDevice,
    FileType::Fifo,
    FileType::Socket,
    FileType::Unknown,
];
const NAMES: [&[u8]; 10] = [b"a", b"b", b"c", b".wh.a", b".wh.b", b".wh..wh..opq", b".wh.", b"x/y", b"", &[b'n'; 300]];

/// A layer in which nothing fits together: kinds that directories and inodes disagree about, directories in themselves, errors.
struct Mad(u64);

impl Mad {
    fn dice(&self, key: Key, of: u64) -> Rng {
        Rng::with_seed(self.0 ^ key.0.wrapping_mul(0x9E37_79B9) ^ of << 56)
    }

    fn error(&self, random: &mut Rng) -> io::Result<()> {
        match random.u8(0..60) {
            0 => Err(io::Error::other("is damaged")),
            1 => Err(Errno::EIO.into()),
            2 => Err(Errno::ENOTDIR.into()),
            3 => Err(io::Error::new(io::ErrorKind::FileTooLarge, "is large")),
            _ => Ok(()),
        }
    }
}

impl Layer for Mad {
    fn root(&self) -> Key {
        Key(self.0 % 5)
    }

    fn attributes(&self, key: Key) -> io::Result<Attributes> {
        let mut random = self.dice(key, 1);
        self.error(&mut random)?;
        let time = Time { seconds: random.i64(..), nanoseconds: random.u32(..) };
        Ok(Attributes {
            kind: KINDS[random.usize(..KINDS.len())],
            mode: random.u16(..),
            ids: Ids { uid: random.u32(..), gid: random.u32(..) },
            size: random.u64(..),
            blocks: random.u64(..),
            links: random.u32(..),
            device: if random.bool() { (0, 0) } else { (random.u32(..), random.u32(..)) },
            accessed: time,
            modified: time,
            changed: time,
        })
    }

    fn entries(&self, directory: Key, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> io::Result<()> {
        let mut random = self.dice(directory, 2);
        for _ in 0..random.usize(0..12) {
            self.error(&mut random)?;
            let name = NAMES[random.usize(..NAMES.len())];
            let kind = random.bool().then(|| KINDS[random.usize(..KINDS.len())]);
            let key = Key(if random.u8(0..9) == 0 { random.u64(0..1 << 48) } else { random.u64(0..40) });
            if !visit(Entry { name, key, kind }) {
                break;
            }
        }
        Ok(())
    }

    fn read(&self, file: Key, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut random = self.dice(file, 3);
        self.error(&mut random)?;
        Ok(if offset.is_multiple_of(3) { buf.len() } else { 0 })
    }

    fn target(&self, link: Key) -> io::Result<Vec<u8>> {
        let mut random = self.dice(link, 4);
        self.error(&mut random).map(|()| vec![b't'; random.usize(0..5000)])
    }

    fn xattrs(&self, key: Key) -> io::Result<Vec<Xattr>> {
        let mut random = self.dice(key, 5);
        self.error(&mut random)?;
        let names = [
            "user.a",
            "trusted.overlay.opaque",
            "user.overlay.redirect",
            "user.overlay.metacopy",
            "system.posix_acl_access",
        ];
        let count = random.usize(0..3);
        Ok((0..count)
            .map(|_| Xattr { name: names[random.usize(..names.len())].into(), value: vec![b'y'; random.usize(0..30)] })
            .collect())
    }
}

fn served(layers: Vec<Arc<dyn Layer>>, show: Show) -> (Requests, Arc<Lower>) {
    let named = |(number, layer)| Stacked { path: format!("{number}.img").into(), bytes: u64::MAX / 16, layer };
    let merged = Merged::new(layers.into_iter().enumerate().map(named).collect()).unwrap();
    let lower = Arc::new(Lower::new(merged, show, Arc::new(Trouble::with(|line| assert!(!line.contains('\n'))))));
    let root = lower.root();
    (Requests::new((Arc::clone(&lower) as _, root), None, Ids::ROOT, Time::default()), lower)
}

/// How many requests are made.
fn rounds() -> u64 {
    chance::runs(100_000)
}

fn dice() -> Rng {
    Rng::with_seed(chance::seed())
}

#[test]
fn requests_in_any_order_have_an_answer() {
    let (mut random, rounds) = (dice(), rounds());
    let mut done = 0;
    while done < rounds {
        let show = if random.bool() { Show::everything() } else { Show::Plain(Ids { uid: 7, gid: 8 }) };
        let layers = (0..random.u64(1..7)).map(|_| Arc::new(Mad(random.u64(..))) as Arc<dyn Layer>).collect();
        let (requests, lower) = served(layers, show);
        ask_much(&requests, &lower, &mut random);
        done += MANY;
    }
}

/// Images of every kind whose bytes were changed here and there, which can be opened all the same.
fn mutated(sound: &[(bool, Vec<u8>)], random: &mut Rng) -> Option<Arc<dyn Layer>> {
    let (is_squashfs, bytes) = &sound[random.usize(..sound.len())];
    let mut bytes = bytes.clone();
    for _ in 0..random.usize(0..6) {
        // Where there is something, mostly.
        let mut at = random.usize(..bytes.len());
        while bytes[at] == 0 && random.u8(..) != 0 {
            at = random.usize(..bytes.len());
        }
        bytes[at] = if random.bool() { random.u8(..) } else { bytes[at] ^ 1 << random.u8(0..8) };
    }
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let window = Window::whole(bytes.len() as u64);
    if *is_squashfs {
        Some(Arc::new(SquashfsLayer::open(file, window, Budget { metadata: 64 << 10, data: 64 << 10 }).ok()?))
    } else {
        Some(Arc::new(ExtLayer::open(file, window, Start::Root, 64 << 10).ok()?))
    }
}

#[test]
fn requests_about_mutated_images_have_an_answer() {
    let bench = tempfile::tempdir().unwrap();
    let tree = bench.path().join("tree");
    for path in ["a/a/a", "a/b/.wh.a", "a/c", "b/a/.wh..wh..opq", "b/b", "c/.wh.b", "c/a/a/a/b"] {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, path.as_os_str().as_encoded_bytes().repeat(path.as_os_str().len() % 9)).unwrap();
    }
    std::os::unix::fs::symlink("target", tree.join("c/c")).unwrap();
    let image = bench.path().join("image");
    let made = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        let words = words.iter().map(|word| match *word {
            "TREE" => tree.as_os_str(),
            "IMAGE" => image.as_os_str(),
            word => word.as_ref(),
        });
        command.args(words).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdout(Stdio::null());
        assert!(command.status().unwrap().success(), "{program}");
        let bytes = fs::read(&image).unwrap();
        fs::remove_file(&image).unwrap();
        (program == "mksquashfs", bytes)
    };
    let sound = [
        made("mksquashfs", &["TREE", "IMAGE", "-quiet", "-no-progress", "-comp", "zstd"]),
        made("mksquashfs", &["TREE", "IMAGE", "-quiet", "-no-progress", "-noI", "-noD", "-noF"]),
        made("mke2fs", &["-q", "-t", "ext4", "-O", "^has_journal", "-N", "32", "-d", "TREE", "IMAGE", "128K"]),
    ];
    let (mut random, mut done, mut nodes, rounds) = (dice(), 0, 0, rounds());
    while done < rounds {
        let layers: Vec<_> = (0..random.usize(1..4)).filter_map(|_| mutated(&sound, &mut random)).collect();
        if layers.is_empty() {
            continue;
        }
        let (requests, lower) = served(layers, Show::everything());
        nodes += ask_much(&requests, &lower, &mut random);
        done += MANY;
    }
    let servers = (done / MANY) as usize;
    assert!(nodes > servers * 5, "{nodes} nodes of {servers} servers are too few");
}

/// Requests to one server.
const MANY: u64 = 2_000;

/// Asks as a kernel might, and returns how many nodes it got to know.
fn ask_much(requests: &Requests, lower: &Lower, random: &mut Rng) -> usize {
    // What a kernel would have, and how often.
    let mut known = BTreeMap::from([(ROOT, 0_u64)]);
    for _ in 0..MANY {
        ask(requests, random, &mut known);
    }
    let nodes = known.len();
    for (node, count) in known {
        requests.forget(node, count);
    }
    assert_eq!(lower.remembered(), 0, "all that was given is forgotten");
    nodes
}

fn ask(requests: &Requests, random: &mut Rng, known: &mut BTreeMap<u64, u64>) {
    let some = |random: &mut Rng| match random.u8(0..12) {
        0 => random.u64(..),
        1 => random.u64(..) & (SHARED | 0xFFFF | 7 << 48),
        2 => random.u64(..) | WRITABLE,
        _ => known.keys().nth(random.usize(..known.len())).copied().unwrap_or(ROOT),
    };
    let (node, other) = (some(random), some(random));
    let mut name = NAMES[random.usize(..NAMES.len())];
    if random.u8(0..9) == 0 {
        name = b"lower";
    }
    match random.u8(0..24) {
        0..=7 => {
            if let Ok(entry) = requests.lookup(node, name) {
                *known.entry(entry.node).or_default() += 1;
            }
        }
        8..=11 => {
            let (mut names, from) = (0, if random.bool() { 0 } else { random.u64(0..8) });
            let mut given = Vec::new();
            let _ = requests.list(node, from, &mut |listed| {
                assert!(listed.next > from && !listed.name.is_empty() && listed.name.len() <= 255);
                assert!(!listed.name.contains(&b'/'));
                given.extend(requests.entry(node, listed).ok().flatten().map(|entry| entry.node));
                names += 1;
                names < 7
            });
            given.into_iter().for_each(|node| *known.entry(node).or_default() += 1);
        }
        12 => {
            let had = known.get(&node).copied().unwrap_or(0);
            if node != ROOT && had > 0 {
                let count = random.u64(1..=had);
                requests.forget(node, count);
                if count == had {
                    known.remove(&node)
                } else {
                    known.insert(node, had - count)
                };
            }
        }
        13 => drop(requests.attributes(node)),
        14 => {
            let mut buf = vec![0; random.usize(0..9000)];
            if let Ok(length) = requests.read(node, random.u64(..) >> random.u32(0..64), &mut buf) {
                assert!(length <= buf.len());
            }
        }
        15 => drop(requests.target(node)),
        16 => drop(requests.xattrs(node)),
        17 => drop(requests.xattr(node, b"user.a")),
        18 => drop(requests.seek(node, random.u64(..), random.bool())),
        19 => drop(requests.room(node)),
        20 => drop(requests.sync(node, true)),
        _ => {
            let new =
                New { kind: FileType::Regular, mode: 0o777, umask: 0, ids: Ids::ROOT, device: (0, 0), target: b"x" };
            let refused = [
                requests.make(node, name, &new).map(drop),
                requests.link(node, other, name).map(drop),
                requests.remove(node, name, random.bool()),
                requests.rename((node, name), (other, name), Renaming::default()),
                requests.change(node, &Changes::default()).map(drop),
                requests.write(node, 0, b"x", false).map(drop),
                requests.allocate(node, 0, 1, 0),
                requests.set_xattr(node, b"user.a", b"v", 0),
                requests.remove_xattr(node, b"user.a"),
            ];
            assert!(refused.iter().all(|answer| matches!(answer, Err(Errno::EROFS | Errno::ESTALE | Errno::EXDEV))));
        }
    }
}

#[test]
fn what_was_forgotten_is_stale_and_has_its_number_again() {
    struct Two;
    impl Layer for Two {
        fn root(&self) -> Key {
            Key(1)
        }
        fn attributes(&self, _: Key) -> io::Result<Attributes> {
            Ok(Attributes { kind: FileType::Directory, links: 7, ..Mad(0).attributes(Key(3))? })
        }
        fn entries(&self, directory: Key, visit: &mut dyn FnMut(Entry<'_>) -> bool) -> io::Result<()> {
            visit(Entry { name: b"d", key: Key(directory.0 + 1), kind: Some(FileType::Directory) });
            Ok(())
        }
        fn read(&self, _: Key, _: u64, _: &mut [u8]) -> io::Result<usize> {
            Err(Errno::EINVAL.into())
        }
        fn target(&self, _: Key) -> io::Result<Vec<u8>> {
            Err(Errno::EINVAL.into())
        }
        fn xattrs(&self, _: Key) -> io::Result<Vec<Xattr>> {
            Ok(Vec::new())
        }
    }
    let stacked = || Stacked { path: "x".into(), bytes: 0, layer: Arc::new(Two) };
    let merged = Merged::new(vec![stacked(), stacked()]).unwrap();
    let lower = Arc::new(Lower::new(merged, Show::everything(), Arc::new(Trouble::with(|_| {}))));
    let requests = Requests::new((Arc::clone(&lower) as _, lower.root()), None, Ids::ROOT, Time::default());
    let first = requests.lookup(lower.root(), b"d").unwrap();
    assert_eq!(requests.lookup(lower.root(), b"d").unwrap().node, first.node);
    assert_eq!((first.node & SHARED, first.attributes.links, lower.remembered()), (SHARED, 1, 1));
    requests.forget(first.node, 1);
    requests.attributes(first.node).unwrap();
    requests.forget(first.node, 1);
    assert_eq!(requests.attributes(first.node), Err(Errno::ESTALE));
    requests.forget(first.node, 1);
    assert_eq!(requests.lookup(lower.root(), b"d").unwrap().node, first.node);
    // The tree's own root is always there.
    requests.forget(lower.root(), 100);
    requests.attributes(lower.root()).unwrap();
}
