//! Verdicts about places.

use super::system::System;
use super::*;
use crate::doctor::check::Status;

fn directory(kind: &str, options: &[&str]) -> Facts {
    let options = options.iter().map(|option| (*option).into()).collect();
    let system = Some(System { kind: kind.into(), options });
    Facts { path: "/d".into(), problem: None, image: None, trial: Trial::Seen, system }
}

#[test]
fn a_local_file_system() {
    assert_eq!(judge(&directory("ext4", &[])), Check::ok("locks", "/d: ext4: locks work"));
    let image = Facts { path: "/d/env.img".into(), image: Some(("ext3", Lock::Held)), ..directory("xfs", &[]) };
    assert_eq!(judge(&image).found, "/d/env.img: ext3 image on xfs: locks work, in use");
}

#[test]
fn a_shared_file_system() {
    let check = judge(&directory("nfs4", &["rw", "local_lock=none"]));
    let cure = check.cure.unwrap_or_default();
    assert_eq!(check.status, Status::Ok);
    assert!(cure.contains("condatainer o -s 64M /d/locks.img; condatainer exec -w -o /d/locks.img sleep 60"), "{cure}");
    let image =
        Facts { path: "/d/env.img".into(), image: Some(("ext3", Lock::Free)), ..directory("lustre", &["flock"]) };
    let cure = judge(&image).cure.unwrap_or_default();
    assert!(cure.starts_with("on one node: condatainer exec -w -o /d/env.img sleep 60"), "{cure}");
    let local = judge(&directory("lustre", &["localflock"]));
    assert!(local.status == Status::Warning && local.found.contains("on this node only"), "{local:?}");
}

#[test]
fn no_locks() {
    let none = Facts { trial: Trial::Unsupported("Function not implemented".into()), ..directory("lustre", &[]) };
    let check = judge(&none);
    assert!(check.status == Status::Warning && check.cure.is_some_and(|cure| cure.contains("option flock")));
    assert_eq!(judge(&Facts { trial: Trial::Unseen, ..directory("fuse.x", &[]) }).status, Status::Failed);
    let unwritable = Facts { trial: Trial::NoFile("Permission denied".into()), ..directory("ext4", &[]) };
    assert_eq!(judge(&unwritable).status, Status::Skipped);
    // The image itself can still be asked.
    let image = Facts { image: Some(("ext3", Lock::Free)), ..unwritable };
    assert_eq!(judge(&image).status, Status::Ok);
    let image = Facts { image: Some(("ext3", Lock::Unsupported("No locks available".into()))), ..image };
    assert_eq!(judge(&image).status, Status::Warning);
}

#[test]
fn nothing_there() {
    let facts = Facts { problem: Some("/d: no such file or directory".into()), ..directory("ext4", &[]) };
    assert_eq!(judge(&facts).found, "/d: no such file or directory");
    assert_eq!(judge(&facts).status, Status::Failed);
}
