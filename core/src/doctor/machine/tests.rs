//! Verdicts about machines.

use super::*;
use crate::doctor::check::Status;

fn healthy() -> Facts {
    Facts {
        kernel: "6.1.0-13-amd64".into(),
        max_user_namespaces: Some(15_000),
        userns_clone: Some(1),
        apparmor: None,
        profile: None,
        namespaces: Tried::Worked,
        overlay: Tried::Worked,
        fuse: Some(Device { mode: 0o666, gid: 0, problem: None }),
        cgroup: "v2",
        gpus: Vec::new(),
    }
}

fn refused() -> Tried {
    Tried::Failed("unshare: write failed /proc/self/uid_map: Operation not permitted".into())
}

#[test]
fn kernels() {
    let verdict = |release: &str, overlay: Tried| {
        let facts = Facts { kernel: release.into(), overlay, ..healthy() };
        (kernel(&facts).status, super::overlay(&facts).status)
    };
    assert_eq!(verdict("6.1.0-13-amd64", Tried::Worked), (Status::Ok, Status::Ok));
    // Red Hat's has it although it is older.
    assert_eq!(verdict("4.18.0-513.el8", Tried::Worked), (Status::Ok, Status::Ok));
    assert_eq!(verdict("4.18.0-80.el8", refused()), (Status::Ok, Status::Warning));
    assert_eq!(verdict("3.10.0-1160.el7", refused()), (Status::Failed, Status::Warning));
    let facts = Facts { overlay: refused(), ..healthy() };
    assert!(overlay(&facts).cure.is_some_and(|cure| cure.contains("modprobe overlay")));
}

#[test]
fn namespaces_that_are_switched_off() {
    let of = |facts: Facts| namespaces(&facts);
    assert_eq!(of(healthy()).status, Status::Ok);
    let off = of(Facts { max_user_namespaces: Some(0), namespaces: refused(), ..healthy() });
    assert!(off.status == Status::Failed && off.found.contains("max_user_namespaces is 0"), "{off:?}");
    let off = of(Facts { userns_clone: Some(0), namespaces: refused(), ..healthy() });
    assert!(off.cure.is_some_and(|cure| cure.ends_with("kernel.unprivileged_userns_clone=1")));
    let off = of(Facts { namespaces: refused(), ..healthy() });
    assert!(off.status == Status::Failed && off.found.contains("Operation not permitted"), "{off:?}");
}

#[test]
fn apparmor() {
    let facts = Facts { apparmor: Some(1), namespaces: refused(), ..healthy() };
    assert_eq!(namespaces(&facts).status, Status::Failed);
    let facts = Facts { profile: Some("/etc/apparmor.d/apptainer".into()), ..facts };
    assert_eq!(namespaces(&facts).status, Status::Warning);
    assert_eq!(namespaces(&Facts { namespaces: Tried::Worked, ..facts }).status, Status::Ok);
}

#[test]
fn devices() {
    let device = |mode, gid, problem: Option<&str>| Device { mode, gid, problem: problem.map(Into::into) };
    let denied = Some("Permission denied (os error 13)");
    assert_eq!(fuse(None, false).status, Status::Failed);
    assert_eq!(fuse(Some(&device(0o666, 0, None)), false).status, Status::Ok);
    assert_eq!(fuse(Some(&device(0o666, 0, None)), true).status, Status::Ok);
    assert_eq!(fuse(Some(&device(0o600, 0, denied)), false).status, Status::Failed);
    assert_eq!(fuse(Some(&device(0o600, 0, None)), true).status, Status::Failed);
    // A member of the group may.
    assert_eq!(fuse(Some(&device(0o660, 44, None)), false).status, Status::Ok);
    assert_eq!(fuse(Some(&device(0o660, 44, None)), true).status, Status::Warning);
    let no_module = fuse(Some(&device(0o666, 0, Some("No such device (os error 19)"))), false);
    assert!(no_module.cure.is_some_and(|cure| cure.contains("modprobe")));
}
