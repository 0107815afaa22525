//! Random writes, cuts and holes in a few files that share a backing file, against plain bytes.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::{Backing, Content, Data};

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, rng_seed: RngSeed::Fixed(0x00C0_FFEE), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn contents_are_what_was_written(
        steps in prop::collection::vec((0..3_usize, 0..5_u8, 0..60_000_u64, 1..40_000_usize, 1..255_u8), 1..60),
        limit in prop::option::of(1..60_u64),
    ) {
        let data = Data::new(Backing::in_memory().unwrap(), limit.map(|blocks| blocks * 4096));
        let mut files: [(Content, Vec<u8>); 3] = Default::default();
        for (file, what, at, len, byte) in steps {
            let (content, model) = &mut files[file];
            let (from, to) = (at as usize, at as usize + len);
            match what {
                0 | 1 => {
                    let written = content.write(&data, at, &vec![byte; len]).unwrap_or(0);
                    prop_assert!(limit.is_some() || written == len);
                    if written > 0 {
                        model.resize(model.len().max(from + written), 0);
                        model[from..from + written].fill(byte);
                    }
                }
                2 => {
                    content.punch(&data, at, u64::MAX).unwrap();
                    model.resize(from, 0);
                }
                3 => {
                    content.punch(&data, at, to as u64).unwrap();
                    let end = to.min(model.len());
                    model[from.min(end)..end].fill(0);
                }
                _ => {
                    let reserved = content.reserve(&data, at, to as u64);
                    prop_assert!(limit.is_some() || reserved.is_ok());
                }
            }
            for (content, model) in &files {
                let mut read = vec![1; model.len() + 10];
                let length = content.read(&data, model.len() as u64, 0, &mut read).unwrap();
                prop_assert_eq!(&read[..length], &model[..]);
            }
            let blocks: u64 = files.iter().map(|(content, _)| content.blocks()).sum();
            prop_assert!(limit.is_none_or(|limit| blocks <= limit));
        }
    }
}

#[test]
fn memory_has_as_much_room_as_was_given() {
    let data = Data::new(Backing::in_memory().unwrap(), Some(4 * 4096));
    let free = || (data.room().unwrap().blocks, data.room().unwrap().free);
    let mut content = Content::default();
    assert_eq!((free(), content.write(&data, 0, &[1; 3 * 4096])), ((4, 4), Ok(3 * 4096)));
    assert_eq!((free(), content.write(&data, 3 * 4096, &[1; 4 * 4096])), ((4, 1), Ok(4096)));
    assert_eq!((free(), content.write(&data, 4 * 4096, &[1])), ((4, 0), Err(nix::errno::Errno::ENOSPC)));
    content.clear(&data);
    assert_eq!(free(), (4, 4));
}
