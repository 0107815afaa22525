//! Who mounts the layers, and what the engine is told then.

use super::*;
use crate::config::Origin;
use crate::plan::mounting::{Kept, Mounting, Point, What};
use condatainer_stack::namespace::user::Users;

fn asked(asked: Mounts) -> Facts {
    let mut facts = machine();
    facts.mounts.asked = asked;
    facts
}

fn users(plan: &Plan) -> &Users {
    &plan.mounts.own().unwrap().users
}

fn why(plan: &Plan) -> &str {
    match &plan.mounts {
        Mounting::Engine { why: Some(why) } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_engine_gets_one_directory_and_nothing_is_searched_or_repaired() {
    let dirty = with_image(img("/e.img", None, ALICE), |image| image.state = State::Dirty);
    let plan = on(asked(Mounts::Own), &ANY(), vec![dirty, sqf("/a.sqf")]).unwrap();
    assert_eq!(
        line(&plan),
        "/usr/bin/apptainer -q exec --writable /libexec/stack/lower true # /libexec/stack/lower: /base.sqf /a.sqf /e.img"
    );
    assert!(!plan.overlay_driver && plan.repair.is_empty() && plan.notices.is_empty());
    assert_eq!(*users(&plan), Users::Caller { uid: 1001, gid: 1001 });
    let engines = on(asked(Mounts::Engine), &ANY(), vec![sqf("/a.sqf")]).unwrap();
    assert_eq!((&engines.mounts, engines.notices.len()), (&Mounting::Engine { why: None }, 0));
}

#[test]
fn a_fakeroot_start_is_one_of_the_namespaces_root() {
    let request = Request { fakeroot: Some(true), ..ANY() };
    let plan = on(asked(Mounts::Own), &request, vec![img("/e.img", None, (0, 0))]).unwrap();
    assert!(!line(&plan).contains("--fakeroot"), "{}", line(&plan));
    let (uids, gids) = ((100_000, 65_536), (100_000, 65_536));
    assert_eq!(*users(&plan), Users::Subuid { uid: 1001, gid: 1001, uids, gids });
    let root = Facts { caller: caller(0, false), ..asked(Mounts::Own) };
    assert_eq!(*users(&on(root, &ANY(), vec![sqf("/a.sqf")]).unwrap()), Users::Everybody);
}

#[test]
fn directories_are_in_our_tree_and_a_base_alone_is_the_engines() {
    let base = |who| {
        let mut facts = asked(who);
        facts.base.kind = Kind::Directory;
        facts
    };
    let directory = |mode| layer("/d", Some(mode), Kind::Directory, None);
    for who in [Mounts::Own, Mounts::Auto] {
        let alone = on(base(who), &ANY(), Vec::new()).unwrap();
        assert_eq!((line(&alone).as_str(), alone.notices.len()), ("/usr/bin/apptainer -q exec /base.sqf true", 0));
        assert!(on(base(who), &ANY(), vec![sqf("/a.sqf")]).unwrap().mounts.own().is_some());
        for mode in [Mode::Ro, Mode::Tmp] {
            let plan = on(asked(who), &ANY(), vec![directory(mode)]).unwrap();
            assert!(plan.mounts.own().is_some() && !plan.overlay_driver, "{}", line(&plan));
        }
    }
    assert!(on(asked(Mounts::Own), &ANY(), vec![directory(Mode::Rw)]).is_err());
}

/// By hand it is the same: the namespace first, and fakeroot(1) in it.
#[test]
fn without_a_range_the_caller_alone_is_root() {
    let facts = Facts { caller: caller(1001, false), ..asked(Mounts::Own) };
    let request = Request { fakeroot: Some(true), ..ANY() };
    let plan = on(facts, &request, vec![img("/e.img", Some(Mode::Tmp), ALICE)]).unwrap();
    assert_eq!(*users(&plan), Users::RootMapped { uid: 1001, gid: 1001 });
    assert!(line(&plan).starts_with("/usr/bin/apptainer -q exec --fakeroot --writable /libexec/stack true # "));
}

#[test]
fn an_image_without_locks_is_the_engines() {
    let unlocked =
        with_image(img("/e.img", None, ALICE), |image| image.usage = Usage::Unknown { reason: "ENOLCK".into() });
    let plan = on(asked(Mounts::Auto), &ANY(), vec![unlocked.clone()]).unwrap();
    assert_eq!(why(&plan), "/e.img: its file system has no locks");
    assert!(needs_search(&ANY(), &Facts { layers: vec![unlocked], ..asked(Mounts::Auto) }));
}

/// Unsearched it may only be read by fuse-overlayfs, which this one does not take.
#[test]
fn the_way_out_is_searched_where_it_must_be() {
    let facts = |is_setuid| {
        let mut facts = Facts { layers: vec![img("/e.img", None, ALICE)], ..asked(Mounts::Auto) };
        facts.layers[0].image.as_mut().unwrap().whiteouts = Whiteouts::Unknown;
        facts.engine.as_mut().unwrap().setuid = is_setuid;
        facts
    };
    assert!(!needs_search(&ANY(), &facts(false)) && needs_search(&ANY(), &facts(true)));
    let mut searched = facts(true);
    searched.layers[0].image.as_mut().unwrap().whiteouts = Whiteouts::Honoured(Stamp::default());
    assert!(decide(&ANY(), &searched, Command::Shell(None)).unwrap().otherwise.is_some());
}

/// As a user he has no right to mount in a namespace of ours, and root has.
#[test]
fn a_setuid_engine_makes_one_more_namespace_only_for_a_user() {
    let mut setuid = asked(Mounts::Own);
    setuid.engine.as_mut().unwrap().setuid = true;
    let on = |facts: &Facts, fakeroot| {
        let request = Request { fakeroot: Some(fakeroot), ..ANY() };
        line(&on(facts.clone(), &request, vec![sqf("/a.sqf")]).unwrap())
    };
    assert!(on(&setuid, false).starts_with("/usr/bin/apptainer -q exec --userns --writable /libexec"));
    assert!(on(&setuid, true).starts_with("/usr/bin/apptainer -q exec /libexec"));
    let alone = Facts { caller: caller(1001, false), ..setuid.clone() };
    assert!(on(&alone, true).starts_with("/usr/bin/apptainer -q exec --fakeroot /libexec"));
    let root = Facts { caller: caller(0, false), ..setuid };
    assert!(on(&root, false).starts_with("/usr/bin/apptainer -q exec /libexec"));
}

#[test]
fn what_stands_in_the_way_is_said_or_refused() {
    let facts = |who, change: fn(&mut Facts)| {
        let mut facts = asked(who);
        change(&mut facts);
        facts
    };
    type Change = fn(&mut Facts);
    let cases: [(Change, &str); 3] = [
        (|facts| facts.mounts.why_not = Some("/dev/fuse cannot be opened".into()), "/dev/fuse cannot be opened"),
        (|facts| facts.mounts.no_directory = Some("'x = no' in /c".into()), "'x = no' in /c forbids it"),
        (|facts| facts.mounts.subordinate = None, "the caller's subordinate ids are in no /etc/subuid and /etc/subgid"),
    ];
    for (change, expected) in cases {
        let request = Request { fakeroot: Some(expected.contains("subordinate")), ..ANY() };
        let plan = on(facts(Mounts::Auto, change), &request, Vec::new()).unwrap();
        assert_eq!(why(&plan), expected);
        assert!(plan.notices.iter().any(|line| line.ends_with(expected)), "{:?}", plan.notices);
        let refused = on(facts(Mounts::Own, change), &request, Vec::new()).unwrap_err().to_string();
        assert_eq!(refused, format!("mounts = own: {expected}: drop --mounts"));
    }
}

#[test]
fn where_we_may_there_is_another_way() {
    let plan = on(asked(Mounts::Auto), &ANY(), vec![img("/e.img", None, ALICE)]).unwrap();
    assert!(plan.mounts.own().is_some());
    assert!(line(&plan.otherwise.unwrap()).contains("--overlay /e.img:ro /base.sqf true"));
    assert!(on(asked(Mounts::Own), &ANY(), Vec::new()).unwrap().otherwise.is_none());
}

#[test]
fn what_is_tmp_has_a_place_to_be_written_to_and_mount_points() {
    let mut facts = asked(Mounts::Own);
    let bind = |path: &str| Bind { source: "/somewhere".into(), destination: path.into(), read_only: false };
    facts.host.shown = vec![bind("/lustre")];
    facts.host.shows_working_directory = true;
    facts.working_directory.path = "/work/here".into();
    let request = Request { bind: vec![bind("/data")], ..ANY() };
    let plan = on(facts.clone(), &request, vec![img("/e.img", Some(Mode::Tmp), ALICE)]).unwrap();
    assert_eq!(
        line(&plan),
        "/usr/bin/apptainer -q exec --mount 'type=bind,source=/somewhere,destination=/data' --writable /libexec/stack true # /libexec/stack: /base.sqf /e.img"
    );
    let own = plan.mounts.own().unwrap();
    assert_eq!(own.scratch, Some(Kept::Directory("/tmp".into())));
    for path in ["/proc", "/etc/passwd", "/lustre", "/data", "/work/here"] {
        assert!(own.points.iter().any(|point| point.path == Path::new(path)), "{path}");
    }
    facts.gpus = vec![Gpu::Nvidia];
    facts.gpu_files.mounted_on = vec!["/usr/bin/nvidia-smi".into()];
    let plan = on(facts.clone(), &ANY(), vec![img("/e.img", Some(Mode::Tmp), ALICE)]).unwrap();
    assert!(line(&plan).starts_with("/usr/bin/apptainer -s exec --nv "), "{}", line(&plan));
    let points = &plan.mounts.own().unwrap().points;
    let wanted = [("/.singularity.d/libs", What::Directory), ("/usr/bin/nvidia-smi", What::File)];
    assert!(wanted.iter().all(|(path, what)| points.contains(&Point { path: path.into(), what: what.clone() })));
    facts.mounts.no_overlay = Some("no overlay".into());
    assert!(on(facts.clone(), &ANY(), vec![img("/e.img", Some(Mode::Tmp), ALICE)]).is_err());
    assert!(on(facts.clone(), &ANY(), vec![img("/e.img", Some(Mode::Rw), ALICE)]).is_ok());
}

/// The engine takes the tree as it is, unless it mounts what only itself knows.
#[test]
fn what_is_only_read_has_no_layer_of_the_engines_and_every_mount_point() {
    let bind = |path: &str| Bind { source: path.into(), destination: path.into(), read_only: false };
    let facts = |change: fn(&mut Facts)| {
        let mut facts = asked(Mounts::Own);
        facts.host.shown = vec![bind("/lustre"), bind("/etc/localtime")];
        facts.host.home = Some(bind("/home/alice"));
        facts.gpus = vec![Gpu::Nvidia];
        facts.gpu_files.mounted_on = vec!["/usr/bin/nvidia-smi".into()];
        change(&mut facts);
        facts
    };
    let of = |change: fn(&mut Facts), fakeroot| {
        let request = Request { fakeroot: Some(fakeroot), ..ANY() };
        let mut plan = on(facts(change), &request, vec![img("/e.img", None, ALICE)]).unwrap();
        plan.mounts.also_mount_on(Path::new("/relay"));
        plan
    };
    let has = |plan: &Plan, path: &str, what: What| {
        plan.mounts.own().unwrap().points.contains(&Point { path: path.into(), what })
    };
    let plan = of(|_| (), false);
    let home = "--no-home --mount 'type=bind,source=/home/alice,destination=/home/alice'";
    let expected = format!("/usr/bin/apptainer -s exec --nv {home} --writable /libexec/stack/lower true # ");
    assert!(line(&plan).starts_with(&expected), "{}", line(&plan));
    assert!(has(&plan, "/lustre", What::Like("/lustre".into())) && has(&plan, "/usr/bin/nvidia-smi", What::File));
    // What an image's link leads to is its own time zone.
    assert!(has(&plan, "/etc/localtime", What::FileForLink) && has(&plan, "/relay", What::Directory));
    type Change = fn(&mut Facts);
    let cases: [(Change, bool); 4] = [
        (|_| (), true),
        (|facts| facts.host.shows_more = true, false),
        (|facts| facts.gpu_files.by_program = true, false),
        (|facts| facts.caller = caller(0, false), false),
    ];
    for (change, fakeroot) in cases {
        let plan = of(change, fakeroot);
        assert!(
            line(&plan).starts_with("/usr/bin/apptainer -q exec --nv /libexec/stack/lower true # "),
            "{}",
            line(&plan)
        );
        let of_every_container = ["/tmp", "/ext3", "/cnt", "/etc/passwd"];
        let kind = |path: &str| if path == "/etc/passwd" { What::File } else { What::Directory };
        assert!(of_every_container.iter().all(|path| has(&plan, path, kind(path))));
        let rest = ["/lustre", "/usr/bin/nvidia-smi", "/relay", "/etc/localtime"];
        let points = &plan.mounts.own().unwrap().points;
        assert!(!points.iter().any(|point| rest.iter().any(|path| point.path == Path::new(path))));
    }
}

/// The engine's own `/home` has one directory.
#[test]
fn what_lies_beside_the_home_directory_is_shown() {
    let bind = |path: &str| Bind { source: path.into(), destination: path.into(), read_only: false };
    let shown = |current: &str, binds: &[&str], fakeroot, mode| {
        let mut facts = asked(Mounts::Own);
        facts.host.home = Some(bind("/home/alice"));
        facts.working_directory.path = current.into();
        let bind = binds.iter().map(|path| bind(path)).collect();
        let request = Request { bind, fakeroot: Some(fakeroot), ..ANY() };
        line(&on(facts, &request, vec![img("/e.img", Some(mode), ALICE)]).unwrap())
    };
    let home = "exec --no-home --mount 'type=bind,source=/home/alice,destination=/home/alice' --";
    assert!(shown("/home/lab", &[], false, Mode::Rw).contains(home));
    assert!(shown("/work", &["/home/lab/data"], false, Mode::Tmp).contains(home));
    // As with the session layer what an image has there is seen.
    assert!(shown("/work", &[], false, Mode::Ro).contains(home));
    for (current, binds, fakeroot, mode) in
        [("/home/alice/x", vec!["/data", "/home/alice/y"], false, Mode::Rw), ("/home/lab", vec![], true, Mode::Rw)]
    {
        let line = shown(current, &binds, fakeroot, mode);
        assert!(!line.contains("--no-home"), "{line}");
    }
}

#[test]
fn nothing_is_mounted_where_the_container_shows_it() {
    let bind = |source: &str| Bind { source: source.into(), destination: "/there".into(), read_only: false };
    let root = |change: &dyn Fn(&mut Facts), request: &Request| {
        let mut facts = asked(Mounts::Own);
        facts.mounts.place = "/home/alice/condatainer/libexec/stack".into();
        facts.working_directory.path = "/work/here".into();
        facts.host.home = None;
        change(&mut facts);
        on(facts, request, vec![sqf("/a.sqf")]).unwrap().mounts.own().unwrap().root.clone()
    };
    let installed = Path::new("/home/alice/condatainer/libexec/stack/lower");
    let other = Path::new("/sys/fs/fuse/connections/lower");
    assert_eq!(root(&|_| (), &ANY()), installed);
    assert_eq!(root(&|facts| facts.host.home = Some(bind("/home/bob")), &ANY()), installed);
    assert_eq!(root(&|facts| facts.host.home = Some(bind("/home/alice")), &ANY()), other);
    assert_eq!(root(&|facts| facts.host.shown = vec![bind("/home")], &ANY()), other);
    assert_eq!(root(&|facts| facts.working_directory.path = "/home/alice".into(), &ANY()), other);
    assert_eq!(root(&|facts| facts.mounts.place = "/tmp/x/stack".into(), &ANY()), other);
    let request = Request { bind: vec![bind("/home/alice/condatainer/libexec/stack")], ..ANY() };
    assert_eq!(root(&|_| (), &request), other);
}

#[test]
fn an_image_that_is_written_to_is_ours() {
    for who in [Mounts::Own, Mounts::Auto] {
        let plan = on(asked(who), &ANY(), vec![sqf("/a.sqf"), img("/e.img", Some(Mode::Rw), ALICE)]).unwrap();
        let own = plan.mounts.own().unwrap();
        assert_eq!((own.workspace.as_deref(), &own.scratch), (Some(Path::new("/e.img")), &None));
        assert_eq!(
            line(&plan),
            "/usr/bin/apptainer -q exec --writable /libexec/stack true # /libexec/stack: /base.sqf /a.sqf /e.img"
        );
        assert!(plan.notices.is_empty() && plan.otherwise.is_some() == (who == Mounts::Auto));
    }
}

/// What is root's on disk is the user's too, where he is himself.
#[test]
fn whoever_owns_it_we_write_to_it() {
    for upper in [(0, 0), (1002, 1002)] {
        let request = Request { fakeroot: Some(false), ..ANY() };
        let layers = || vec![img("/e.img", Some(Mode::Rw), upper)];
        assert!(on(asked(Mounts::Auto), &request, layers()).unwrap().mounts.own().is_some());
        assert!(matches!(on(asked(Mounts::Engine), &request, layers()).unwrap_err(), Refusal::WrongOwner { .. }));
    }
}

#[test]
fn what_we_do_not_write_is_the_engines_business() {
    let old =
        || with_image(img("/e.img", Some(Mode::Rw), ALICE), |image| image.unwritten = Some("has no journal".into()));
    let plan = on(asked(Mounts::Auto), &ANY(), vec![old()]).unwrap();
    assert_eq!(why(&plan), "/e.img has no journal");
    assert_eq!(plan.notices, ["the engine mounts the layers of this start: /e.img has no journal"]);
    let directory = || layer("/d", Some(Mode::Rw), Kind::Directory, None);
    let plan = on(asked(Mounts::Auto), &ANY(), vec![directory()]).unwrap();
    assert_eq!((why(&plan), plan.notices.len()), ("/d is a directory that is written to", 0));
    let mut own = asked(Mounts::Own);
    own.mounts.origin = Some(Origin::variable("CONDATAINER_MOUNTS"));
    assert_eq!(
        on(own, &ANY(), vec![old()]).unwrap_err().to_string(),
        "mounts = own: /e.img has no journal: unset CONDATAINER_MOUNTS, which is own"
    );
}

#[test]
fn what_tmp_writes_is_no_reason_to_say_nothing() {
    let tmp = || vec![img("/e.img", Some(Mode::Tmp), ALICE)];
    let mut facts = asked(Mounts::Auto);
    facts.mounts.no_overlay = Some("no overlay".into());
    let line = "the engine mounts the layers of this start: ";
    assert_eq!(on(facts, &ANY(), tmp()).unwrap().notices, [format!("{line}no overlay")]);
    let gpu_files = GpuFiles { by_program: true, ..GpuFiles::default() };
    let gpus = Facts { gpus: vec![Gpu::Nvidia], gpu_files, ..asked(Mounts::Auto) };
    let why = "nvidia-container-cli mounts the GPU's files, and only it knows where";
    assert_eq!(on(gpus.clone(), &ANY(), tmp()).unwrap().notices, [format!("{line}{why}")]);
    assert!(on(gpus, &ANY(), vec![sqf("/a.sqf")]).unwrap().mounts.own().is_some());
}

#[test]
fn what_only_the_engine_cannot_mount_is_refused_where_it_mounts() {
    let changed = |change: fn(&mut ImageFacts)| move |mode| with_image(img("/e.img", Some(mode), ALICE), change);
    let ext4 = changed(|image| {
        image.refused_by_engine = Some("extents".into());
        image.unwritten = Some("has the file system feature extent".into());
    });
    // Whoever may only read it can replay it in memory alone.
    let unreplayed = |mode| LayerFacts { writable: false, ..changed(|image| image.state = State::NeedsRecovery)(mode) };
    let layers: [&dyn Fn(Mode) -> LayerFacts; 3] = [&ext4, &unreplayed, &|mode| img("/a:b.img", Some(mode), ALICE)];
    for layer in layers {
        let on = |asked: Facts, mode| on(asked, &ANY(), vec![layer(mode)]);
        let refusal = on(asked(Mounts::Engine), Mode::Ro).unwrap_err();
        let mut impossible = asked(Mounts::Auto);
        impossible.mounts.why_not = Some("no /dev/fuse".into());
        assert_eq!(on(impossible, Mode::Ro).unwrap_err(), refusal);
        if layer(Mode::Rw).image.is_some_and(|image| image.unwritten.is_some()) {
            assert_eq!(on(asked(Mounts::Auto), Mode::Rw).unwrap_err(), refusal);
        }
        for mode in [Mode::Ro, Mode::Tmp] {
            assert!(on(asked(Mounts::Own), mode).unwrap().mounts.own().is_some());
            let plan = on(asked(Mounts::Auto), mode).unwrap();
            assert!(plan.mounts.own().is_some() && plan.otherwise.is_none(), "the engine is no way out");
        }
    }
}
