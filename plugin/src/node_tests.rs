//! Tests of the node's side, without Slurm.

use super::*;
use condatainer_core::request::Scope;
use condatainer_core::request::layer::{Layer, Mode};

struct FakeTask {
    step: Step,
    nodes: u32,
    /// Of all components of a heterogeneous step, as srun tells.
    all_nodes: u32,
    number: u32,
    channel: Option<i32>,
    value: Variable,
    program: String,
    prepended: Vec<String>,
    /// How often it was asked for a variable.
    looks: std::cell::Cell<usize>,
}

impl Task for FakeTask {
    fn step(&self) -> Step {
        self.step
    }
    fn node_count(&self) -> u32 {
        self.nodes
    }
    fn channel(&mut self) -> Option<i32> {
        self.channel
    }
    fn variable(&self, name: &str) -> Variable {
        self.looks.set(self.looks.get() + 1);
        match name {
            VARIABLE => self.value.clone(),
            "SLURM_STEP_NUM_NODES" => Variable::Set(self.all_nodes.to_string()),
            "SLURM_PROCID" => Variable::Set(self.number.to_string()),
            _ => panic!("{name}"),
        }
    }
    fn program(&self) -> Option<String> {
        Some(self.program.clone())
    }
    fn prepend(&mut self, words: &[String]) -> Result<(), String> {
        self.prepended = words.to_vec();
        Ok(())
    }
}

fn task(value: Variable) -> FakeTask {
    FakeTask {
        step: Step::Part(Part::Step),
        nodes: 1,
        all_nodes: 1,
        number: 0,
        channel: None,
        value,
        program: "/bin/true".into(),
        prepended: Vec::new(),
        looks: std::cell::Cell::new(0),
    }
}

fn asking(mode: Mode, scope: Scope) -> FakeTask {
    let request =
        Request { layers: vec![Layer { mode: Some(mode), ..Layer::at("/e.img") }], scope, ..Request::default() };
    task(Variable::Set(request.encode().unwrap()))
}

fn start(task: &mut FakeTask, seen: Seen) -> Result<(), String> {
    let settings = PluginArguments::parse(["condatainer=/bin/sh"]).unwrap();
    start_task(task, seen, Ok(&settings))
}

const NOTHING: Seen = Seen { container: false, off: false };

#[test]
fn a_step_without_our_options_is_left_alone() {
    let mut plain = task(Variable::Missing);
    start(&mut plain, NOTHING).unwrap();
    assert!(plain.prepended.is_empty());
    assert_eq!(plain.looks.get(), 1, "it costs one look into the environment");
}

#[test]
fn the_keeper_is_asked_where_there_is_one() {
    let mut asked = asking(Mode::Rw, Scope::All);
    asked.channel = Some(7);
    start(&mut asked, NOTHING).unwrap();
    assert!(asked.prepended.contains(&"--channel=7".to_owned()), "{:?}", asked.prepended);
    let settings = PluginArguments::parse(["condatainer=/bin/sh", "config=/c.toml"]).unwrap();
    let words = |part| keeper(&settings, part, Some("/spool/script".into())).join(" ");
    assert_eq!(words(Part::Batch), "/bin/sh keep --part=batch --config=/c.toml -- /spool/script");
    assert_eq!(words(Part::Step), "/bin/sh keep --part=step --config=/c.toml");
}

#[test]
fn the_program_stands_in_front() {
    let mut step = asking(Mode::Ro, Scope::All);
    start(&mut step, NOTHING).unwrap();
    assert_eq!(step.prepended, ["/bin/sh", "task", "--part=step", "--config=/etc/condatainer/config.toml", "--"]);
    step.step = Step::Part(Part::Batch);
    start(&mut step, NOTHING).unwrap();
    assert_eq!(step.prepended[2], "--part=batch");
}

#[test]
fn the_scope_decides() {
    for (scope, part, contained) in [
        (Scope::Steps, Part::Batch, false),
        (Scope::Steps, Part::Step, true),
        (Scope::Batch, Part::Batch, true),
        (Scope::Batch, Part::Step, false),
    ] {
        let mut step = asking(Mode::Ro, scope);
        step.step = Step::Part(part);
        start(&mut step, NOTHING).unwrap();
        assert_eq!(!step.prepended.is_empty(), contained, "{scope:?} {part:?}");
    }
}

