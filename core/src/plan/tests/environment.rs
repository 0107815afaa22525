//! Tests of what a plan makes of variables.

use super::*;
use crate::machine::facts::{BaseFacts, LayerFacts};
use crate::plan::tests::*;
use crate::request::layer::Mode;
use condatainer_images::module::{Module, Variable};

fn module(mut layer: LayerFacts, root: &str, variables: &[(&str, &str)]) -> LayerFacts {
    let variable = |(name, value): &(&str, &str)| Variable { name: (*name).into(), value: (*value).into(), note: None };
    layer.module = Module {
        root: Some(root.into()),
        has_bin: true,
        variables: variables.iter().map(variable).collect(),
        ..Module::default()
    };
    layer
}

#[test]
fn later_layers_win_and_the_caller_wins_over_all() {
    let layers = vec![
        module(img("/w.img", Some(Mode::Rw), ALICE), "/cnt/w", &[("WHO", "image")]),
        module(sqf("/a--1.sqf"), "/cnt/a/1", &[("WHO", "a"), ("A", "1"), ("B", "a")]),
        module(sqf("/b--2.sqf"), "/cnt/b/2", &[("WHO", "b"), ("B", "b")]),
    ];
    let facts = Facts {
        job_variables: vec![("NCPUS".into(), "4".into()), ("B".into(), "job".into())],
        nesting: 1,
        ..machine()
    };
    let request = Request { env: vec![("A".into(), "mine, $x".into())], ..ANY() };
    let plan = on(facts, &request, layers).unwrap();
    assert_eq!(plan.path, ["/cnt/a/1/bin", "/cnt/b/2/bin", "/cnt/w/bin"]);
    let told: Vec<_> = plan.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expected = [
        "NCPUS=4",
        "IN_CONDATAINER=2",
        "SLURM_CONDATAINER_HELD=:/w.img",
        "CNT_CONDA_PREFIX=/ext3/env",
        "B=b",
        "WHO=image",
        "A=mine, $x",
    ];
    assert_eq!(told, expected);
    assert!(plan.workspace && plan.remarks.contains(&"WHO: image".into()));
    assert_eq!(
        plan.job()[..7],
        ["--path", "/cnt/a/1/bin", "--path", "/cnt/b/2/bin", "--path", "/cnt/w/bin", "--workspace"]
    );
}

#[test]
fn a_prompt_names_what_is_written_to_or_else_the_topmost() {
    let prompt = |layers| decided(&ANY(), layers).unwrap().prompt;
    let (own, other) = (|mode| img("/d/env.img", Some(mode), ALICE), || img("/d/other.img", None, ALICE));
    assert_eq!(prompt(vec![]), "base.sqf ro");
    assert_eq!(prompt(vec![sqf("/a--1.sqf"), sqf("/b--2.sqf")]), "b--2.sqf ro");
    assert_eq!(prompt(vec![img("/d/env.img", None, ALICE), sqf("/b.sqf")]), "env.img ro");
    assert_eq!(prompt(vec![own(Mode::Rw), other()]), "env.img rw");
    assert_eq!(prompt(vec![own(Mode::Tmp), other()]), "env.img tmp");
    let inner = on(Facts { nesting: 1, ..machine() }, &ANY(), vec![other()]).unwrap();
    assert_eq!(inner.prompt, "2: other.img ro");
    assert_eq!(prompt(vec![sqf("/a\u{1b}[2J\u{202e}\n$(x).sqf")]), "a?[2J??$(x).sqf ro");
}

#[test]
fn a_layers_path_goes_in_front() {
    let layers = vec![
        module(sqf("/a--1.sqf"), "/cnt/a/1", &[("PATH", "/a/first:/a/second:$PATH"), ("LD_LIBRARY_PATH", "/a/lib")]),
        module(img("/e.img", None, ALICE), "/cnt/e", &[("PATH", "::relative: /e/bin")]),
    ];
    let plan = decided(&ANY(), layers).unwrap();
    // Each is put before the one before it.
    assert_eq!(plan.path, ["/cnt/a/1/bin", "/a/second", "/a/first", "/cnt/e/bin", "/e/bin"]);
    assert!(plan.env.iter().all(|(name, _)| name != "PATH"));
    assert!(plan.env.contains(&("LD_LIBRARY_PATH".into(), "/a/lib".into())), "all else as it is written");
    let request = Request { env: vec![("PATH".into(), "/mine".into())], ..ANY() };
    assert!(decided(&request, vec![sqf("/a.sqf")]).unwrap().env.contains(&("PATH".into(), "/mine".into())));
}

#[test]
fn what_is_not_believed_is_refused() {
    let reason = || "/a.sqf: belongs to bob".to_owned();
    let stranger = LayerFacts { distrust: Some(reason()), ..sqf("/a.sqf") };
    let mut beside = sqf("/a.sqf");
    (beside.module.problem, beside.module.is_distrusted) = (Some(reason()), true);
    for layer in [stranger, beside] {
        assert_eq!(decided(&ANY(), vec![layer]).unwrap_err().to_string(), reason());
    }
    let base = BaseFacts { distrust: Some(reason()), ..machine().base };
    assert_eq!(on(Facts { base, ..machine() }, &ANY(), vec![]).unwrap_err().to_string(), reason());
}

#[test]
fn variables_that_cannot_be_read_are_said() {
    let mut layer = sqf("/a.sqf");
    layer.module.problem = Some("/a.sqf.env: Permission denied (os error 13)".into());
    let notices = decided(&ANY(), vec![layer]).unwrap().notices;
    assert_eq!(notices, ["/a.sqf.env: Permission denied (os error 13): the variables in it are not set"]);
}
