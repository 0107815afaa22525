//! `make install` and `make uninstall`: all or nothing, and back again.

// Tests and their helpers: what does not hold, fails the test.
#![allow(clippy::unwrap_used, clippy::panic)]
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn make(words: &[&str]) -> Output {
    let mut make = Command::new("make");
    make.args(["--no-print-directory", "-s"]).args(words).current_dir(top());
    // This is no part of the make that runs the tests.
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PROFILE", "DESTDIR", "PREFIX", "SYSCONFDIR", "BUILT"] {
        make.env_remove(name);
    }
    make.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The files and links below a directory.
fn names(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(names(&path));
        } else {
            found.insert(path);
        }
    }
    found
}

/// A directory that has what cargo builds: the program that is shipped, and the plugin.
fn built(directory: &Path) -> PathBuf {
    let built = directory.join("built");
    fs::create_dir(&built).unwrap();
    let shipped = |name| {
        std::env::var_os(name).map(PathBuf::from).unwrap_or_else(|| panic!("{name} is not set: run it by make unit"))
    };
    std::os::unix::fs::symlink(shipped("CONDATAINER_BIN"), built.join("condatainer")).unwrap();
    std::os::unix::fs::symlink(shipped("CONDATAINER_PLUGIN"), built.join("libspank_condatainer.so")).unwrap();
    built
}

#[test]
fn nothing_is_installed_from_an_unbuilt_tree() {
    let directory = tempfile::tempdir().unwrap();
    let (empty, root) = (directory.path().join("empty"), directory.path().join("root"));
    fs::create_dir(&empty).unwrap();
    let (built, destination) = (format!("BUILT={}", empty.display()), format!("DESTDIR={}", root.display()));
    let refused = make(&["install", &built, &destination]);
    assert!(!refused.status.success() && said(&refused).contains("run make first"), "{refused:?}");
    let refused = make(&["install", &built, &destination, "PROFILE=dist"]);
    assert!(said(&refused).contains("run make PROFILE=dist first"), "{refused:?}");
    assert!(!root.exists());
}

/// The command reads one file, whose path was compiled in.
#[test]
fn another_etc_is_built_in_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (built, root) = (built(directory.path()), directory.path().join("root"));
    let words = [format!("BUILT={}", built.display()), format!("DESTDIR={}", root.display())];
    let refused = make(&["install", &words[0], &words[1], "SYSCONFDIR=/opt/etc"]);
    assert!(said(&refused).contains("run make SYSCONFDIR=/opt/etc first"), "{refused:?}");
    assert!(!root.exists());
}

#[test]
fn uninstall_takes_back_everything() {
    let directory = tempfile::tempdir().unwrap();
    let (built, root) = (built(directory.path()), directory.path().join("root"));
    let words = [format!("BUILT={}", built.display()), format!("DESTDIR={}", root.display()), "PREFIX=/opt/c".into()];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let installed = make(&[&["install"], &words[..]].concat());
    assert!(installed.status.success(), "{installed:?}");
    let there = names(&root);
    for file in [
        "bin/condatainer",
        "lib/slurm/spank_condatainer.so",
        "share/doc/condatainer/docs/start.md",
        "share/condatainer/apparmor",
    ] {
        assert!(there.contains(&root.join("opt/c").join(file)), "{file}: {there:?}");
    }
    // Twice is as good as once.
    assert!(make(&[&["install"], &words[..]].concat()).status.success());
    assert_eq!(names(&root), there);

    // The line for Slurm goes before the plugin does.
    let slurm = root.join("etc/slurm");
    fs::create_dir_all(&slurm).unwrap();
    let plugstack = slurm.join("plugstack.conf");
    fs::write(&plugstack, "required /opt/c/lib/slurm/spank_condatainer.so\n").unwrap();
    let refused = make(&[&["uninstall"], &words[..]].concat());
    assert!(!refused.status.success() && said(&refused).contains("comment that line first"), "{refused:?}");
    fs::write(
        &plugstack,
        "#required /opt/c/lib/slurm/spank_condatainer.so\ninclude /opt/c/share/condatainer/plugstack.conf\n",
    )
    .unwrap();
    let gone = make(&[&["uninstall"], &words[..]].concat());
    assert!(gone.status.success(), "{gone:?}");
    assert_eq!(names(&root), BTreeSet::from([plugstack]));
}
