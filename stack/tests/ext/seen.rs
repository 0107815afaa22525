//! What both sides say about one name, and a comparison that names what differs.

use std::collections::BTreeMap;

use condatainer_formats::ext::FileType;

/// Everything in a tree, by path; the root is the empty path.
pub type Tree = BTreeMap<Vec<u8>, Seen>;

/// What stands under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub ino: u64,
    pub kind: FileType,
    pub mode: u16,
    pub ids: (u32, u32),
    pub links: u64,
    pub size: u64,
    pub blocks: u64,
    pub device: (u64, u64),
    /// Access, modification, change.
    pub times: [(i64, i64); 3],
    /// Of a link where it leads.
    pub target: Vec<u8>,
    /// Of a file what is not a hole: from, to, and a digest (FxHash: a hash of the standard library took most of these tests' time).
    pub data: Vec<(u64, u64, u64)>,
    /// Of a file a digest of pieces at odd places.
    pub pieces: u64,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What its directory claims it to be, where it does.
    pub claimed: Option<FileType>,
}

/// What lies below the directory `name`, with its own paths.
pub fn below(tree: &Tree, name: &[u8]) -> Tree {
    let inner = |path: &Vec<u8>| {
        let rest = path.strip_prefix(name)?;
        if rest.is_empty() { Some(Vec::new()) } else { rest.strip_prefix(b"/").map(<[u8]>::to_vec) }
    };
    tree.iter().filter_map(|(path, seen)| Some((inner(path)?, seen.clone()))).collect()
}

/// Fails with the first difference.
pub fn compare(what: &str, ours: &Tree, theirs: &Tree) {
    for (path, seen) in ours {
        let name = String::from_utf8_lossy(path);
        let other = theirs.get(path).unwrap_or_else(|| panic!("{what}: /{name} is not there for the kernel"));
        let claimed = seen.claimed.or(other.claimed);
        assert_eq!(Seen { claimed, ..seen.clone() }, *other, "{what}: /{name}");
    }
    for path in theirs.keys() {
        assert!(ours.contains_key(path), "{what}: /{} is not there for us", String::from_utf8_lossy(path));
    }
}

/// The same odd places for both sides. An empty file, of which there are tens of thousands, is as empty in two of them as in all.
pub fn places(size: u64) -> Vec<(u64, usize)> {
    if size == 0 {
        return vec![(0, 5000), (7, 200)];
    }
    let mut dice = fastrand::Rng::with_seed(size);
    let mut places: Vec<_> = (0..12).map(|_| (dice.u64(0..size + 10), dice.usize(1..20_000))).collect();
    places.push((size.saturating_sub(5000), 200_000));
    places
}
