//! Random sequences against a set of names.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::trial::{Trial, colliding};
use crate::testing::Image;

/// What is done with so many names from one on; with many at once blocks are split.
#[derive(Debug, Clone)]
enum Step {
    Insert(usize, usize),
    Remove(usize, usize),
    Find(usize),
    List(usize),
}

const NAMES: usize = 1200;

fn names() -> Vec<Vec<u8>> {
    let mut names = colliding();
    let lengths = [1, 2, 3, 5, 8, 13, 40, 100, 254, 255];
    for number in names.len()..NAMES {
        let mut name = format!("{number}").into_bytes();
        name.resize(name.len().max(lengths[number % lengths.len()]), b'z');
        names.push(name);
    }
    names
}

fn step() -> impl Strategy<Value = Step> {
    let some = || prop_oneof![(0..NAMES, Just(1_usize)), (0..16_usize, Just(1_usize)), (0..NAMES, 1..200_usize)];
    prop_oneof![
        4 => some().prop_map(|(from, count)| Step::Insert(from, count)),
        3 => some().prop_map(|(from, count)| Step::Remove(from, count)),
        2 => (0..NAMES).prop_map(Step::Find),
        1 => (1..60_usize).prop_map(Step::List),
    ]
}

fn play(block_size: &str, hash: &str, steps: &[Step]) {
    let image = Image::new(8192, &["-b", block_size, "-I", "128"], &[]);
    image.spoil(&format!("ssv def_hash_version {hash}"));
    let trial = Trial::of(image, |_| {});
    let (all, mut model, mut opened) = (names(), BTreeSet::new(), trial.image.open());
    for step in steps {
        match *step {
            Step::Insert(from, count) => {
                for name in all.iter().skip(from).take(count) {
                    if model.insert(name.clone()) {
                        trial.insert(&mut opened, name).unwrap();
                    }
                }
            }
            Step::Remove(from, count) => {
                for name in all.iter().skip(from).take(count) {
                    assert_eq!(trial.remove(&mut opened, name).unwrap(), model.remove(name));
                }
            }
            Step::Find(number) => {
                let found = trial.find(&mut opened, &all[number]).unwrap();
                assert_eq!(found, model.contains(&all[number]).then(|| trial.file_of(&all[number])));
            }
            Step::List(at_once) => {
                let listed = trial.list(&mut opened, at_once).unwrap();
                assert_eq!(listed.len(), model.len());
                assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), model);
            }
        }
    }
    opened.close();
    trial.check(&model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_directory_is_a_set_of_names(
        block_size in prop_oneof![Just("1024"), Just("4096")],
        hash in prop_oneof![Just("legacy"), Just("half_md4"), Just("tea")],
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        play(block_size, hash, &steps);
    }
}
