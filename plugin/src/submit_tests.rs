//! Tests of the submitting side, without Slurm.

use super::*;
use crate::given::Origin;
use crate::options::Name;
use condatainer_core::request::layer::Mode;

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
    script: Option<PathBuf>,
    system_config: Result<PathBuf, String>,
    /// The variable that names layers.
    overlay: Option<&'static str>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["base", "a", "b"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let system_config = Ok(dir.path().join("none.toml"));
        Self { dir, shell: Shell::default(), script: None, system_config, overlay: None }
    }

    fn submit(&mut self, context: Context, options: &[(Name, &str)]) -> Result<Option<Request>, String> {
        let mut given = Given::default();
        for (name, value) in options {
            given.add(*name, value, Origin::CommandLine)?;
        }
        let mut env = HashMap::from([("CONDATAINER_BASE".into(), self.path("base").display().to_string())]);
        env.extend(self.overlay.map(|layers| ("CONDATAINER_OVERLAY".into(), layers.into())));
        let (cwd, script) = (self.dir.path().into(), self.script.clone());
        let place = Place { cwd, env, script, system_config: self.system_config.clone() };
        submit(context, &given, &place, &mut self.shell)?;
        Ok(self.shell.variable(VARIABLE).map(|value| Request::decode(&value).unwrap()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// With a batch script of this text.
    fn script(mut self, text: &str) -> Self {
        let path = self.path("job.sh");
        std::fs::write(&path, text).unwrap();
        self.script = Some(path);
        self
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

/// `srun true` needs none of them.
#[test]
fn mistakes_of_the_site_are_told_to_who_asks_for_a_container() {
    let broken = |system_config| Fixture { system_config, ..Fixture::new() };
    let arguments = || broken(Err("plugstack.conf: argument 'x' is wrong".into()));
    let configuration = || {
        let fixture = Fixture::new();
        std::fs::write(fixture.path("none.toml"), "base = 1\n").unwrap();
        fixture
    };
    for (fixture, said) in
        [(&arguments as &dyn Fn() -> Fixture, "argument 'x' is wrong"), (&configuration, "none.toml")]
    {
        for context in [Context::Local, Context::Allocator] {
            assert_eq!(fixture().submit(context, &[]), Ok(None));
            assert_eq!(fixture().script("#!/bin/sh\nhostname\n").submit(context, &[]), Ok(None));
            assert!(fixture().submit(context, &[(Name::Overlay, "a")]).unwrap_err().contains(said));
        }
        assert!(fixture().script("#!/bin/sh\n#DEP: a\n").submit(Context::Allocator, &[]).unwrap_err().contains(said));
        let mut job = fixture().in_job();
        let asked = Request { base: Some("/b".into()), ..Request::default() };
        job.shell.set_variable(VARIABLE, Some(&asked.encode().unwrap()));
        assert!(job.submit(Context::Local, &[]).unwrap_err().contains(said));
    }
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
fn a_variable_names_layers_where_nobody_else_does() {
    let of = |request: Option<Request>, f: &Fixture| {
        let layers = request.unwrap_or_default().layers;
        layers.iter().map(|l| l.path.strip_prefix(f.dir.path()).unwrap().display().to_string()).collect::<Vec<_>>()
    };
    let mut f = Fixture { overlay: Some("./a"), ..Fixture::new() }.in_job();
    let by_variable = f.submit(Context::Local, &[]).unwrap();
    assert_eq!(of(by_variable, &f), ["a"]);
    let by_option = f.submit(Context::Allocator, &[(Name::Overlay, "./b")]).unwrap();
    assert_eq!(of(by_option, &f), ["b"]);
    let inherited = f.submit(Context::Local, &[]).unwrap();
    assert_eq!(of(inherited, &f), ["b"], "what the job was given");
    f.submit(Context::Allocator, &[(Name::Off, "")]).unwrap();
    assert_eq!(f.submit(Context::Local, &[]), Ok(None), "the job was to have none");
    let mut f = Fixture { overlay: Some("./a"), ..Fixture::new() }.script("#!/bin/sh\n#DEP: ./b\n");
    let by_script = f.submit(Context::Allocator, &[]).unwrap();
    assert_eq!(of(by_script, &f), ["b"]);
    let mut f = Fixture { overlay: Some("./a"), ..Fixture::new() }.script("#!/usr/bin/condatainer run\ntrue\n");
    assert_eq!(f.submit(Context::Allocator, &[]), Ok(None), "it starts us");
}

#[test]
fn what_is_written_for_one_run_needs_no_image() {
    let mut f = Fixture::new().in_job();
    let alone = f.submit(Context::Allocator, &[(Name::Tmp, "")]).unwrap().unwrap();
    assert!(alone.tmp && alone.base == Some(f.path("base")), "the configured base alone");
    let both = f.submit(Context::Allocator, &[(Name::Overlay, "a:rw"), (Name::Tmp, "")]).unwrap_err();
    assert!(both.contains("--condatainer-tmp"), "{both}");
    f.submit(Context::Allocator, &[(Name::Overlay, "a"), (Name::Tmp, "")]).unwrap();
    assert!(f.submit(Context::Local, &[]).unwrap().unwrap().tmp);
    assert!(f.submit(Context::Local, &[(Name::Overlay, "b")]).unwrap().unwrap().tmp);
    let writer = f.submit(Context::Local, &[(Name::Overlay, "b:rw")]).unwrap().unwrap();
    assert!(!writer.tmp, "a step's own image is not kept from being written to");
    let mut script = Fixture::new().script("#!/bin/sh\n#CNT --tmp\n");
    assert!(script.submit(Context::Allocator, &[]).unwrap().unwrap().tmp);
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
fn a_scripts_lines_lie_below_the_options() {
    let mut f = Fixture::new().script("#!/bin/sh\n#DEP: ./a\n#CNT -w --env X=1 --pwd /script\n");
    let plain = f.submit(Context::Allocator, &[]).unwrap().unwrap();
    assert_eq!((plain.layers[0].path.clone(), plain.layers[0].mode), (f.path("a"), Some(Mode::Rw)));
    assert!(plain.lines_read && !plain.write);
    let options = [(Name::Overlay, "./b:rw"), (Name::Env, "X=2"), (Name::Workdir, "/line"), (Name::Scope, "steps")];
    let both = f.submit(Context::Allocator, &options).unwrap_err();
    assert!(both.contains("only one layer"), "{both}");
    f = f.script("#!/bin/sh\n#DEP: ./a\n#CNT --env X=1 --pwd /script\n");
    let both = f.submit(Context::Allocator, &options).unwrap().unwrap();
    assert_eq!(both.layers.iter().map(|l| l.path.clone()).collect::<Vec<_>>(), [f.path("a"), f.path("b")]);
    assert_eq!(both.env, [("X".to_string(), "1".to_string()), ("X".into(), "2".into())]);
    assert_eq!((both.workdir.as_deref(), both.scope), (Some(Path::new("/line")), Scope::Steps));
}

#[test]
fn a_script_without_lines_asks_for_nothing() {
    for text in ["#!/bin/sh\necho\n", "#!/usr/bin/env -S condatainer run\n#DEP: a\n"] {
        assert_eq!(Fixture::new().script(text).submit(Context::Allocator, &[]), Ok(None), "{text}");
    }
    let with_options = Fixture::new().script("#!/bin/sh\n").submit(Context::Allocator, &[(Name::Overlay, "a")]);
    assert!(with_options.unwrap().unwrap().lines_read);
    let only_settings = Fixture::new().script("#!/bin/sh\n#CNT --env A=1\n").submit(Context::Allocator, &[]);
    assert!(only_settings.unwrap().unwrap().base.is_some(), "the configured base alone is a container too");
}

#[test]
fn off_travels_to_where_a_scripts_lines_would_be_read() {
    let mut f = Fixture::new().script("#!/bin/sh\n#DEP: nowhere.sqf\n").in_job();
    let off = f.submit(Context::Allocator, &[(Name::Off, "")]).unwrap().unwrap();
    assert!(off.is_off());
    f.script = None;
    assert_eq!(f.submit(Context::Local, &[]), Ok(None), "a step inherits nothing from it");
}

#[test]
fn a_scripts_mistakes_fail_at_the_prompt() {
    let fails = |text: &str| Fixture::new().script(text).submit(Context::Allocator, &[]).unwrap_err();
    assert!(fails("#!/bin/sh\n#DEP: none.sqf\n").ends_with("none.sqf: no such file or directory"));
    assert!(fails("#!/bin/sh\n\n#CNT --nonsense\n").contains("job.sh: line 3: #CNT does not know '--nonsense'"));
    let unknown = fails("#!/bin/sh\n#DEP: none/1.0\n");
    assert!(unknown.contains("job.sh: line 2: none/1.0: no such layer"), "{unknown}");
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
fn only_our_own_replayed_options_are_forgotten() {
    let names =
        ["SLURM_SPANK__SLURM_SPANK_OPTION_condatainer_condatainer_overlay", "SLURM_SPANK_OTHER", "SLURM_JOB_ID"];
    assert_eq!(inherited_option_variables(names.map(String::from).into_iter()), names[..1]);
}
