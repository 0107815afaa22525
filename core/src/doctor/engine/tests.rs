//! Verdicts about engines.

use super::facts::{Helper, Interposers};
use super::*;
use crate::doctor::check::Status;

fn with(said: &str, setuid: bool) -> Engine {
    Engine { program: "/usr/bin/apptainer".into(), origin: None, said: Ok(said.into()), setuid, config: None }
}

fn helper(name: &'static str, version: Version, bundled: bool) -> Helper {
    Helper {
        name,
        path: Some(format!("/usr/bin/{name}").into()),
        version: Some(version),
        bundled,
        in_reach: !bundled,
        takes_preload: true,
    }
}

fn facts(engine: Option<Engine>) -> Facts {
    let engine = engine.ok_or(MissingEngine::NotInstalled);
    let helpers = [
        helper("fuse2fs", Version(1, 47, 4), false),
        helper("fuse-overlayfs", Version(1, 13, 0), false),
        helper("squashfuse", Version(0, 5, 2), false),
    ];
    Facts { engine, unused: None, helpers, fusermount: None, interposers: ours() }
}

fn ours() -> Interposers {
    Interposers { directory: Some("/usr/local/libexec/condatainer".into()), missing: Vec::new(), preload: true }
}

fn verdict(said: &str, setuid: bool) -> Check {
    engine(&facts(Some(with(said, setuid))))
}

#[test]
fn products_and_releases() {
    let check = verdict("apptainer version 1.4.5\n", false);
    assert_eq!((check.status, check.found.as_str()), (Status::Ok, "Apptainer 1.4.5, /usr/bin/apptainer, unprivileged"));
    assert_eq!(verdict("apptainer version 1.0.3-1.el8\n", false).status, Status::Failed);
    let check = verdict("singularity-ce version 4.5.1-noble\n", true);
    assert!(check.status == Status::Ok && check.found.starts_with("SingularityCE 4.5.1"), "{check:?}");
    assert_eq!(verdict("singularity-ce version 4.5.1\n", false).status, Status::Warning);
    assert_eq!(verdict("something else 1.2.3\n", false).status, Status::Warning);
    assert_eq!(verdict("apptainer version 1.4.5\n", true).status, Status::Warning);
}

#[test]
fn without_an_engine() {
    let none = engine(&facts(None));
    let said = format!("{}; {}", none.found, none.cure.unwrap_or_default());
    assert_eq!(said, MissingEngine::NotInstalled.to_string(), "a start says the same");
    let unused = Facts { unused: Some("/usr/bin/singularity".into()), ..facts(None) };
    assert_eq!(engine(&unused).found, "/usr/bin/singularity is here, but starts cannot use it");
    let broken = Engine { said: Err("Permission denied".into()), ..with("", false) };
    assert_eq!(engine(&facts(Some(broken))).status, Status::Failed);
}

#[test]
fn helpers_and_their_bad_releases() {
    let of = |name, version, bundled| fuse::helper(&helper(name, version, bundled), None, &ours()).status;
    assert_eq!(of("fuse2fs", Version(1, 47, 4), false), Status::Ok);
    assert_eq!(of("fuse2fs", Version(1, 47, 3), false), Status::Warning);
    assert_eq!(of("fuse2fs", Version(1, 47, 3), true), Status::Ok);
    assert_eq!(of("squashfuse", Version(0, 1, 104), false), Status::Warning);
    assert_eq!(of("squashfuse", Version(0, 5, 2), false), Status::Ok);
    assert_eq!(of("fuse-overlayfs", Version(1, 10, 0), false), Status::Ok);
    let missing =
        |engine| fuse::helper(&Helper { path: None, ..helper("fuse2fs", Version(0, 0, 0), false) }, engine, &ours());
    assert_eq!(missing(Some(Flavour::SingularityCE)).status, Status::Skipped, "it does without");
    let missing = missing(Some(Flavour::Apptainer));
    assert!(missing.status == Status::Failed && missing.found.contains("env.img"), "{missing:?}");
}

#[test]
fn hard_links_that_are_not_kept_apart() {
    let one = helper("fuse-overlayfs", Version(1, 14, 0), false);
    let verdict = |helper: &Helper, ours: &Interposers| fuse::helper(helper, Some(Flavour::Apptainer), ours);
    assert_eq!(verdict(&one, &ours()).status, Status::Ok);
    assert_eq!(verdict(&Helper { bundled: true, ..one.clone() }, &ours()).status, Status::Ok, "our links are in front");
    for (helper, ours) in [
        (Helper { bundled: true, in_reach: false, ..one.clone() }, ours()),
        (Helper { takes_preload: false, ..one.clone() }, ours()),
        (one.clone(), Interposers { preload: false, ..ours() }),
    ] {
        let check = verdict(&helper, &ours);
        assert!(check.status == Status::Warning && check.found.contains("hard links"), "{check:?}");
    }
}

#[test]
fn fusermount_is_for_others() {
    assert_eq!(fuse::fusermount(None).status, Status::Skipped);
    assert_eq!(fuse::fusermount(Some(&("/usr/bin/fusermount3".into(), true))).status, Status::Ok);
    assert_eq!(fuse::fusermount(Some(&("/usr/bin/fusermount3".into(), false))).status, Status::Warning);
}

#[test]
fn links_in_front_of_the_helpers() {
    let mut facts = facts(None);
    assert_eq!(fuse::interposers(&facts).status, Status::Ok);
    facts.interposers.missing = vec!["squashfuse"];
    assert_eq!(fuse::interposers(&facts).status, Status::Warning);
    facts.interposers.directory = None;
    assert_eq!(fuse::interposers(&facts).status, Status::Warning);
    facts.helpers.iter_mut().for_each(|helper| helper.bundled = true);
    assert_eq!(fuse::interposers(&facts).status, Status::Warning);
    facts.helpers.iter_mut().for_each(|helper| helper.in_reach = false);
    assert_eq!(fuse::interposers(&facts).status, Status::Skipped);
}
