//! Requests in any order, about images that contradict themselves: there is always an answer, and it takes no memory.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/chance.rs"]
mod chance;

mod images;
mod mad;
mod over;
mod protocol;
#[path = "../../../images/tests/support/tool.rs"]
#[allow(unreachable_pub)]
mod tool;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use condatainer_formats::ext::{FileType, Ids, Xattr};
use condatainer_stack::ids::Show;
use condatainer_stack::layer::{Attributes, Entry, Key, Layer, Time};
use condatainer_stack::merge::{Merged, Stacked};
use condatainer_stack::scratch::{Backing, Scratch};
use condatainer_stack::serve::tree::{Changes, New, ROOT, Renaming, SHARED, WRITABLE};
use condatainer_stack::serve::{Lower, Requests, Top, Trouble};
use fastrand::Rng;
use images::{mutated, sound};
use mad::{Mad, NAMES};
use nix::errno::Errno;
use peak_alloc::PeakAlloc;
use protocol::Kernel;

/// All that the tests of this file, which run beside each other, may hold at one time. A server has two buffers of 16 MiB, for requests.
const MOST_MEMORY: usize = 64 << 20;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fn lower(layers: Vec<Arc<dyn Layer>>, show: Show) -> Arc<Lower> {
    let named = |(number, layer)| Stacked { path: format!("{number}.img").into(), bytes: u64::MAX / 16, layer };
    let merged = Merged::new(layers.into_iter().enumerate().map(named).collect()).unwrap();
    Arc::new(Lower::new(merged, show, Arc::new(Trouble::with(|line| assert!(!line.contains('\n'))))))
}

fn served(layers: Vec<Arc<dyn Layer>>, show: Show) -> (Requests, Arc<Lower>) {
    let lower = lower(layers, show);
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

#[test]
fn requests_about_mutated_images_have_an_answer() {
    let sound = sound();
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
    bounded();
}

/// As the kernel sends them, to a server that has a `:tmp` too: what cannot be understood has an answer as well.
#[test]
fn messages_in_any_order_have_an_answer() {
    let sound = sound();
    let (mut random, mut done, mut nodes, rounds) = (dice(), 0, 0, rounds());
    while done < rounds {
        let mut layers: Vec<_> = (0..random.usize(1..4)).filter_map(|_| mutated(&sound, &mut random)).collect();
        if layers.is_empty() || random.u8(0..4) == 0 {
            layers.push(Arc::new(Mad(random.u64(..))));
        }
        let lower = lower(layers, Show::everything());
        let scratch = Arc::new(Scratch::new(Backing::in_memory().unwrap(), Some(1 << 20), Ids::ROOT, 0o755));
        let tops = [("upper", scratch.upper()), ("work", scratch.work())].map(|(name, node)| Top { name, node });
        let writable = random.bool().then(|| (scratch as _, tops.into()));
        let root = lower.root();
        let requests = Requests::new((Arc::clone(&lower) as _, root), writable, Ids::ROOT, Time::default());
        let mut kernel = Kernel::mount(requests, WRITABLE);
        (0..MANY).for_each(|_| kernel.ask(&mut random));
        nodes += kernel.unmount();
        assert_eq!(lower.remembered(), 0, "all that was given is forgotten");
        done += MANY;
    }
    let servers = (done / MANY) as usize;
    assert!(nodes > servers * 5, "{nodes} nodes of {servers} servers are too few");
    bounded();
}

fn bounded() {
    let peak = MEMORY.peak_usage();
    eprintln!("at most {} KiB held", peak >> 10);
    assert!(peak < MOST_MEMORY, "{peak} bytes were held at one time");
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
                requests.write(node, 0, b"x", false, false).map(drop),
                requests.allocate(node, 0, 1, 0, true),
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
