//! The container engine: which one, its configuration, and the FUSE programs that it starts.

mod config;
mod fuse;
mod read;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use super::Check;
use super::version::{self, Version};
use crate::config::Origin;
use crate::facts::Flavour;
use crate::missing_engine::MissingEngine;

pub(crate) use read::read;

/// Unprivileged mounts of images by FUSE came with it.
const APPTAINER: Version = Version(1, 1, 0);

/// What is known about the engine and its helpers.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The one that starts use, or why there is none.
    pub(super) engine: Result<Engine, MissingEngine>,
    /// An engine that is here and that starts do not use.
    pub(super) unused: Option<PathBuf>,
    /// fuse2fs, fuse-overlayfs, squashfuse.
    pub(super) helpers: [Helper; 3],
    /// fusermount3 or fusermount, and whether it is setuid root.
    pub(super) fusermount: Option<(PathBuf, bool)>,
    /// Our links with the names of the FUSE programs, those that are missing, and where they are looked for.
    pub(super) interposers: Interposers,
}

/// The engine that was found.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    pub(super) program: PathBuf,
    /// The key that names it, where one does.
    pub(super) origin: Option<Origin>,
    /// What `--version` printed, or why it did not.
    pub(super) said: Result<String, String>,
    /// Installed with its setuid starter.
    pub(super) setuid: bool,
    /// Its configuration file and text.
    pub(super) config: Option<(PathBuf, String)>,
}

/// A FUSE program.
#[derive(Clone, Debug)]
pub(super) struct Helper {
    pub(super) name: &'static str,
    pub(super) path: Option<PathBuf>,
    pub(super) version: Option<Version>,
    /// It comes with the engine, which then takes no other.
    pub(super) bundled: bool,
    /// Starts put our links in front of it.
    pub(super) in_reach: bool,
    /// It looks at files by the C library's statx(2), in whose place the preload stands.
    pub(super) takes_preload: bool,
}

/// See [`crate::run::daemons`].
#[derive(Clone, Debug)]
pub(super) struct Interposers {
    pub(super) directory: Option<PathBuf>,
    pub(super) missing: Vec<&'static str>,
    /// The library that is loaded into fuse-overlayfs is beside them.
    pub(super) preload: bool,
}

pub(crate) fn judge(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![engine(facts), config::judge(facts.engine.as_ref().ok())];
    let flavour = facts.engine.as_ref().ok().and_then(Engine::flavour);
    checks.extend(facts.helpers.iter().map(|helper| fuse::helper(helper, flavour, &facts.interposers)));
    checks.push(fuse::fusermount(facts.fusermount.as_ref()));
    checks.push(fuse::interposers(facts));
    checks
}

fn engine(facts: &Facts) -> Check {
    const ID: &str = "engine";
    let engine = match (&facts.engine, &facts.unused) {
        (Ok(engine), _) => engine,
        (Err(missing @ MissingEngine::NotInstalled), Some(other)) => {
            return Check::failed(ID, format!("{} is here, but starts cannot use it", other.display()), missing.cure());
        }
        (Err(missing), _) => return Check::failed(ID, missing.found(), missing.cure()),
    };
    let unusable = |why| {
        let (program, origin) = (engine.program.clone(), engine.origin.clone());
        MissingEngine::Unusable { program, why, origin }
    };
    let said = match &engine.said {
        Ok(said) => said,
        Err(why) => {
            let missing = unusable(format!("cannot be started: {why}"));
            return Check::failed(ID, missing.found(), missing.cure());
        }
    };
    match version::of_engine(said) {
        None => {
            let missing = unusable(version::NO_ENGINE.into());
            let cure = format!("{}; condatainer doctor --start shows whether it works", missing.cure());
            Check::warning(ID, missing.found(), cure)
        }
        Some((flavour, version)) => released(engine, flavour, version),
    }
}

fn released(engine: &Engine, flavour: Flavour, version: Version) -> Check {
    const ID: &str = "engine";
    let found = format!("{flavour} {version}, {}", engine.program.display());
    match (flavour, engine.setuid) {
        (Flavour::Apptainer, _) if version < APPTAINER => Check::failed(
            ID,
            format!("{found}: before {APPTAINER} it cannot mount images without privileges"),
            format!("install Apptainer {APPTAINER} or later"),
        ),
        (Flavour::Apptainer, true) => Check::warning(
            ID,
            format!(
                "{found}: setuid, so that read-only images in which files were deleted are refused (:tmp and :rw work)"
            ),
            "as root: remove its setuid part (package apptainer-suid), or install it unprivileged elsewhere and set 'apptainer'",
        ),
        (Flavour::SingularityCE, false) => Check::warning(
            ID,
            format!("{found}: mounts image layers only where it is setuid, and here it is not"),
            format!("install Apptainer {APPTAINER} or later, or SingularityCE with its setuid starter"),
        ),
        (Flavour::Apptainer, false) => Check::ok(ID, format!("{found}, unprivileged")),
        (Flavour::SingularityCE, true) => Check::ok(ID, format!("{found}, setuid")),
    }
}

impl Engine {
    fn flavour(&self) -> Option<Flavour> {
        self.said.as_ref().ok().and_then(|said| version::of_engine(said)).map(|(flavour, _)| flavour)
    }
}
