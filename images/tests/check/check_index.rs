//! Indexes of large directories through checks and repairs: none is taken away, and none is called damaged.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use condatainer_formats::ext::Ids;
use condatainer_images::verbs::check::{Code, Fix, Request, check};
use condatainer_images::verbs::chown::{self, chown};
use nix::sys::signal::Signal;
use support::checking::{RECIPE, cured, errors, ino, look, rich, root, run};
use support::{
    Bench, Mounted, Victim, bytes_of, copy, debugfs, debugfs_script, debugfs_write, fsck, instants, snapshot, some_of,
};
use support::{quicker_of_two, superblock_field, tool};

const IMAGE: &str = "CONDATAINER_TEST_KILLED_PREEN";

/// Two large directories: `many` has an index, `listed` had one until fuse2fs wrote to it.
fn indexed(bench: &Bench) -> PathBuf {
    let tree = bench.path("rich");
    let image = rich(bench, "first.img", RECIPE);
    fs::remove_file(image).unwrap();
    fs::create_dir(tree.join("upper/listed")).unwrap();
    for i in 0..600 {
        fs::write(tree.join(format!("upper/listed/a-name-that-is-long-enough-{i}")), i.to_string()).unwrap();
    }
    let image = rich(bench, "env.img", RECIPE);
    tool("e2fsck").args(["-fyD"]).arg(&image).output().unwrap();
    assert!(is_indexed(&image, "many") && is_indexed(&image, "listed"));
    debugfs_write(&image, "sif /upper/listed flags 0");
    assert_eq!(fsck(&image), Ok(()));
    image
}

fn is_indexed(image: &Path, directory: &str) -> bool {
    debugfs(image, &format!("stat /upper/{directory}")).contains("Flags: 0x1000")
}

fn has_feature(image: &Path) -> bool {
    superblock_field(image, "Filesystem features").contains("dir_index")
}

/// As a killed run leaves it.
fn hide(image: &Path) {
    debugfs_write(image, "feature -dir_index");
    assert!(!has_feature(image));
}

fn assert_kept(image: &Path, before: &BTreeMap<String, support::Seen>) {
    assert!(is_indexed(image, "many") && !is_indexed(image, "listed") && has_feature(image));
    assert!(snapshot(image) == *before);
}

#[test]
fn a_crash_costs_no_index() {
    let bench = Bench::new();
    let image = indexed(&bench);
    let before = snapshot(&image);
    debugfs_write(&image, "ssv state 0");
    assert_eq!(look(&image), [Code::NotClean]);
    assert_eq!(errors(&cured(&bench, &image, Fix::Safe)), [Code::NotClean]);
    assert_kept(&image, &before);

    debugfs_write(&image, "ssv state 0");
    let user = Ids { uid: 1000, gid: 1000 };
    let request = chown::Request { replay: true, ..chown::Request::new(user, user) };
    assert!(chown(&image, &request, &mut |_, _| {}).unwrap().replayed);
    assert!(is_indexed(&image, "many") && !is_indexed(&image, "listed") && has_feature(&image));
}

#[test]
fn what_a_killed_repair_has_hidden_is_no_damage() {
    let bench = Bench::new();
    let image = indexed(&bench);
    let before = snapshot(&image);
    for state in ["ssv state 0", "ssv state 1"] {
        hide(&image);
        debugfs_write(&image, state);
        assert_eq!(look(&image), if state.ends_with('0') { vec![Code::NotClean] } else { vec![] });
        cured(&bench, &image, Fix::Safe);
        assert_kept(&image, &before);
    }
    assert!(
        bytes_of(&image) == {
            run(&image, Fix::Safe);
            bytes_of(&image)
        },
        "nothing is left to do"
    );
}

/// Both take the mark of an index from a directory that they write to, so what still has it is right.
#[test]
fn who_writes_while_the_feature_is_hidden_leaves_no_wrong_index() {
    let bench = Bench::new();
    let image = indexed(&bench);
    hide(&image);
    debugfs_write(&image, "write /dev/null /upper/many/new");
    let mounted = Mounted::new(&image, "rw");
    fs::write(mounted.at.path().join("upper/many/one-by-the-kernel"), "").unwrap();
    drop(mounted);
    cured(&bench, &image, Fix::Safe);
    assert!(snapshot(&image).contains_key("/upper/many/one-by-the-kernel"));
    assert_eq!(fsck(&image), Ok(()));
}

/// e2fsck -p would rebuild it in place.
#[test]
fn a_damaged_index_is_given_up_and_no_name_is() {
    let bench = Bench::new();
    let image = indexed(&bench);
    let names = snapshot(&image).into_keys().collect::<Vec<_>>();
    let (block, many) = (debugfs(&image, "bmap /upper/many 0"), ino(&image, "/upper/many"));
    let file = File::options().write(true).open(&image).unwrap();
    // The version of its hash.
    file.write_all_at(&[77], block.trim().parse::<u64>().unwrap() * 4096 + 24 + 4).unwrap();
    assert_eq!(look(&image), [Code::DamagedDirectories]);
    let blocks = debugfs(&image, &format!("blocks <{many}>"));
    cured(&bench, &image, Fix::Safe);
    assert!(!is_indexed(&image, "many") && has_feature(&image));
    assert_eq!((debugfs(&image, &format!("blocks <{many}>")), snapshot(&image).into_keys().collect()), (blocks, names));
}

/// Not a test of its own, but the process that is killed.
#[test]
fn victim() {
    if let Some(image) = env::var_os(IMAGE) {
        assert!(run(Path::new(&image), Fix::Safe).ok);
    }
}

fn is_in_use(image: &Path) -> bool {
    let request = Request { fix: Fix::No, caller: root() };
    check(image, &request, &mut |_, _| {}).is_err_and(|error| error.to_string().contains("is in use"))
}

#[test]
fn killed_at_any_instant_it_keeps_every_index() {
    let bench = Bench::new();
    let original = indexed(&bench);
    debugfs_script(&original, "ssv state 0\nsetb 9000 900\nssv free_blocks_count 1\n");
    let before = snapshot(&original);
    let image = bench.path("victim.img");
    let renew = || copy(&original, &image);
    let start = || Victim::start(IMAGE, &image);
    let whole_run = quicker_of_two(|| {
        renew();
        start().finish()
    });
    let mut hidden = 0;
    for _ in 0..instants() / 2 {
        renew();
        start().end_after(some_of(whole_run), Signal::SIGKILL);
        // The tool that was at work goes on, and holds the lock.
        while is_in_use(&image) {
            std::thread::sleep(Duration::from_millis(5));
        }
        hidden += u32::from(!has_feature(&image));
        assert!(is_indexed(&image, "many") && !is_indexed(&image, "listed"));
        cured(&bench, &image, Fix::Safe);
        assert_kept(&image, &before);
    }
    eprintln!("{hidden} runs were cut off while the feature was hidden");
}
