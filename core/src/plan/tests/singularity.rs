//! Golden plans and refusals with SingularityCE.

use super::*;
use crate::config::Mounts;
use crate::machine::engine::{Flavour, Unsupported};
use crate::machine::facts::ImageFacts;
use crate::plan::tests::{layer, machine};
use crate::plan::{Command, Plan, decide};
use crate::request::Request;
use crate::request::layer::Mode;
use condatainer_formats::ext::Stamp;
use condatainer_images::acquire::usage::Usage;
use condatainer_images::image::state::State;
use condatainer_images::system::fakeroot::Fakeroot;
use condatainer_images::system::user::Caller;

fn engine(setuid: bool) -> Engine {
    Engine {
        origin: None,
        flavour: Flavour::SingularityCE,
        program: "/usr/bin/singularity".into(),
        config: None,
        setuid,
        oci_mode: false,
        interposers: None,
        own_programs: Vec::new(),
    }
}

fn facts(setuid: bool, layers: Vec<LayerFacts>) -> Facts {
    let base = BaseFacts {
        path: "/base.sif".into(),
        kind: Kind::Sif,
        identity: (0, 0),
        shows_deleted: false,
        origin: None,
        distrust: None,
    };
    Facts { base, layers, engine: Ok(engine(setuid)), ..machine() }
}

fn img(mode: Mode, owner: u32, whiteouts: Whiteouts) -> LayerFacts {
    let upper = Some((owner, owner));
    let (state, usage) = (State::Clean, Usage::Free);
    layer(
        "/e.img",
        Some(mode),
        Kind::Ext,
        Some(ImageFacts {
            upper,
            program_path: Vec::new(),
            state,
            refused_by_engine: None,
            unwritten: None,
            usage,
            held_around: false,
            short_of_space: None,
            lack: None,
            end: 0,
            whiteouts,
        }),
    )
}

fn clean(mode: Mode) -> LayerFacts {
    img(mode, 1001, Whiteouts::Honoured(Stamp::default()))
}

fn directory(mode: Mode) -> LayerFacts {
    layer("/d", Some(mode), Kind::Directory, None)
}

fn sqf() -> LayerFacts {
    layer("/a.sqf", None, Kind::Squashfs, None)
}

fn decided(facts: &Facts, request: &Request) -> Result<Plan, Refusal> {
    decide(request, facts, Command::Argv(vec!["true".into()]))
}

fn line(facts: &Facts) -> String {
    decided(facts, &Request::default()).unwrap().to_shell()
}

fn limit(facts: &Facts, request: &Request) -> Limit {
    match decided(facts, request) {
        Err(Refusal::SingularityCE { limit, .. }) => limit,
        other => panic!("{other:?}"),
    }
}

const FAKEROOT: fn() -> Request = || Request { fakeroot: Some(true), ..Request::default() };
const ANY: fn() -> Request = Request::default;

#[test]
fn images_are_mounted_by_the_setuid_starter() {
    assert_eq!(
        line(&facts(true, vec![clean(Mode::Rw), sqf()])),
        "/usr/bin/singularity -q exec --overlay /a.sqf:ro --overlay /e.img /base.sif true"
    );
    assert_eq!(line(&facts(true, vec![])), "/usr/bin/singularity -q exec /base.sif true");
    let tmp = |fakeroot| Request { tmp: true, fakeroot, ..ANY() };
    let written = |request| decided(&facts(true, Vec::new()), &request).unwrap().to_shell();
    let image = "/usr/bin/singularity -q exec --overlay /tmp/condatainer-XXXXXX/tmp.img /base.sif true";
    assert_eq!(written(tmp(None)), image);
    // Fakeroot would leave an image out.
    assert!(written(tmp(Some(true))).ends_with("--overlay /tmp/condatainer-XXXXXX /base.sif true"));
    assert_eq!(limit(&facts(false, vec![sqf()]), &ANY()), Limit::NotSetuid("/usr/bin/singularity".into()));
}

#[test]
fn directories_and_fakeroot_want_a_user_namespace() {
    let userns = "/usr/bin/singularity -q exec --userns";
    for setuid in [true, false] {
        let stack = facts(setuid, vec![directory(Mode::Rw)]);
        assert_eq!(line(&stack), format!("{userns} --overlay /d /base.sif true"));
        let root = decided(&stack, &FAKEROOT()).unwrap().to_shell();
        assert_eq!(root, format!("{userns} --fakeroot --overlay /d /base.sif true"));
    }
    assert_eq!(limit(&facts(true, vec![sqf(), directory(Mode::Ro)]), &ANY()), Limit::DirectoryWithImages);
    assert_eq!(limit(&facts(true, vec![sqf()]), &FAKEROOT()), Limit::FakerootWithImages(None));
}

#[test]
fn user_namespaces_are_needed_only_where_one_is_made() {
    let without = |layers| Facts { user_namespaces: false, ..facts(true, layers) };
    assert!(decided(&without(vec![clean(Mode::Ro)]), &ANY()).is_ok());
    let refused = decided(&without(vec![directory(Mode::Ro)]), &ANY()).unwrap_err();
    assert_eq!(refused, Refusal::NoUserNamespaces(Flavour::SingularityCE));
    assert!(refused.to_string().contains("and SingularityCE needs them"), "{refused}");
}

