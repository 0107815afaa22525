//! Looks for the engine as a start does, and asks it and its helpers for their versions.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use nix::unistd::geteuid;

use super::facts::{Engine, Facts, Helper, Interposers};
use crate::config::Config;
use crate::machine::ask::ask;
use crate::machine::engine::{self, Flavour};
use crate::machine::interposers;
use crate::machine::survey;
use crate::machine::version;
use condatainer_images::tools::programs;
use condatainer_images::trust::mode::SETUID;

/// Other engines that may be here.
const OTHERS: [&str; 2] = ["apptainer", "singularity"];
/// What is found first is what the engine takes.
const HELPERS: [(&str, &[&str], &str); 3] = [
    ("fuse2fs", &["fuse2fs"], "-V"),
    ("fuse-overlayfs", &["fuse-overlayfs"], "--version"),
    ("squashfuse", &["squashfuse_ll", "squashfuse"], "--version"),
];

pub(crate) fn read(config: &Config) -> Facts {
    let found = survey::engine(config);
    let build = found.as_ref().ok().map(|engine| BuildConfig::of(&engine.program)).unwrap_or_default();
    let helpers = helpers(&build, found.as_ref().ok());
    let engine = found.map(|found| {
        let setuid = is_setuid(&found, &build);
        let path = build.file("CONF_FILE").or(found.config);
        Engine {
            said: version_of(&found.program),
            origin: found.origin,
            setuid,
            config: path.and_then(|path| fs::read_to_string(&path).ok().map(|text| (path, text))),
            program: found.program,
        }
    });
    Facts {
        unused: OTHERS.into_iter().find_map(programs::find).filter(|_| engine.is_err()),
        engine,
        helpers,
        fusermount: ["fusermount3", "fusermount"].into_iter().find_map(programs::find).map(|path| {
            let setuid = fs::metadata(&path).is_ok_and(|meta| meta.mode() & SETUID != 0 && meta.uid() == 0);
            (path, setuid)
        }),
        interposers: interposers(),
    }
}

/// The engine that a start takes, its release, and where it is; or why there is none.
#[must_use]
pub fn in_words(config: &Config) -> String {
    let found = match survey::engine(config) {
        Ok(found) => found,
        Err(missing) => return format!("none: {}", missing.found()),
    };
    let program = found.program.display();
    match version_of(&found.program) {
        Ok(said) => match version::of_engine(&said) {
            Some((flavour, version)) => format!("{flavour} {version} ({program})"),
            None => format!("{program}: {}", version::NO_ENGINE),
        },
        Err(why) => format!("{program}: cannot be started: {why}"),
    }
}

/// Apptainer knows best, also behind a wrapper. SingularityCE mounts as its configuration allows, and a start goes by that.
fn is_setuid(found: &engine::Engine, build: &BuildConfig) -> bool {
    found.setuid || (found.flavour == Flavour::Apptainer && build.value("APPTAINER_SUID_INSTALL") == Some("1"))
}

fn version_of(program: &Path) -> Result<String, String> {
    match ask(program, &["--version"]) {
        Ok(answer) if answer.success => Ok(answer.both()),
        Ok(answer) => Err(answer.complaint()),
        Err(error) => Err(error.to_string()),
    }
}

/// What the engine was built with: `NAME=VALUE`, a line each.
#[derive(Default)]
struct BuildConfig(String);

impl BuildConfig {
    fn of(program: &Path) -> Self {
        Self(ask(program, &["buildcfg"]).map(|answer| answer.stdout).unwrap_or_default())
    }

    /// `APPTAINER_…` or `SINGULARITY_…`.
    fn file(&self, name: &str) -> Option<PathBuf> {
        self.value(name).map(PathBuf::from).filter(|path| path.is_file())
    }

    fn value(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.lines().filter_map(|line| line.split_once('='));
        lines.find(|(key, _)| key.ends_with(name)).map(|(_, value)| value)
    }

