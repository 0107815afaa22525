//! Golden plans: for each kind of request the exact command line, or the exact refusal.

mod hard_links;
mod mounts;
mod refusals;
mod tmp;

use std::path::Path;

use super::*;
use crate::config::Mounts;
use crate::machine::directories::{HostDirectories, WorkingDirectory};
use crate::machine::facts::{BaseFacts, Gpu, GpuFiles, ImageFacts, Kind, MountFacts, ScratchFacts};
use crate::request::bind::Bind;
use crate::request::layer::Mode;
use condatainer_formats::ext::Stamp;
use condatainer_images::acquire::holder::Holder;
use condatainer_images::image::state::State;
use condatainer_images::module::Module;
use condatainer_images::system::user::Caller;

pub(crate) const ALICE: (u32, u32) = (1001, 1001);

pub(crate) fn caller(uid: u32, has_subids: bool) -> Caller {
    Caller { uid, gid: uid, name: "alice".into(), home: None, shell: None, has_subids }
}

fn apptainer() -> Engine {
    Engine {
        origin: None,
        flavour: Flavour::Apptainer,
        program: "/usr/bin/apptainer".into(),
        config: None,
        setuid: false,
        oci_mode: false,
        interposers: None,
        own_programs: Vec::new(),
    }
}

/// A machine where everything works: alice, a squashfs base, no layers.
pub(crate) fn machine() -> Facts {
    Facts {
        caller: caller(1001, true),
        job: None,
        job_variables: Vec::new(),
        nesting: 0,
        held_around: Vec::new(),
        base: BaseFacts {
            path: "/base.sqf".into(),
            kind: Kind::Squashfs,
            identity: (0, 0),
            shows_deleted: false,
            origin: None,
            distrust: None,
        },
        layers: Vec::new(),
        unsupported: None,
        engine: Ok(apptainer()),
        user_namespaces: true,
        newuidmap: true,
        gpus: Vec::new(),
        gpu_files: GpuFiles::default(),
        working_directory: WorkingDirectory::default(),
        host: HostDirectories::default(),
        tmpdir: "/tmp".into(),
        tmpdir_problem: None,
        scratch: ScratchFacts::default(),
        fakeroot_origin: None,
        file_limit: None,
        hard_links: None,
        log: None,
        mounts: MountFacts {
            asked: Mounts::Engine,
            origin: None,
            place: "/libexec/stack".into(),
            why_not: None,
            no_overlay: None,
            no_directory: None,
            subordinate: Some([(100_000, 65_536); 2]),
        },
    }
}

pub(crate) fn layer(path: &str, mode: Option<Mode>, kind: Kind, image: Option<ImageFacts>) -> LayerFacts {
    // Different paths are different files.
    let identity = (1, path.bytes().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into())));
    LayerFacts {
        path: path.into(),
        mode,
        kind,
        identity,
        distrust: None,
        writable: true,
        image,
        module: Module::default(),
    }
}

pub(crate) fn sqf(path: &str) -> LayerFacts {
    layer(path, None, Kind::Squashfs, None)
}

pub(crate) fn img(path: &str, mode: Option<Mode>, upper: (u32, u32)) -> LayerFacts {
    let image = ImageFacts {
        upper: Some(upper),
        program_path: Vec::new(),
        state: State::Clean,
        refused_by_engine: None,
        unwritten: None,
        usage: Usage::Free,
        held_around: false,
        short_of_space: None,
        lack: None,
        end: 1 << 30,
        whiteouts: Whiteouts::Unknown,
    };
    layer(path, mode, Kind::Ext, Some(image))
}

pub(crate) fn with_image(mut layer: LayerFacts, change: impl FnOnce(&mut ImageFacts)) -> LayerFacts {
    change(layer.image.as_mut().unwrap());
    layer
}

pub(crate) fn decided(request: &Request, layers: Vec<LayerFacts>) -> Result<Plan, Refusal> {
    on(machine(), request, layers)
}

pub(crate) fn on(facts: Facts, request: &Request, layers: Vec<LayerFacts>) -> Result<Plan, Refusal> {
    decide(request, &Facts { layers, ..facts }, Command::Argv(vec!["true".into()]))
}

fn line(plan: &Plan) -> String {
    plan.to_shell()
}

pub(crate) fn refusal(layers: Vec<LayerFacts>) -> String {
    decided(&Request::default(), layers).unwrap_err().to_string()
}

pub(crate) const ANY: fn() -> Request = Request::default;