#[test]
fn tmp_over_an_image_is_an_image() {
    let plan = decided(&facts(true, vec![clean(Mode::Tmp)]), &ANY()).unwrap();
    assert!(plan.to_shell().contains("--overlay /e.img:ro --overlay /tmp/condatainer-XXXXXX/tmp.img /base.sif"));
    let plan = decided(&facts(true, vec![directory(Mode::Tmp)]), &ANY()).unwrap();
    assert!(plan.to_shell().contains("--userns --overlay /d:ro --overlay /tmp/condatainer-XXXXXX /base.sif"));
}

#[test]
fn deletions_of_apptainer_are_refused_to_readers_and_writers() {
    for (mode, whiteouts) in
        [(Mode::Ro, Whiteouts::OfFuse), (Mode::Rw, Whiteouts::OfFuse), (Mode::Ro, Whiteouts::Unknown)]
    {
        assert_eq!(limit(&facts(true, vec![img(mode, 1001, whiteouts)]), &ANY()), Limit::Deletions);
    }
    let base = BaseFacts { shows_deleted: true, ..facts(true, vec![]).base };
    assert_eq!(limit(&Facts { base, ..facts(true, vec![]) }, &ANY()), Limit::Deletions);
    assert!(!decided(&facts(true, vec![clean(Mode::Ro)]), &ANY()).unwrap().overlay_driver);
}

#[test]
fn fakeroot_is_never_turned_on_for_an_image() {
    let of_root = |mode| facts(true, vec![img(mode, 0, Whiteouts::Honoured(Stamp::default()))]);
    assert_eq!(decided(&of_root(Mode::Ro), &ANY()).unwrap().fakeroot, None);
    assert_eq!(limit(&of_root(Mode::Rw), &ANY()), Limit::OwnedByRoot);
    let without_range = |facts: Facts| Facts { caller: Caller { has_subids: false, ..facts.caller.clone() }, ..facts };
    let refused = decided(&without_range(facts(true, vec![directory(Mode::Rw)])), &FAKEROOT());
    assert_eq!(refused.unwrap_err(), Refusal::NoSubuidRange { origin: None });
}

/// The limits are those of its own mounts.
#[test]
fn where_we_mount_it_can_what_apptainer_can() {
    let ours = |setuid, layers| {
        let unsupported = Some(("/a.sqf".into(), Unsupported::Compression("zstd".into())));
        let mut facts = Facts { unsupported, ..facts(setuid, layers) };
        facts.mounts.asked = Mounts::Own;
        facts
    };
    let userns = "/usr/bin/singularity -q exec --userns";
    for setuid in [true, false] {
        let stack = ours(setuid, vec![sqf(), img(Mode::Ro, 1001, Whiteouts::OfFuse)]);
        assert_eq!(
            line(&stack),
            format!("{userns} /libexec/stack/lower true # /libexec/stack/lower: /base.sif /a.sqf /e.img")
        );
        let root = decided(&stack, &FAKEROOT()).unwrap();
        assert!(root.to_shell().starts_with("/usr/bin/singularity -q exec /libexec/stack/lower true"));
        assert!(root.shares_namespaces() && root.job().contains(&"--no-new-privileges".into()));
        let tmp = line(&ours(setuid, vec![img(Mode::Tmp, 1001, Whiteouts::Unknown)]));
        assert!(tmp.starts_with(&format!("{userns} --writable /libexec/stack true # ")), "{tmp}");
        let alone = |facts: Facts| Facts { caller: Caller { has_subids: false, ..facts.caller.clone() }, ..facts };
        let alone = decided(&alone(stack), &FAKEROOT()).unwrap();
        assert!(alone.to_shell().starts_with("/usr/bin/singularity -q exec /libexec/stack/lower true"));
        assert!(alone.shares_namespaces());
        let of_root = decided(&ours(setuid, vec![img(Mode::Ro, 0, Whiteouts::Unknown)]), &ANY()).unwrap();
        assert_eq!(of_root.fakeroot, Some(Fakeroot::Subuid));
        let names = of_root.env.iter().filter(|(name, _)| name.ends_with("_CONTAINER"));
        assert_eq!(names.map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["SINGULARITY_CONTAINER"]);
    }
    let mut auto = ours(true, vec![clean(Mode::Rw)]);
    auto.mounts.asked = Mounts::Auto;
    assert!(line(&auto).starts_with(&format!("{userns} --writable /libexec/stack true # ")), "{}", line(&auto));
    auto.layers[0].image.as_mut().unwrap().unwritten = Some("has no journal".into());
    assert_eq!(limit(&auto, &ANY()), Limit::Unsupported(Unsupported::Compression("zstd".into())));
}

#[test]
fn a_new_compression_is_refused_by_name() {
    let unsupported = Some(("/a.sqf".into(), Unsupported::Compression("zstd".into())));
    let zstd = Facts { unsupported, ..facts(true, vec![sqf()]) };
    let refused = decided(&zstd, &ANY()).unwrap_err().to_string();
    assert!(refused.starts_with("/a.sqf: SingularityCE does not accept a squashfs file that is compressed with zstd"));
}

#[test]
fn messages_name_the_engine_that_is_used() {
    let mut ext4 = clean(Mode::Ro);
    ext4.image.as_mut().unwrap().refused_by_engine = Some("extents".into());
    let refused = decided(&facts(true, vec![ext4]), &ANY()).unwrap_err().to_string();
    assert!(refused.starts_with("/e.img: SingularityCE does not accept this image: extents"), "{refused}");
    let oci = Engine { oci_mode: true, ..engine(true) };
    assert!(line(&Facts { engine: Ok(oci), ..facts(true, vec![]) }).contains(" exec --no-oci /base.sif"));
}
