//! Tests of the submitting side, without Slurm.

use super::*;
use crate::given::Origin;
use crate::options::Name;

#[derive(Default)]
struct Shell(HashMap<String, String>);

impl Submitter for Shell {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
    fn set_variable(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.0.insert(name.into(), value.into()),
            None => self.0.remove(name),
        };
    }
}

/// A directory with two directories that can serve as layers, and as base.
struct Fixture {
    dir: tempfile::TempDir,
    shell: Shell,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["base", "a", "b"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir, shell: Shell::default() }
    }

    fn submit(&mut self, context: Context, options: &[(Name, &str)]) -> Result<Option<Request>, String> {
        let mut given = Given::default();
        for (name, value) in options {
            given.add(*name, value, Origin::CommandLine)?;
        }
        let env = HashMap::from([("CONDATAINER_BASE".into(), self.path("base").display().to_string())]);
        let place = Place { cwd: self.dir.path().into(), env, system_config: self.path("none.toml") };
        submit(context, &given, &place, &mut self.shell)?;
        Ok(self.shell.variable(VARIABLE).map(|value| Request::decode(&value).unwrap()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn in_job(mut self) -> Self {
        self.shell.set_variable("SLURM_JOB_ID", Some("7"));
        self
    }
}

#[test]
fn nothing_asked_nothing_set() {
    assert_eq!(Fixture::new().submit(Context::Local, &[]), Ok(None));
}

#[test]
fn paths_become_absolute_and_the_base_is_found() {
    let mut f = Fixture::new();
    let request = f.submit(Context::Allocator, &[(Name::Overlay, "a,./b:ro")]).unwrap().unwrap();
    assert_eq!(request.layers.iter().map(|l| l.path.clone()).collect::<Vec<_>>(), [f.path("a"), f.path("b")]);
    assert_eq!(request.base, Some(f.path("base")));
}

#[test]
fn srun_inherits_and_overrides_option_by_option() {
    let mut f = Fixture::new().in_job();
    f.submit(Context::Allocator, &[(Name::Overlay, "a"), (Name::Workdir, "/w"), (Name::Fakeroot, "")]).unwrap();
    let inherited = f.submit(Context::Local, &[]).unwrap().unwrap();
    assert_eq!((inherited.layers.len(), inherited.workdir.as_deref()), (1, Some(Path::new("/w"))));
    let changed = f.submit(Context::Local, &[(Name::Overlay, "b"), (Name::NoFakeroot, "")]).unwrap().unwrap();
    assert_eq!(changed.layers[0].path, f.path("b"));
    assert_eq!((changed.layers.len(), changed.fakeroot), (1, Some(false)));
    assert_eq!(changed.workdir.as_deref(), Some(Path::new("/w")));
}

#[test]
fn a_new_submission_discards_what_an_enclosing_job_left() {
    let mut f = Fixture::new().in_job();
    f.submit(Context::Allocator, &[(Name::Overlay, "a")]).unwrap();
    assert_eq!(f.submit(Context::Allocator, &[]), Ok(None));
    f.submit(Context::Allocator, &[(Name::Overlay, "a")]).unwrap();
    f.shell.set_variable("SLURM_JOB_ID", None);
    assert_eq!(f.submit(Context::Local, &[]), Ok(None), "srun outside a job inherits nothing");
}

#[test]
fn off_turns_it_off_and_stands_alone() {
    let mut f = Fixture::new().in_job();
    f.submit(Context::Allocator, &[(Name::Overlay, "a")]).unwrap();
    assert!(
        f.submit(Context::Local, &[(Name::Off, ""), (Name::Overlay, "b")]).unwrap_err().contains("--condatainer-off")
    );
    assert_eq!(f.submit(Context::Local, &[(Name::Off, "")]), Ok(None));
}

#[test]
fn mistakes_fail_at_the_prompt() {
    let mut f = Fixture::new();
    let missing = f.submit(Context::Local, &[(Name::Overlay, "env.img")]).unwrap_err();
    assert!(missing.ends_with("env.img: no such file or directory"), "{missing}");
    assert!(f.submit(Context::Local, &[(Name::Fakeroot, "")]).unwrap_err().contains("--condatainer-overlay"));
    assert!(f.submit(Context::Local, &[(Name::Overlay, "a"), (Name::Scope, "batch")]).is_err());
    assert!(f.submit(Context::Local, &[(Name::Overlay, "a:rw,b:rw")]).unwrap_err().contains("only one layer"));
    assert_eq!(f.shell.variable(VARIABLE), None, "a failed submission leaves nothing behind");
}

#[test]
fn values_from_the_environment_are_not_trusted() {
    let mut f = Fixture::new().in_job();
    f.shell.set_variable(VARIABLE, Some("not ours"));
    assert!(f.submit(Context::Local, &[]).unwrap_err().contains(VARIABLE));
}

#[test]
fn several_writers_of_one_image_are_refused() {
    let mut f = Fixture::new();
    let request = f.submit(Context::Local, &[(Name::Overlay, "a:rw")]).unwrap().unwrap();
    assert!(refuse_shared_writing(&request, 2).unwrap().contains("2 tasks"));
    assert_eq!(refuse_shared_writing(&request, 1), None);
}

#[test]
fn only_our_own_replayed_options_are_forgotten() {
    let names =
        ["SLURM_SPANK__SLURM_SPANK_OPTION_condatainer_condatainer_overlay", "SLURM_SPANK_OTHER", "SLURM_JOB_ID"];
    assert_eq!(inherited_option_variables(names.map(String::from).into_iter()), names[..1]);
}
