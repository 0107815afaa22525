//! `--tmp`: everything is writable for one run. And where that is kept.

use super::*;
use crate::config::{Origin, Scratch};
use crate::machine::facts::Facts;
use crate::plan::mounting::Kept;

const TMP: fn() -> Request = || Request { tmp: true, ..ANY() };

fn ours() -> Facts {
    let mut facts = machine();
    facts.mounts.asked = Mounts::Own;
    facts
}

fn in_memory(asked: Option<u64>) -> Facts {
    let scratch = ScratchFacts { asked: Scratch::Memory(asked), origin: None, memory: 64 << 20 };
    Facts { scratch, tmpdir_problem: Some(("no such directory".into(), "set tmpdir".into())), ..ours() }
}

#[test]
fn a_base_needs_no_image_to_be_written_to() {
    let engines = line(&decided(&TMP(), Vec::new()).unwrap());
    let start = "/usr/bin/apptainer -c apptainer.conf-with-enable-overlay-driver -q exec --overlay";
    assert_eq!(engines, format!("{start} /tmp/condatainer-XXXXXX /base.sqf true"));
    let plan = on(ours(), &TMP(), Vec::new()).unwrap();
    assert_eq!(line(&plan), "/usr/bin/apptainer -q exec --writable /libexec/stack true # /libexec/stack: /base.sqf");
    let own = plan.mounts.own().unwrap();
    assert_eq!(own.scratch, Some(Kept::Directory("/tmp".into())));
    assert!(own.points.iter().any(|point| point.path == Path::new("/etc/passwd")));
    assert_eq!((plan.prompt.as_str(), plan.holds), ("base.sqf tmp", None));
    let root = Request { fakeroot: Some(true), ..TMP() };
    assert!(on(ours(), &root, Vec::new()).unwrap().notices.is_empty());
}

#[test]
fn it_goes_with_whatever_is_only_read() {
    let layers = || vec![sqf("/a.sqf"), img("/e.img", None, ALICE)];
    let line = line(&decided(&TMP(), layers()).unwrap());
    assert!(line.ends_with("--overlay /a.sqf:ro --overlay /e.img:ro --overlay /tmp/condatainer-XXXXXX /base.sqf true"));
    let with_tmp = vec![sqf("/a.sqf"), img("/e.img", Some(Mode::Tmp), ALICE)];
    assert_eq!(decided(&TMP(), with_tmp).unwrap().to_shell(), line, "the same once more");
    assert_eq!(on(ours(), &TMP(), layers()).unwrap().prompt, "e.img tmp");
    let closed = |mut facts: Facts| {
        facts.tmpdir_problem = Some(("no such directory".into(), "set tmpdir".into()));
        on(facts, &TMP(), layers()).unwrap_err().to_string()
    };
    for said in [closed(machine()), closed(ours())] {
        assert_eq!(said, "/tmp: cannot hold what :tmp layers write: no such directory: set tmpdir");
    }
}

#[test]
fn it_does_not_go_with_what_is_written_to() {
    let said = "/e.img: it would be written to (-w, :rw), and --tmp (in Slurm: --condatainer-tmp) keeps all that is written elsewhere: leave one of them out";
    let w = Request { write: true, ..TMP() };
    for (request, mode) in [(TMP(), Some(Mode::Rw)), (w, None)] {
        assert_eq!(decided(&request, vec![img("/e.img", mode, ALICE)]).unwrap_err().to_string(), said);
    }
    let squashfs = layer("/a.sqf", Some(Mode::Tmp), Kind::Squashfs, None);
    assert!(refusal(vec![squashfs]).contains("cannot be :tmp: use --tmp (in Slurm: --condatainer-tmp)"));
}

#[test]
fn a_setuid_engine_does_it_on_a_file() {
    let mut facts = machine();
    facts.engine.as_mut().unwrap().setuid = true;
    assert!(line(&on(facts.clone(), &TMP(), Vec::new()).unwrap()).contains("--userns --overlay /tmp/"));
    let deleted = vec![img("/e.img", None, ALICE)];
    assert!(on(facts.clone(), &TMP(), deleted.clone()).is_ok() && on(facts.clone(), &ANY(), deleted).is_err());
    facts.base.kind = Kind::Directory;
    assert!(matches!(on(facts, &TMP(), Vec::new()), Err(Refusal::SetuidWithDirectories { .. })));
}

#[test]
fn memory_is_bounded_and_needs_no_directory() {
    for (asked, bytes) in [(None, 32 << 20), (Some(8 << 20), 8 << 20)] {
        let plan = on(in_memory(asked), &TMP(), vec![sqf("/a.sqf")]).unwrap();
        assert_eq!(plan.mounts.own().unwrap().scratch, Some(Kept::Memory { memory: bytes }));
        assert_eq!(plan.stack.last(), Some(&Overlay::Memory(bytes)));
        let end = format!("# /libexec/stack: /base.sqf /a.sqf, written to memory, at most {} MiB", bytes >> 20);
        assert!(line(&plan).ends_with(&end), "{}", line(&plan));
        assert!(on(in_memory(asked), &ANY(), vec![img("/e.img", Some(Mode::Tmp), ALICE)]).is_ok());
        assert!(on(in_memory(asked), &ANY(), Vec::new()).unwrap().mounts.own().unwrap().scratch.is_none());
    }
}

#[test]
fn only_we_keep_it_in_memory() {
    let engines = |asked| {
        let mut facts = in_memory(None);
        facts.mounts.asked = asked;
        facts.mounts.why_not = Some("no /dev/fuse".into());
        facts
    };
    let said = |facts| on(facts, &TMP(), Vec::new()).unwrap_err().to_string();
    assert_eq!(
        said(engines(Mounts::Engine)),
        "scratch = memory: the engine mounts the layers, which does not keep there what is written: drop --scratch"
    );
    let mut auto = engines(Mounts::Auto);
    auto.scratch.origin = Some(Origin::variable("CONDATAINER_SCRATCH"));
    assert_eq!(
        said(auto.clone()),
        "scratch = memory: no /dev/fuse, so the engine mounts the layers, which does not keep there what is written: \
         use --scratch=disk (in Slurm: CONDATAINER_SCRATCH=disk), or unset CONDATAINER_SCRATCH, which is memory"
    );
    assert!(on(auto, &ANY(), Vec::new()).is_ok(), "who writes nothing is not concerned");
}
