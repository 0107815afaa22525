//! Tests of the plan: what it refuses, and in which words.

use super::*;
use crate::machine::engine::MissingEngine;
use condatainer_formats::ext::Lack;
use condatainer_images::acquire::holder::Holder;

#[test]
fn two_writers_or_a_writer_and_tmp_are_refused() {
    let pair = |a, b| vec![img("/a.img", Some(a), ALICE), img("/b.img", Some(b), ALICE)];
    assert_eq!(
        refusal(pair(Mode::Rw, Mode::Rw)),
        "/a.img and /b.img: only one layer can be written to: use :ro for the other"
    );
    let mixed = "/a.img is :rw and /b.img is :tmp: writes can go to one place only: use :ro for one of them";
    assert_eq!(refusal(pair(Mode::Rw, Mode::Tmp)), mixed);
    assert!(refusal(pair(Mode::Tmp, Mode::Rw)).starts_with("/b.img is :rw and /a.img is :tmp"));
    assert!(decided(&ANY(), pair(Mode::Tmp, Mode::Tmp)).is_ok());
}

#[test]
fn a_relative_working_directory_is_refused() {
    for (workdir, ok) in [("/w", true), ("w", false), ("~", false)] {
        let request = Request { workdir: Some(workdir.into()), ..ANY() };
        let decided = decided(&request, vec![]);
        assert!(decided.is_ok() == ok, "{decided:?}");
    }
}

#[test]
fn what_is_written_is_named_once() {
    let mut same = img("/link.img", Some(Mode::Ro), ALICE);
    let one = img("/e.img", Some(Mode::Rw), ALICE);
    same.identity = one.identity;
    let text = "/e.img and /link.img are the same: what is written to must be named once";
    assert_eq!(refusal(vec![one.clone(), same.clone()]), text);
    assert_eq!(
        refusal(vec![same.clone(), one]),
        "/link.img and /e.img are the same: what is written to must be named once"
    );
    assert!(decided(&ANY(), vec![same.clone(), same]).is_ok());
}

#[test]
fn what_cannot_be_written_is_never_silently_read() {
    let squashfs = layer("/a.sqf", Some(Mode::Rw), Kind::Squashfs, None);
    assert!(refusal(vec![squashfs]).starts_with("/a.sqf: a squashfs layer is read-only and cannot be :rw"));
    let mut locked = img("/e.img", Some(Mode::Rw), ALICE);
    locked.writable = false;
    assert!(refusal(vec![locked]).starts_with("/e.img: you may not write this file"));
}

#[test]
fn a_busy_image_is_named_with_its_holder() {
    let holder = Holder {
        host: "n1".into(),
        pid: 9,
        user: "bob".into(),
        job: Some("7".into()),
        step: Some("0".into()),
        verb: None,
    };
    let writer = Usage::Writer { holder: Some(holder), seen: None };
    let busy = |mode| with_image(img("/e.img", Some(mode), ALICE), |image| image.usage = writer.clone());
    assert_eq!(
        refusal(vec![busy(Mode::Rw)]),
        "/e.img: in use for writing by user bob, job 7.0, process 9 on n1; one writer at a time: wait until it ends"
    );
    assert!(refusal(vec![busy(Mode::Ro)]).ends_with("it cannot be read meanwhile: wait until it ends"));
    let read = |mode| with_image(img("/e.img", Some(mode), ALICE), |image| image.usage = Usage::Readers { seen: None });
    assert!(refusal(vec![read(Mode::Rw)]).starts_with("/e.img: in use by readers"));
    assert!(decided(&ANY(), vec![read(Mode::Ro)]).is_ok());
}

#[test]
fn images_that_cannot_work_are_refused() {
    let changed = |change: fn(&mut ImageFacts)| refusal(vec![with_image(img("/e.img", None, ALICE), change)]);
    let ext4 = changed(|image| image.refused_by_engine = Some("extents".into()));
    assert!(ext4.starts_with("/e.img: Apptainer does not accept this image: extents"), "{ext4}");
    assert!(changed(|image| image.upper = None).starts_with("/e.img: has no upper/ directory"));
    assert!(
        refusal(vec![layer("/s.sif", None, Kind::Sif, None)]).starts_with("/s.sif: this SIF has no overlay partition")
    );
    assert!(refusal(vec![img("/a:b.img", None, ALICE)]).starts_with("/a:b.img: a ':' in the path"));
}

#[test]
fn machines_that_cannot_start_anything_say_so() {
    let refused = |facts| on(facts, &ANY(), vec![]).unwrap_err();
    assert_eq!(
        refused(Facts { engine: Err(MissingEngine::NotInstalled), ..machine() }),
        Refusal::NoEngine(MissingEngine::NotInstalled)
    );
    assert_eq!(refused(Facts { user_namespaces: false, ..machine() }), Refusal::NoUserNamespaces(Flavour::Apptainer));
    let ext = BaseFacts {
        path: "/b.img".into(),
        kind: Kind::Ext,
        identity: (0, 0),
        shows_deleted: false,
        origin: None,
        distrust: None,
    };
    assert!(matches!(refused(Facts { base: ext, ..machine() }), Refusal::ExtBase { .. }));
    let forced = Request { fakeroot: Some(true), ..ANY() };
    assert_eq!(on(Facts { newuidmap: false, ..machine() }, &forced, vec![]).unwrap_err(), Refusal::NoNewuidmap);
}

#[test]
fn a_full_image_is_told_to_a_writer() {
    let full = |mode, lack| with_image(img("/e.img", Some(mode), ALICE), |image| image.lack = Some(lack));
    let text = "/e.img: is full: what does not fit is lost, perhaps without an error; run 'condatainer overlay resize --free 1G /e.img' first";
    assert_eq!(decided(&ANY(), vec![full(Mode::Rw, Lack::Blocks)]).unwrap().notices, [text]);
    let notices = decided(&ANY(), vec![full(Mode::Rw, Lack::Inodes)]).unwrap().notices;
    assert!(notices[0].contains("no inodes are left") && notices[0].contains("resize -s +1G /e.img"), "{notices:?}");
    assert!(decided(&ANY(), vec![full(Mode::Ro, Lack::Blocks)]).unwrap().notices.is_empty());
}

#[test]
fn a_limit_on_file_sizes_is_for_writers() {
    let limited =
        |mode, file_limit| on(Facts { file_limit, ..machine() }, &ANY(), vec![img("/e.img", Some(mode), ALICE)]);
    let said = limited(Mode::Rw, Some(50 << 20)).unwrap_err().to_string();
    assert!(
        said.starts_with(
            "/e.img: your limit on file sizes is 50.00 MiB and the image has 1.00 GiB; raise it (ulimit -f)"
        ),
        "{said}"
    );
    assert!(limited(Mode::Rw, Some(1 << 30)).is_ok() && limited(Mode::Rw, None).is_ok());
    assert!(limited(Mode::Ro, Some(1)).is_ok() && limited(Mode::Tmp, Some(1)).is_ok());
}
