//! Whether we can mount the layers of a start ourselves. Tried only where that is asked for: it takes a process.

use std::cell::{OnceCell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};

use super::engine_config::directive;
use crate::config::{Config, Mounts, Origin};
use crate::machine::engine::Engine;
use crate::machine::facts::MountFacts;
use crate::machine::libexec;
use crate::request::Request;
use condatainer_images::system::user::{Caller, subordinate_ids};
use condatainer_stack::namespace::mounts;
use condatainer_stack::namespace::trial::{Found, Trial};

/// The directory that `make install` makes for us to mount on, beside the links.
const PLACE: &str = "stack";
/// This program, also when its file has been replaced meanwhile.
pub(crate) const PROGRAM: &str = "/proc/self/exe";

/// What a trial has found. It is the machine's answer, so a start that waits and looks at its images again keeps it.
#[derive(Debug, Default)]
pub struct Tried {
    found: OnceCell<Found>,
    trial: RefCell<Option<Trial>>,
}

impl Tried {
    /// Starts the trial, if what it finds will be asked for and is not known.
    pub(super) fn begin(&self, config: &Config, request: &Request) {
        if config.mounts(request.mounts) != Mounts::Engine {
            self.begin_by(Path::new(PROGRAM));
        }
    }

    /// By a process of `program`.
    fn begin_by(&self, program: &Path) {
        if self.found.get().is_none() {
            self.trial.borrow_mut().get_or_insert_with(|| Trial::start(program, &place(), false));
        }
    }

    /// What is not begun is begun: what was not tried is not known to work.
    fn found(&self) -> Found {
        self.begin_by(Path::new(PROGRAM));
        let mut trial = self.trial.borrow_mut();
        self.found.get_or_init(|| trial.as_mut().map(Trial::found).unwrap_or_default()).clone()
    }
}

pub(super) fn look(
    config: &Config,
    request: &Request,
    caller: &Caller,
    engine: Option<&Engine>,
    tried: &Tried,
) -> MountFacts {
    let asked = config.mounts(request.mounts);
    let origin = if request.mounts == Some(asked) { None } else { config.origin_of_mounts(asked) };
    if asked == Mounts::Engine {
        return facts(asked, origin, Found::default(), None);
    }
    let subordinate = subordinate_ids(caller);
    MountFacts { subordinate, ..facts(asked, origin, tried.found(), engine) }
}

/// The same for the doctor, who asks whether or not it was asked for.
pub(crate) fn look_as(asked: Mounts, is_root: bool, engine: Option<&Engine>) -> MountFacts {
    facts(asked, None, Trial::start(Path::new(PROGRAM), &place(), is_root).found(), engine)
}

fn facts(asked: Mounts, origin: Option<Origin>, found: Found, engine: Option<&Engine>) -> MountFacts {
    MountFacts {
        why_not: found.fuse,
        no_overlay: found.overlay,
        no_directory: engine.and_then(no_directory),
        subordinate: None,
        place: place(),
        asked,
        origin,
    }
}

fn is_active(list: &str) -> bool {
    list.lines().filter_map(|line| line.split_once('=')).any(|(key, value)| {
        key.trim() == "activated" && value.split('#').next().is_some_and(|value| value.trim() == "true")
    })
}

/// Where we mount.
fn place() -> PathBuf {
    mounts::place(libexec::directory().map(|dir| dir.join(PLACE)))
}

/// What the site has forbidden to the engine: it would refuse a directory.
fn no_directory(engine: &Engine) -> Option<String> {
    let path = engine.config.as_ref()?;
    let text = fs::read_to_string(path).ok()?;
    // It lists who may sign what is run: a directory is signed by nobody.
    let list = path.with_file_name("ecl.toml");
    if fs::read_to_string(&list).is_ok_and(|text| is_active(&text)) {
        return Some(format!("the list of execution control {}", list.display()));
    }
    let forbidden = directive(&text, "allow container dir") == Some("no");
    let limited = || {
        ["limit container owners", "limit container groups", "limit container paths"]
            .iter()
            .find(|key| directive(&text, key).is_some_and(|value| !value.is_empty() && value != "NULL"))
    };
    let key = if forbidden { "allow container dir = no" } else { limited()? };
    Some(format!("'{key}' in {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::engine::Flavour;

    #[test]
    fn it_is_tried_once() {
        let dir = tempfile::tempdir().unwrap();
        let (program, log) = (dir.path().join("program"), dir.path().join("log"));
        let text = format!("#!/bin/sh\necho ran >> {}\necho '{{\"fuse\":\"no\",\"overlay\":null}}'\n", log.display());
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let tried = Tried::default();
        let found = [(); 3].map(|()| {
            tried.begin_by(&program);
            tried.found()
        });
        assert_eq!(found.map(|found| found.fuse), [(); 3].map(|()| Some("no".into())));
        assert_eq!(fs::read_to_string(&log).unwrap(), "ran\n");
    }

    #[test]
    fn what_a_site_forbids() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("apptainer.conf");
        let engine = Engine {
            flavour: Flavour::Apptainer,
            program: "/a".into(),
            config: Some(conf.clone()),
            setuid: false,
            oci_mode: false,
            interposers: None,
            own_programs: Vec::new(),
            origin: None,
        };
        let of = |text: &str| {
            fs::write(&conf, text).unwrap();
            no_directory(&engine).map(|why| why.replace(&format!("{}/", dir.path().display()), ""))
        };
        assert_eq!(of("allow container dir = yes\nlimit container owners = NULL\n"), None);
        assert_eq!(of("allow container dir = no\n").unwrap(), "'allow container dir = no' in apptainer.conf");
        assert_eq!(of("limit container paths = /a\n").unwrap(), "'limit container paths' in apptainer.conf");
        fs::write(dir.path().join("ecl.toml"), "activated = true # yes\n").unwrap();
        assert_eq!(of("").unwrap(), "the list of execution control ecl.toml");
        fs::write(dir.path().join("ecl.toml"), "activated = false\n").unwrap();
        assert_eq!(of(""), None);
    }
}