#[test]
fn squashfs_below_images_below_the_writer() {
    let layers = vec![img("/w.img", Some(Mode::Rw), ALICE), sqf("/a.sqf"), img("/r.img", None, ALICE), sqf("/b.sqf")];
    assert_eq!(
        line(&decided(&ANY(), layers).unwrap()),
        "/usr/bin/apptainer -q exec --overlay /a.sqf:ro --overlay /b.sqf:ro --overlay /r.img:ro --overlay /w.img /base.sqf true"
    );
}

#[test]
fn a_read_only_image_needs_the_driver_and_squashfs_alone_does_not() {
    let plan = decided(&ANY(), vec![img("/e.img", None, ALICE)]).unwrap();
    assert!(plan.overlay_driver && plan.holds.is_none());
    assert!(line(&plan).starts_with("/usr/bin/apptainer -c "), "{}", line(&plan));
    assert!(!decided(&ANY(), vec![sqf("/a.sqf")]).unwrap().overlay_driver);
    assert!(!decided(&ANY(), vec![img("/e.img", Some(Mode::Rw), ALICE)]).unwrap().overlay_driver);
}

#[test]
fn an_image_that_is_known_to_have_no_fuse_whiteouts_is_left_to_the_kernel() {
    let stamp = Stamp::default();
    let known = |whiteouts| with_image(img("/e.img", None, ALICE), |image| image.whiteouts = whiteouts);
    let plan = decided(&ANY(), vec![known(Whiteouts::Honoured(stamp))]).unwrap();
    assert_eq!((plan.overlay_driver, plan.watch[0].stamp), (false, Some(stamp)));
    let mixed = vec![known(Whiteouts::Honoured(stamp)), known(Whiteouts::OfFuse)];
    let plan = decided(&ANY(), mixed).unwrap();
    assert_eq!((plan.overlay_driver, plan.watch[0].stamp), (true, None));
    assert!(decided(&ANY(), vec![layer("/d", None, Kind::Directory, None)]).unwrap().overlay_driver);
}

#[test]
fn what_is_deleted_in_a_base_needs_the_driver_too() {
    let base = BaseFacts {
        path: "/own.sif".into(),
        kind: Kind::Sif,
        identity: (0, 0),
        shows_deleted: true,
        origin: None,
        distrust: None,
    };
    let facts = || Facts { base: base.clone(), ..machine() };
    assert!(on(facts(), &ANY(), Vec::new()).unwrap().overlay_driver);
    assert!(!on(facts(), &ANY(), vec![img("/e.img", Some(Mode::Rw), ALICE)]).unwrap().overlay_driver);
}

#[test]
fn tmp_reads_the_image_and_writes_beside() {
    let plan = decided(&ANY(), vec![img("/e.img", Some(Mode::Tmp), ALICE)]).unwrap();
    assert_eq!(plan.stack, [Overlay::Ro("/e.img".into()), Overlay::Scratch("/tmp".into())]);
    assert!(plan.overlay_driver && plan.holds.is_none());
    let full = Facts {
        tmpdir_problem: Some(("read-only".into(), "set tmpdir in the configuration, or TMPDIR".into())),
        ..machine()
    };
    let refused = on(full, &ANY(), vec![img("/e.img", Some(Mode::Tmp), ALICE)]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "/tmp: cannot hold what :tmp layers write: read-only: set tmpdir in the configuration, or TMPDIR"
    );
}

#[test]
fn w_writes_to_the_last_image_without_a_mode() {
    let request = Request { write: true, ..ANY() };
    let plan = decided(&request, vec![img("/a.img", None, ALICE), img("/b.img", Some(Mode::Ro), ALICE)]).unwrap();
    assert_eq!(plan.holds.as_deref(), Some(Path::new("/a.img")));
    assert_eq!(decided(&request, vec![sqf("/a.sqf")]).unwrap_err(), Refusal::NothingToWrite);
}

#[test]
fn options_become_arguments() {
    let request = Request {
        bind: vec![Bind { source: "/a".into(), destination: "/b".into(), read_only: true }],
        workdir: Some("/w".into()),
        env: vec![("A".into(), "b c".into())],
        ..ANY()
    };
    let plan = on(Facts { gpus: vec![Gpu::Nvidia], ..machine() }, &request, vec![]).unwrap();
    assert_eq!(
        line(&plan),
        "/usr/bin/apptainer -q exec --nv --mount 'type=bind,source=/a,destination=/b,ro' --pwd /w /base.sqf true"
    );
    let told =
        ["--set", "IN_CONDATAINER=1", "--set", "A=b c", "--directory", "/w", "--prompt", "base.sqf ro", "--", "true"];
    assert_eq!(plan.job(), told);
}

