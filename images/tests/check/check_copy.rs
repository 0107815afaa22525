//! Repairs on a copy, and those who come to the image meanwhile: nobody loses what he writes, and no name of the file is left behind.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use condatainer_images::verbs::check::{CheckError, Code, Fix, Report, Request, check};
use support::checking::{RECIPE, errors, look, rich, root, run};
use support::{Bench, Mounted, debugfs, debugfs_script, debugfs_write, names_in};

/// In a directory of its own: an image that only a copy can cure, without `work` or with blocks that two files claim.
fn broken(bench: &Bench, fix: Fix) -> PathBuf {
    let made = rich(bench, "made.img", RECIPE);
    if fix == Fix::Force {
        let block = debugfs(&made, "bmap /upper/usr/bin/sudo 0");
        debugfs_write(&made, &format!("sif /upper/var/cache/man/index block[0] {}", block.trim()));
    } else {
        debugfs_script(&made, "rmdir /work/work\nrmdir /work\n");
    }
    let directory = bench.path(&format!("{fix:?}"));
    fs::create_dir(&directory).unwrap();
    let image = directory.join("env.img");
    fs::rename(made, &image).unwrap();
    image
}

/// Repairs, and lets somebody do something while the copy is there.
fn repair_while(image: &Path, fix: Fix, meanwhile: impl FnOnce()) -> Result<Report, CheckError> {
    let mut meanwhile = Some(meanwhile);
    check(image, &Request { fix, caller: root() }, &mut |_, _| {
        if names_in(image.parent().unwrap()).iter().any(|name| name.ends_with(".check"))
            && let Some(meanwhile) = meanwhile.take()
        {
            meanwhile();
        }
    })
}

fn said(result: Result<Report, CheckError>) -> String {
    let message = result.expect_err("it must be refused").to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn who_writes_without_a_lock_loses_nothing() {
    let bench = Bench::new();
    for fix in [Fix::Safe, Fix::Force] {
        let image = broken(&bench, fix);
        let ino = fs::metadata(&image).unwrap().ino();
        let write = || File::options().write(true).open(&image).unwrap().write_all_at(b"precious", 512).unwrap();
        let message = said(repair_while(&image, fix, write));
        assert!(message.contains("somebody wrote to it meanwhile, so the repaired copy was thrown away"), "{message}");
        let mut there = [0; 8];
        File::open(&image).unwrap().read_exact_at(&mut there, 512).unwrap();
        assert_eq!((&there, fs::metadata(&image).unwrap().ino()), (b"precious", ino));
        assert_eq!(names_in(image.parent().unwrap()), ["env.img"], "nothing is left of the copy");
        assert!(run(&image, fix).ok, "and then it is repaired");
    }
}

#[test]
fn who_is_about_to_write_stops_it() {
    let bench = Bench::new();
    let image = broken(&bench, Fix::Safe);
    let open = || File::options().read(true).write(true).open(&image).unwrap();

    let mut child = None;
    let result = repair_while(&image, Fix::Safe, || {
        child = Command::new("sleep").arg("60").stdin(Stdio::from(open())).spawn().ok();
    });
    let mut child = child.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said(result).contains("(sleep) opened it for writing meanwhile"));

    let mut mounted = None;
    let result = repair_while(&image, Fix::Safe, || mounted = Some(Mounted::new(&image, "ro,noload")));
    drop(mounted);
    assert!(said(result).contains("attached to /dev/loop"));

    let away = image.with_file_name("away.img");
    let result = repair_while(&image, Fix::Safe, || {
        fs::rename(&image, &away).unwrap();
        fs::write(&image, "another").unwrap();
    });
    assert!(said(result).contains("it was replaced by another file meanwhile"));
    assert_eq!(fs::read_to_string(&image).unwrap(), "another");
    assert_eq!(names_in(image.parent().unwrap()), ["away.img", "env.img"]);
}

#[test]
fn an_image_with_several_names_keeps_them_together() {
    let bench = Bench::new();
    for fix in [Fix::Safe, Fix::Force] {
        let image = broken(&bench, fix);
        let other = image.with_file_name("other.img");
        fs::hard_link(&image, &other).unwrap();
        let message = said(check(&image, &Request { fix, caller: root() }, &mut |_, _| {}));
        assert!(message.contains("has 2 hard links") && message.contains("-samefile"), "{message}");
        fs::remove_file(&other).unwrap();
        let message = said(repair_while(&image, fix, || fs::hard_link(&image, &other).unwrap()));
        assert!(message.contains("has 2 hard links"), "one made meanwhile: {message}");
        assert_eq!(fs::metadata(&image).unwrap().ino(), fs::metadata(&other).unwrap().ino());
        assert_eq!(names_in(image.parent().unwrap()), ["env.img", "other.img"]);
    }
}

/// What e2fsck -p puts right it puts right in the file itself, whatever it is called.
#[test]
fn a_repair_in_place_takes_several_names() {
    let bench = Bench::new();
    let image = rich(&bench, "env.img", RECIPE);
    fs::hard_link(&image, bench.path("other.img")).unwrap();
    debugfs_write(&image, "ssv state 0");
    assert_eq!(errors(&run(&image, Fix::Safe)), [Code::NotClean]);
    assert_eq!(look(&bench.path("other.img")), []);
}

/// The name that a killed repair has given to the original is none that somebody would miss.
#[test]
fn a_name_that_a_killed_repair_has_given_is_used_again() {
    let bench = Bench::new();
    let image = broken(&bench, Fix::Force);
    let damaged = image.with_file_name("env.img.damaged");
    fs::hard_link(&image, &damaged).unwrap();
    let ino = fs::metadata(&image).unwrap().ino();
    let report = run(&image, Fix::Force);
    assert!(report.ok && report.kept.as_deref() == Some(&fs::canonicalize(&damaged).unwrap()), "{report:#?}");
    assert_eq!((fs::metadata(&damaged).unwrap().ino(), names_in(image.parent().unwrap()).len()), (ino, 2));
}
