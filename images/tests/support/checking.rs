//! What all tests of a check begin with, and what must hold after each.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use condatainer_images::system::user::Caller;
use condatainer_images::verbs::check::{Code, Fix, Report, Request, Severity, check};

use super::{Bench, Seen, bytes_of, debugfs, fsck, rich_tree, snapshot};

pub const RECIPE: &[&str] = &[
    "-t",
    "ext3",
    "-b",
    "4096",
    "-I",
    "256",
    "-m",
    "0",
    "-J",
    "size=4",
    "-O",
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file",
];

pub fn root() -> Caller {
    Caller { uid: 0, gid: 0, name: "root".into(), home: None, shell: None, has_subids: false }
}

pub fn run(image: &Path, fix: Fix) -> Report {
    run_as(image, fix, root())
}

pub fn run_as(image: &Path, fix: Fix, caller: Caller) -> Report {
    check(image, &Request { fix, caller }, &mut |_, _| {}).unwrap_or_else(|e| panic!("{e}"))
}

pub fn refusal(image: &Path, fix: Fix) -> String {
    let before = bytes_of(image);
    let error = check(image, &Request { fix, caller: root() }, &mut |_, _| {}).expect_err("it must be refused");
    assert!(bytes_of(image) == before, "a refused image was changed");
    assert!(!error.to_string().contains('\n'), "{error}");
    error.to_string()
}

/// The kinds of errors, whether they were fixed or not.
pub fn errors(report: &Report) -> Vec<Code> {
    let errors = report.findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| finding.code).collect()
}

/// Looks without changing a byte; hands back what was found.
pub fn look(image: &Path) -> Vec<Code> {
    let before = bytes_of(image);
    let report = run(image, Fix::No);
    assert!(bytes_of(image) == before, "a look changed the image");
    assert_eq!(report.ok, errors(&report).is_empty());
    for finding in report.findings.iter().filter(|finding| finding.severity == Severity::Error) {
        assert!(!finding.fixed && !finding.message.contains('\n') && finding.cure.is_some(), "{finding:?}");
    }
    errors(&report)
}

/// Repairs; everything must be gone then, also for e2fsck, and nothing of ours left beside the image.
pub fn cured(bench: &Bench, image: &Path, fix: Fix) -> Report {
    let report = run(image, fix);
    assert!(report.ok && report.findings.iter().all(|f| f.fixed || f.severity == Severity::Note), "{report:#?}");
    assert_eq!((fsck(image), look(image)), (Ok(()), Vec::new()));
    assert_eq!(drafts(bench), Vec::<String>::new());
    report
}

pub fn drafts(bench: &Bench) -> Vec<String> {
    let names = fs::read_dir(bench.dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".check")).collect()
}

pub fn rich(bench: &Bench, name: &str, options: &[&str]) -> PathBuf {
    let tree = bench.path("rich");
    if !tree.exists() {
        rich_tree(&tree);
        fs::remove_file(tree.join("upper/.wh.deleted")).unwrap();
    }
    bench.image_of(name, options, 48, &tree)
}

/// Names, owners, modes and inode numbers, and one content.
pub fn content(image: &Path) -> (BTreeMap<String, Seen>, String) {
    (snapshot(image), debugfs(image, "cat /upper/usr/bin/sudo"))
}

pub fn ino(image: &Path, path: &str) -> u32 {
    snapshot(image)[path].ino
}
