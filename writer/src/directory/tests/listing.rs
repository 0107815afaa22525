//! Listings that are left and gone on with while names come and go.

use std::collections::{BTreeMap, BTreeSet};

use super::trial::{Trial, colliding};
use crate::directory;
use crate::directory::listing::Listed;
use crate::inode::Node;
use crate::testing::{Image, Opened};

/// The next names from `from` on, and where to go on; `None` at the end.
fn some(trial: &Trial, opened: &mut Opened, from: u64, count: usize) -> Option<(Vec<Vec<u8>>, u64)> {
    let (mut names, mut next, dir) = (Vec::new(), 0, trial.dir);
    let mut visit = |listed: &Listed<'_>| {
        names.push(listed.name.to_vec());
        next = listed.next;
        names.len() < count
    };
    opened
        .change(|handle| {
            let dir = Node::read(handle, dir)?;
            directory::list(handle, &dir, from, &mut visit)
        })
        .unwrap();
    (!names.is_empty()).then_some((names, next))
}

/// Lists while names that are not asked about come and go; those that stay are shown once.
fn list_among_changes(trial: &Trial, stay: &BTreeSet<Vec<u8>>, at_once: usize) {
    let mut opened = trial.image.open();
    for name in stay {
        trial.insert(&mut opened, name).unwrap();
    }
    let (mut shown, mut from, mut number) = (BTreeMap::new(), 0, 0);
    while let Some((names, next)) = some(trial, &mut opened, from, at_once) {
        assert!(next > from);
        from = next;
        for name in names {
            *shown.entry(name).or_insert(0) += 1;
        }
        for _ in 0..20 {
            trial.insert(&mut opened, format!("comes-{number}").as_bytes()).unwrap();
            if number % 3 != 0 {
                trial.remove(&mut opened, format!("comes-{}", number / 2).as_bytes()).unwrap();
            }
            number += 1;
        }
    }
    assert!(stay.iter().all(|name| shown.get(name) == Some(&1)), "a name that stays is not shown once");
    opened.close();
    trial.image.assert_sound();
}

#[test]
fn names_that_stay_are_shown_once_while_others_come_and_go() {
    for hash in ["legacy", "half_md4", "tea"] {
        // The first begins in one block, which becomes an index on the way.
        for (names, at_once) in [(20, 3), (400, 10), (3000, 40)] {
            let image = Image::new(16 << 10, &["-b", "1024"], &[]);
            image.spoil(&format!("ssv def_hash_version {hash}"));
            let trial = Trial::of(image, |_| {});
            let mut stay: BTreeSet<_> = (0..names).map(|number| format!("stays-{number}").into_bytes()).collect();
            if names > 20 {
                stay.extend(colliding());
            }
            list_among_changes(&trial, &stay, at_once);
        }
    }
}

#[test]
fn a_list_without_an_index_is_shown_as_it_lies() {
    let trial = Trial::new(16, &["-b", "1024", "-O", "^dir_index"], |_| {});
    let stay: BTreeSet<_> = (0..400).map(|number| format!("stays-{number}").into_bytes()).collect();
    // New names go where old ones were or to the end, so this ends only because names are asked for faster than they come.
    list_among_changes(&trial, &stay, 100);
}