#[test]
fn an_image_of_roots_turns_fakeroot_on() {
    let plan = decided(&ANY(), vec![img("/e.img", None, (0, 0))]).unwrap();
    assert_eq!(plan.fakeroot, Some(Fakeroot::Subuid));
    assert_eq!(plan.notices, ["fakeroot turned on: /e.img belongs to root (--no-fakeroot turns it off)"]);
    let without_range = Facts { caller: caller(1001, false), ..machine() };
    let plan = on(without_range, &ANY(), vec![img("/e.img", Some(Mode::Rw), (0, 0))]).unwrap();
    assert_eq!(plan.fakeroot, Some(Fakeroot::RootMapped));
    let off = Request { fakeroot: Some(false), ..ANY() };
    assert_eq!(decided(&off, vec![img("/e.img", None, (0, 0))]).unwrap().fakeroot, None);
}

#[test]
fn fakeroot_without_anything_to_write_is_warned_of() {
    let forced = Request { fakeroot: Some(true), ..ANY() };
    let warning =
        "fakeroot without a writable image: nothing can be written (add :rw or :tmp to the image, or use --tmp)";
    assert_eq!(decided(&forced, vec![img("/e.img", None, ALICE)]).unwrap().notices, [warning]);
    assert!(decided(&forced, vec![img("/e.img", Some(Mode::Tmp), ALICE)]).unwrap().notices.is_empty());
}

#[test]
fn an_owner_that_the_mode_cannot_write_as_is_refused_with_the_cure() {
    let rw = |owner| vec![img("/e.img", Some(Mode::Rw), owner)];
    let off = Request { fakeroot: Some(false), ..ANY() };
    assert_eq!(
        decided(&off, rw((0, 0))).unwrap_err().to_string(),
        "/e.img: its upper belongs to 0:0 and you are 1001:1001, so plain mode cannot write it: run 'condatainer overlay chown /e.img', or drop --no-fakeroot"
    );
    assert!(matches!(decided(&ANY(), rw((1002, 1002))), Err(Refusal::WrongOwner { .. })));
    assert!(matches!(decided(&ANY(), rw((1001, 50))), Err(Refusal::WrongOwner { .. })), "the group counts too");
    let forced = Request { fakeroot: Some(true), ..ANY() };
    assert!(decided(&forced, rw(ALICE)).is_ok() && decided(&forced, rw((42, 42))).is_ok());
    assert!(decided(&forced, rw((70000, 0))).is_err());
    // Advice that would only lead to the next refusal is none.
    let bobs_without_range = on(Facts { caller: caller(1001, false), ..machine() }, &ANY(), rw((1002, 1002)));
    let text = bobs_without_range.unwrap_err().to_string();
    assert!(text.ends_with("run 'condatainer overlay chown /e.img'"), "{text}");
    let without_range = Facts { caller: caller(1001, false), ..machine() };
    assert_eq!(
        on(without_range, &forced, rw(ALICE)).unwrap_err().to_string(),
        "/e.img: its upper belongs to 1001:1001, and fakeroot without a subuid range can write as root only: run 'condatainer overlay chown --root /e.img', or drop --fakeroot"
    );
}

#[test]
fn anybody_may_read_anybodys_image() {
    assert!(decided(&ANY(), vec![img("/e.img", None, (1002, 70000))]).is_ok());
}

#[test]
fn a_disk_that_is_nearly_full_is_told_to_a_writer() {
    let short = |mode| with_image(img("/e.img", Some(mode), ALICE), |image| image.short_of_space = Some(30 << 20));
    let text = "/e.img: only 30 MiB are free on its disk: what does not fit is lost, perhaps without an error";
    assert_eq!(decided(&ANY(), vec![short(Mode::Rw)]).unwrap().notices, [text]);
    assert!(decided(&ANY(), vec![short(Mode::Ro)]).unwrap().notices.is_empty());
}

#[test]
fn short_work_on_an_image_is_waited_for() {
    let by = |holder| Refusal::HasWriter { path: "/e.img".into(), mode: Mode::Rw, holder, seen: None };
    let holder = |verb: Option<&str>| Some(Box::new(Holder { verb: verb.map(String::from), ..Holder::current() }));
    assert!(by(None).may_be_momentary() && by(holder(Some("overlay chown"))).may_be_momentary());
    assert!(!by(holder(None)).may_be_momentary(), "a container may take days");
}

