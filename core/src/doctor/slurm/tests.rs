//! Verdicts about Slurm and the plugin.

use super::facts::Line;
use super::*;
use crate::doctor::check::Status;

fn healthy() -> Facts {
    Facts {
        here: true,
        version: Ok(Version(24, 11, 5)),
        job: None,
        shows: Ok(true),
        plugstack: Some("/etc/slurm/plugstack.conf".into()),
        line: Some(line()),
    }
}

fn line() -> Line {
    Line {
        file: "/etc/slurm/plugstack.conf".into(),
        required: true,
        plugin: "/l/spank_condatainer.so".into(),
        plugin_problem: None,
        wrapper: "/b/condatainer".into(),
        wrapper_problem: None,
        argument_problem: None,
        config_problem: None,
    }
}

#[test]
fn releases_and_jobs() {
    let of = |version, job| slurm(&Facts { version, job, ..healthy() });
    assert_eq!(of(Ok(Version(22, 5, 8)), None).found, "22.05.8, not in a job");
    assert_eq!(of(Ok(Version(26, 5, 5)), Some(("7".into(), Some("0".into())))).found, "26.05.5, in job 7, step 0");
    assert_eq!(of(Ok(Version(21, 8, 8)), None).status, Status::Warning);
    assert_eq!(of(Ok(Version(26, 11, 0)), None).status, Status::Warning);
    assert_eq!(of(Err("it did not answer".into()), None).status, Status::Warning);
    let absent = judge(&Facts { here: false, ..healthy() });
    assert!(absent.iter().all(|check| check.status == Status::Skipped), "{absent:?}");
}

#[test]
fn plugins() {
    let with = |line: Line| plugin(&Facts { line: Some(line), ..healthy() });
    assert_eq!(plugin(&healthy()), Check::ok("plugin", "loaded from /l/spank_condatainer.so, required"));
    assert_eq!(with(Line { required: false, ..line() }).status, Status::Warning);
    let missing = with(Line { plugin_problem: Some("cannot be read: No such file or directory".into()), ..line() });
    assert!(missing.status == Status::Failed && missing.found.starts_with("/l/spank_condatainer.so: cannot be read"));
    assert_eq!(with(Line { wrapper_problem: Some("cannot be run".into()), ..line() }).status, Status::Failed);
    let argument = with(Line { argument_problem: Some("plugstack.conf: argument 'x' is wrong".into()), ..line() });
    assert!(
        argument.status == Status::Failed
            && argument.found.contains("containers are refused: plugstack.conf: argument")
    );
    assert_eq!(with(Line { config_problem: Some("line 1".into()), ..line() }).status, Status::Failed);
    assert_eq!(plugin(&Facts { shows: Ok(false), ..healthy() }).status, Status::Failed);
    assert_eq!(plugin(&Facts { shows: Err("srun: error".into()), ..healthy() }).status, Status::Failed);
}

#[test]
fn plugins_that_are_not_enabled() {
    let of = |shows, plugstack: Option<&str>| {
        plugin(&Facts { shows, line: None, plugstack: plugstack.map(Into::into), ..healthy() })
    };
    assert_eq!(of(Ok(true), None).status, Status::Ok);
    let not_there = of(Ok(false), Some("/etc/slurm/plugstack.conf"));
    assert!(not_there.status == Status::Failed && not_there.found.starts_with("not in /etc/slurm/plugstack.conf"));
    assert_eq!(of(Ok(false), None).status, Status::Failed);
    assert_eq!(of(Err("srun: fatal".into()), None).status, Status::Failed);
}
