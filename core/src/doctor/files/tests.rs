//! Verdicts about what was set up.

use super::*;
use crate::doctor::check::Status;
use condatainer_images::system::user::Caller;

pub(super) fn asker(uid: u32) -> Asker {
    let caller = Caller { uid, gid: uid, name: "alice".into(), home: None, shell: None, has_subids: false };
    Asker { caller, node: false }
}

fn healthy() -> Facts {
    let tmpdir = Tmpdir {
        path: "/tmp".into(),
        problem: None,
        open_to_all: true,
        free: Some(50 << 30),
        network: None,
        in_memory: false,
        for_builds: false,
    };
    let file = ("/etc/condatainer/config.toml".into(), vec!["base".into(), "fixed".into()]);
    Facts {
        configuration: Ok(vec![file]),
        base: Some(("/b.sif".into(), Ok(Kind::Sif))),
        base_origin: None,
        tmpdir,
        image_dirs: Vec::new(),
        policy: policy::PolicyFacts::default(),
        log: None,
    }
}

#[test]
fn configurations() {
    assert_eq!(configuration(&healthy()).found, "/etc/condatainer/config.toml (base, fixed)");
    let wrong = Facts { configuration: Err("/etc/x: line 1: unknown field `bsae`".into()), ..healthy() };
    assert_eq!(configuration(&wrong).status, Status::Failed);
    assert_eq!(base(&wrong, &asker(1001)).status, Status::Skipped, "one thing is wrong, not two");
    assert_eq!(configuration(&Facts { configuration: Ok(Vec::new()), ..healthy() }).status, Status::Ok);
}

#[test]
fn bases() {
    let of = |base, uid| base_of(base, uid).status;
    assert_eq!(base_of(Some(Ok(Kind::Sif)), 1001).found, "/b.sif, sif");
    assert_eq!(of(Some(Ok(Kind::Ext)), 1001), Status::Failed);
    assert_eq!(base_of(Some(Err("/b.sif: no such file".into())), 1001).found, "/b.sif: no such file");
    assert_eq!(base_of(Some(Err("is a pipe".into())), 1001).found, "/b.sif: is a pipe");
    assert_eq!((of(None, 1001), of(None, 0)), (Status::Failed, Status::Warning));
}

fn base_of(kind: Option<Result<Kind, String>>, uid: u32) -> Check {
    base(&Facts { base: kind.map(|kind| ("/b.sif".into(), kind)), ..healthy() }, &asker(uid))
}

#[test]
fn directories() {
    let of = |change: &dyn Fn(&mut Tmpdir), uid| {
        let mut dir = healthy().tmpdir;
        change(&mut dir);
        tmpdir(&dir, &asker(uid))
    };
    assert_eq!(of(&|_| (), 1001).found, "/tmp, 50 GiB free");
    assert_eq!(
        of(&|dir| dir.problem = Some(("Permission denied".into(), "set TMPDIR".into())), 1001).status,
        Status::Failed
    );
    assert_eq!(of(&|dir| dir.free = Some(9 << 20), 1001).status, Status::Warning);
    let full = of(&|dir| dir.free = Some(0), 1001);
    assert!(full.status == Status::Warning && full.found == "/tmp: is full", "{full:?}");
    assert!(of(&|dir| dir.in_memory = true, 1001).found.starts_with("/tmp, 50 GiB free, in memory (tmpfs)"));
    assert!(of(&|dir| dir.network = Some("nfs4".into()), 1001).found.contains("lies on nfs4"));
    // Where memory holds what :tmp writes.
    let problem = Some(("no such directory".into(), "set TMPDIR".into()));
    let missing = of(&|dir| (dir.problem, dir.for_builds) = (problem.clone(), true), 1001);
    assert!(missing.status == Status::Warning && missing.found == "/tmp: cannot hold what is built: no such directory");
    assert_eq!(of(&|dir| dir.open_to_all = false, 0).status, Status::Failed);
    assert_eq!(of(&|dir| dir.open_to_all = false, 1001).status, Status::Ok, "it is his own");
}