#[test]
fn a_step_is_told_when_its_own_batch_script_holds_the_image() {
    let holder = Holder {
        host: "n1".into(),
        pid: 9,
        user: "alice".into(),
        job: Some("7".into()),
        step: Some("batch".into()),
        verb: None,
    };
    let writer = Usage::Writer { holder: Some(holder), seen: None };
    let busy = || vec![with_image(img("/e.img", Some(Mode::Ro), ALICE), |image| image.usage = writer.clone())];
    let in_job = |job: &str| on(Facts { job: Some(job.into()), ..machine() }, &ANY(), busy()).unwrap_err();
    assert!(in_job("7").to_string().contains("--condatainer-scope=steps"));
    assert!(matches!(in_job("8"), Refusal::HasWriter { .. }));
}

#[test]
fn nobody_waits_for_a_container_that_waits_for_him() {
    let readers = Usage::Readers { seen: None };
    let writer = Usage::Writer { holder: None, seen: None };
    for (mode, usage, is_in_the_way) in
        [(Mode::Rw, &readers, true), (Mode::Ro, &writer, true), (Mode::Ro, &readers, false)]
    {
        let image = with_image(img("/e.img", Some(mode), ALICE), |image| {
            (image.usage, image.held_around) = (usage.clone(), true);
        });
        match decided(&ANY(), vec![image]) {
            Err(refusal @ Refusal::HeldAround { .. }) => assert!(is_in_the_way && refusal.waits_for().is_none()),
            other => assert!(!is_in_the_way && other.is_ok(), "{other:?}"),
        }
    }
}

#[test]
fn what_a_killed_writer_left_is_repaired_before_it_is_written() {
    let state = |mode, state| with_image(img("/e.img", Some(mode), ALICE), |image| image.state = state);
    assert_eq!(decided(&ANY(), vec![state(Mode::Rw, State::Dirty)]).unwrap().repair, [Path::new("/e.img")]);
    assert_eq!(decided(&ANY(), vec![state(Mode::Ro, State::Dirty)]).unwrap().repair, [Path::new("/e.img")]);
    let mut not_ours = state(Mode::Ro, State::Dirty);
    not_ours.writable = false;
    assert!(decided(&ANY(), vec![not_ours]).unwrap().repair.is_empty(), "who may not write it cannot repair it");
    let in_use = with_image(state(Mode::Ro, State::Dirty), |image| image.usage = Usage::Readers { seen: None });
    assert!(decided(&ANY(), vec![in_use]).unwrap().repair.is_empty(), "a reader's fuse2fs looks like that too");
    let unlocked = |mode| {
        let unknown = Usage::Unknown { reason: "No locks available".into() };
        with_image(state(mode, State::Dirty), |image| image.usage = unknown)
    };
    assert!(decided(&ANY(), vec![unlocked(Mode::Ro)]).unwrap().repair.is_empty(), "its writer may be on another node");
    assert!(matches!(decided(&ANY(), vec![unlocked(Mode::Rw)]), Err(Refusal::PerhapsInUse { .. })));
    assert!(refusal(vec![state(Mode::Ro, State::Errors)]).contains("condatainer overlay check --fix /e.img"));
    assert!(matches!(decided(&ANY(), vec![state(Mode::Rw, State::Errors)]), Err(Refusal::Damaged { .. })));
}

#[test]
fn a_journal_is_replayed_only_where_nobody_can_have_the_image() {
    let crashed = |mode| with_image(img("/e.img", Some(mode), ALICE), |image| image.state = State::NeedsRecovery);
    for mode in [Mode::Rw, Mode::Ro, Mode::Tmp] {
        assert_eq!(decided(&ANY(), vec![crashed(mode)]).unwrap().repair, [Path::new("/e.img")], "{mode}");
    }
    let mut not_ours = crashed(Mode::Ro);
    not_ours.writable = false;
    assert!(refusal(vec![not_ours]).contains("condatainer overlay check --fix /e.img"));
    let unknown = Usage::Unknown { reason: "No locks available".into() };
    for usage in [Usage::Readers { seen: None }, unknown] {
        let used = with_image(crashed(Mode::Ro), |image| image.usage = usage.clone());
        assert!(matches!(decided(&ANY(), vec![used]), Err(Refusal::NeedsRecovery { .. })), "{usage:?}");
    }
}

#[test]
fn locks_that_do_not_exist_are_said_aloud() {
    let unlocked = with_image(img("/e.img", Some(Mode::Rw), ALICE), |image| {
        image.usage = Usage::Unknown { reason: "No locks available".into() };
    });
    assert!(decided(&ANY(), vec![unlocked]).unwrap().notices[0].contains("has no locks (No locks available)"));
}
