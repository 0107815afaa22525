//! What a plan does about hard links that fuse-overlayfs would confuse.

use std::path::PathBuf;

use super::*;
use crate::machine::hard_links::Cause;

fn decided(facts: Facts, layers: Vec<LayerFacts>) -> Plan {
    decide(&Request::default(), &Facts { layers, ..facts }, Command::Argv(vec!["true".into()])).unwrap()
}

fn written() -> Vec<LayerFacts> {
    vec![sqf("/a.sqf"), img("/e.img", Some(Mode::Rw), ALICE)]
}

#[test]
fn the_links_are_put_before_the_engines_own_programs() {
    let mut facts = machine();
    let engine = facts.engine.as_mut().unwrap();
    engine.config = Some("/etc/apptainer/apptainer.conf".into());
    engine.interposers = Some("/usr/local/libexec/condatainer".into());
    let with = |own: &[&str], setuid: bool, uid: u32| {
        let mut facts = facts.clone();
        facts.caller.uid = uid;
        let engine = facts.engine.as_mut().unwrap();
        engine.own_programs = own.iter().map(PathBuf::from).collect();
        engine.setuid = setuid;
        decided(facts, written()).to_shell()
    };
    let told = "/usr/bin/apptainer -c apptainer.conf-with-our-links-in-binary-path -q exec";
    let own = ["/usr/libexec/apptainer/bin"];
    assert!(with(&own, false, 1001).starts_with(told), "{}", with(&own, false, 1001));
    for (own, setuid) in [(&[][..], false), (&own, true), (&["/opt/fuse", own[0]], false)] {
        let line = with(own, setuid, 1001);
        assert!(line.starts_with("/usr/bin/apptainer -q exec"), "{own:?} {setuid}: {line}");
    }
    let mut read = facts.clone();
    read.engine.as_mut().unwrap().own_programs = own.iter().map(PathBuf::from).collect();
    let line = decided(read, vec![img("/e.img", None, ALICE)]).to_shell();
    assert!(line.contains(" -c apptainer.conf-with-enable-overlay-driver-with-our-links-in-binary-path "), "{line}");
}

#[test]
fn who_writes_is_told_of_links_that_are_confused() {
    let (layer, program) = ("/a.sqf".into(), "/usr/bin/fuse-overlayfs".into());
    let mut facts = machine();
    facts.hard_links = Some(HardLinks { layer, program, cause: Cause::Static });
    let notices = decided(facts.clone(), written()).notices;
    let line = "/a.sqf: has files with several hard links, and what is written to one of several hard links in a layer below can \
        land in another with /usr/bin/fuse-overlayfs: it is linked statically";
    assert!(notices.iter().any(|notice| notice.starts_with(line)), "{notices:?}");
    assert!(decided(facts, vec![sqf("/a.sqf")]).notices.is_empty());
}
