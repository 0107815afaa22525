//! Random sequences, beside a model; then e2fsck and the kernel look at the image.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use proptest::prelude::*;

use crate::inode::Node;
use crate::map;
use crate::store::Store;
use crate::testing::{Image, commit, content, cut, try_fill};

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    Write { file: usize, at: u64, blocks: u64 },
    Punch { file: usize, at: u64, blocks: u64 },
    Truncate { file: usize, at: u64 },
    Commit,
}

/// Places near the ends of the levels of a map with `n` pointers in a block.
fn place(n: u64) -> impl Strategy<Value = u64> {
    let near = vec![0, 5, 12, 12 + n, 12 + 2 * n, 12 + n + n * n, 12 + n + 2 * n * n];
    (prop::sample::select(near), 0..40_u64).prop_map(|(near, offset)| (near + offset).saturating_sub(20))
}

fn step(n: u64) -> impl Strategy<Value = Step> {
    let file = 0..NAMES.len();
    prop_oneof![
        5 => (file.clone(), place(n), 1..80_u64).prop_map(|(file, at, blocks)| Step::Write { file, at, blocks }),
        3 => (file.clone(), place(n), 1..400_u64).prop_map(|(file, at, blocks)| Step::Punch { file, at, blocks }),
        1 => (file, place(n)).prop_map(|(file, at)| Step::Truncate { file, at }),
        2 => Just(Step::Commit),
    ]
}

/// What a file has.
#[derive(Default)]
struct Model {
    blocks: BTreeSet<u64>,
    size: u64,
}

impl Model {
    /// With those of pointers.
    fn all(&self, n: u64) -> u64 {
        let mut pointers = BTreeSet::new();
        for block in &self.blocks {
            let path = super::super::path::Path::to(n, *block).unwrap();
            for level in 1..=path.level {
                pointers.insert((
                    path.slot,
                    level,
                    (block - path.before(path.level)) + path.before(path.level) / path.span(level),
                ));
            }
        }
        (self.blocks.len() + pointers.len()) as u64
    }
}

fn apply(store: &mut Store, inodes: &[u32], models: &mut [Model], step: &Step, pending: &mut BTreeSet<u64>) {
    let far = map::longest(&store.geometry);
    match step {
        Step::Write { file, at, blocks } => {
            try_fill(store, inodes[*file], *at, *blocks).unwrap();
            let mine = physical(store, inodes[*file]);
            assert!(mine.is_disjoint(pending), "given away before they may be");
            models[*file].blocks.extend(*at..at + blocks);
            models[*file].size = models[*file].size.max(at + blocks);
        }
        Step::Punch { file, at, blocks } => {
            let before = physical(store, inodes[*file]);
            cut(store, inodes[*file], *at, at + blocks);
            pending.extend(before.difference(&physical(store, inodes[*file])));
            models[*file].blocks.retain(|block| !(*at..at + blocks).contains(block));
        }
        Step::Truncate { file, at } => {
            let before = physical(store, inodes[*file]);
            cut(store, inodes[*file], *at, far);
            pending.extend(before.difference(&physical(store, inodes[*file])));
            let block_size = u64::from(store.geometry.sb.block_size);
            let mut handle = store.begin();
            let mut node = Node::read(&mut handle, inodes[*file]).unwrap();
            node.set_size(&mut handle, at * block_size).unwrap();
            node.write(&mut handle).unwrap();
            handle.done();
            models[*file].blocks.retain(|block| block < at);
            models[*file].size = *at;
        }
        Step::Commit => {
            commit(store);
            pending.clear();
        }
    }
}

/// The blocks of a file on the disk.
fn physical(store: &mut Store, ino: u32) -> BTreeSet<u64> {
    let mut handle = store.begin();
    let node = Node::read(&mut handle, ino).unwrap();
    let end = node.inode().unwrap().size().div_ceil(u64::from(handle.geometry().sb.block_size));
    let (mut at, mut blocks) = (0, BTreeSet::new());
    while at < end {
        let run = map::find(&mut handle, &node, at, end - at).unwrap();
        blocks.extend(run.physical.into_iter().flat_map(|first| first..first + run.blocks));
        at += run.blocks;
    }
    blocks
}

fn check(block_size: u64, arguments: &[&str], steps: &[Step]) {
    let image = Image::new(24 << 10, arguments, &NAMES);
    let inodes = NAMES.map(|name| image.inode(name));
    let mut store = image.store();
    let n = store.geometry.pointers_per_block();
    let (mut models, mut pending) = ([(); 3].map(|()| Model::default()), BTreeSet::new());
    for step in steps {
        apply(&mut store, &inodes, &mut models, step, &mut pending);
    }
    commit(&mut store);
    image.assert_sound();
    let mount = image.mount();
    for ((name, ino), model) in NAMES.iter().zip(inodes).zip(&models) {
        let file = File::open(mount.join(name)).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(
            (metadata.len(), metadata.blocks()),
            (model.size * block_size, model.all(n) * (block_size / 512)),
            "{name}"
        );
        let zeros = vec![0; block_size as usize];
        let near = model.blocks.iter().flat_map(|block| [block.saturating_sub(1), *block, block + 1]);
        for block in near.filter(|block| *block < model.size) {
            let mut bytes = zeros.clone();
            file.read_exact_at(&mut bytes, block * block_size).unwrap();
            let is_there = model.blocks.contains(&block);
            assert!(bytes == if is_there { content(ino, block, block_size) } else { zeros.clone() }, "{name} {block}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn content_is_what_was_written_with_blocks_of_1_kib(steps in prop::collection::vec(step(256), 1..40)) {
        check(1024, &["-b", "1024", "-I", "128", "-g", "4096"], &steps);
    }

    #[test]
    fn content_is_what_was_written_with_blocks_of_2_kib(steps in prop::collection::vec(step(512), 1..40)) {
        check(2048, &["-b", "2048", "-I", "256"], &steps);
    }

    #[test]
    fn content_is_what_was_written_with_blocks_of_4_kib(steps in prop::collection::vec(step(1024), 1..40)) {
        check(4096, &["-b", "4096", "-I", "256"], &steps);
    }
}