#[test]
fn whatever_is_in_doubt_is_refused() {
    let asked = Seen { container: true, off: false };
    assert!(start(&mut task(Variable::Missing), asked).unwrap_err().contains("did not reach the node"));
    assert!(start(&mut task(Variable::Unusable), NOTHING).is_err());
    assert!(start(&mut task(Variable::Set("{}".into())), NOTHING).is_err());
    let mut many = asking(Mode::Rw, Scope::All);
    many.nodes = 4;
    assert!(start(&mut many, NOTHING).unwrap_err().contains("4 nodes"));
    many.number = 1;
    assert_eq!(start(&mut many, NOTHING), Err(String::new()), "one of them says it");
    many.step = Step::Part(Part::Batch);
    assert_eq!(start(&mut many, NOTHING), Ok(()), "a batch script is one process, however many nodes the job has");
    let mut components = asking(Mode::Rw, Scope::All);
    components.all_nodes = 2;
    assert!(start(&mut components, NOTHING).unwrap_err().contains("2 nodes"));
    let missing = PluginArguments::parse(["condatainer=/no/such/program"]).unwrap();
    assert!(
        start_task(&mut asking(Mode::Ro, Scope::All), NOTHING, Ok(&missing)).unwrap_err().contains("/no/such/program")
    );
    assert_eq!(
        start_task(&mut asking(Mode::Ro, Scope::All), NOTHING, Err("bad plugstack")),
        Err("bad plugstack".into())
    );
}

/// A batch job of a script with this text, and what the submitting side left.
fn batch(dir: &tempfile::TempDir, text: &str, value: Variable) -> FakeTask {
    let script = dir.path().join("slurm_script");
    std::fs::write(&script, text).unwrap();
    FakeTask { step: Step::Part(Part::Batch), program: script.display().to_string(), ..task(value) }
}

#[test]
fn lines_that_nobody_has_read_are_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = batch(&dir, "#!/bin/sh\n#DEP: a.sqf\n", Variable::Missing);
    start(&mut job, NOTHING).unwrap();
    assert_eq!(job.prepended[1..4], ["task", "--part=batch", "--script"]);
    job.value = asking(Mode::Ro, Scope::All).value;
    start(&mut job, NOTHING).unwrap();
    assert_eq!(job.prepended[3], "--script", "options given beside a script from a pipe");
    job.value = asking(Mode::Ro, Scope::Steps).value;
    assert!(start(&mut job, NOTHING).unwrap_err().contains("submit it as a file"));
    job.step = Step::Part(Part::Step);
    job.prepended.clear();
    start(&mut job, NOTHING).unwrap();
    assert!(!job.prepended.contains(&"--script".into()), "a step has no lines");
}

#[test]
fn lines_that_were_read_or_switched_off_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let off = Variable::Set(Request::off().encode().unwrap());
    let mut job = batch(&dir, "#!/bin/sh\n#DEP: a.sqf\n", off);
    start(&mut job, NOTHING).unwrap();
    job.value = Variable::Missing;
    start(&mut job, Seen { container: false, off: true }).unwrap();
    let mut plain = batch(&dir, "#!/bin/sh\necho\n", Variable::Missing);
    start(&mut plain, NOTHING).unwrap();
    assert!(job.prepended.is_empty() && plain.prepended.is_empty());
    let layer = Layer::at("/a.sqf");
    let read = Request { layers: vec![layer], lines_read: true, ..Request::default() };
    job.value = Variable::Set(read.encode().unwrap());
    start(&mut job, NOTHING).unwrap();
    assert!(!job.prepended.is_empty() && !job.prepended.contains(&"--script".into()));
}

#[test]
fn off_and_the_external_step_stay_on_the_host() {
    start(&mut task(Variable::Missing), Seen { container: false, off: true }).unwrap();
    let mut external = asking(Mode::Ro, Scope::All);
    external.step = Step::External;
    start(&mut external, NOTHING).unwrap();
    assert!(external.prepended.is_empty());
}

#[test]
fn older_slurm_gets_the_words_in_a_variable() {
    let words = ["/bin/c".to_string(), "task".into(), "--".into()];
    assert_eq!(arguments_value(&words, "a \"b\""), (ARGUMENTS_VARIABLE, r#"["/bin/c","task","--","a \"b\""]"#.into()));
}