    /// The directories in which the engine has programs of its own.
    fn own(&self) -> Vec<PathBuf> {
        let mut lines = self.0.lines().filter_map(|line| line.strip_prefix("LIBEXECDIR="));
        let libexec = lines.next().map(Path::new);
        libexec.into_iter().flat_map(|dir| OTHERS.map(|name| dir.join(name).join("bin"))).collect()
    }
}

fn helpers(build: &BuildConfig, engine: Option<&crate::machine::engine::Engine>) -> [Helper; 3] {
    let first = engine.map(|engine| engine.own_programs.clone()).unwrap_or_default();
    let reached = engine.filter(|engine| engine.needs_links_first(geteuid().as_raw())).map(|_| first.clone());
    let (own, reached) = ([first, build.own()].concat(), reached.unwrap_or_default());
    thread::scope(|scope| {
        let asked =
            HELPERS.map(|(name, programs, question)| scope.spawn(|| helper(&own, &reached, name, programs, question)));
        let mut asked = asked.into_iter().zip(HELPERS);
        std::array::from_fn(|_| {
            let next = asked.next();
            let name = next.as_ref().map_or("", |(_, (name, ..))| name);
            let found = next.and_then(|(thread, _)| thread.join().ok());
            found.unwrap_or(Helper {
                name,
                path: None,
                version: None,
                bundled: false,
                in_reach: true,
                takes_preload: false,
            })
        })
    })
}

/// Our own links are passed over: they are asked about by themselves.
fn helper(own: &[PathBuf], reached: &[PathBuf], name: &'static str, programs: &[&str], question: &str) -> Helper {
    let bundled =
        programs.iter().flat_map(|name| own.iter().map(move |dir| dir.join(name))).find(|path| path.is_file());
    let ours = interposers::directory().and_then(|dir| interposers::behind_the_links(&dir));
    let elsewhere = || programs.iter().find_map(|name| programs::find_except(name.as_bytes(), ours.as_deref()));
    let (is_bundled, path) = (bundled.is_some(), bundled.or_else(elsewhere));
    let answer = path.as_deref().and_then(|path| ask(path, &[question]).ok());
    let version = answer.and_then(|answer| version::of(name, &answer.both()));
    let in_reach =
        !is_bundled || path.as_deref().and_then(Path::parent).is_some_and(|dir| reached.iter().any(|one| one == dir));
    let takes_preload = path.as_deref().is_some_and(survey::takes_preload);
    Helper { name, version, bundled: is_bundled, in_reach, takes_preload, path }
}

fn interposers() -> Interposers {
    let directory = interposers::directory();
    let missing = directory.as_ref().map_or_else(Vec::new, |dir| {
        let interposer = interposers::behind_the_links(dir);
        let is_missing = |name: &&str| interposer.is_none() || dir.join(name).canonicalize().ok() != interposer;
        interposers::FUSE_PROGRAMS.into_iter().filter(is_missing).collect()
    });
    let preload = directory.as_ref().is_some_and(|dir| fs::File::open(dir.join(interposers::PRELOAD_FILE)).is_ok());
    Interposers { directory, missing, preload }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apptainer_says_itself_how_it_is_installed() {
        let build = BuildConfig("LIBEXECDIR=/usr/libexec\nAPPTAINER_SUID_INSTALL=1\n".into());
        let found = |flavour, setuid| engine::Engine {
            flavour,
            program: "/usr/bin/engine".into(),
            origin: None,
            config: None,
            setuid,
            oci_mode: false,
            interposers: None,
            own_programs: Vec::new(),
        };
        assert!(is_setuid(&found(Flavour::Apptainer, false), &build));
        assert!(!is_setuid(&found(Flavour::SingularityCE, false), &build), "allow setuid = no");
        assert!(is_setuid(&found(Flavour::SingularityCE, true), &build));
        assert!(!is_setuid(&found(Flavour::Apptainer, false), &BuildConfig("APPTAINER_SUID_INSTALL=0\n".into())));
        assert!(!is_setuid(&found(Flavour::Apptainer, false), &BuildConfig::default()));
    }
}
