//! The container engine: which one, its configuration, and the FUSE programs that it starts.

mod config;
mod facts;
mod fuse;
mod read;
#[cfg(test)]
mod tests;

use crate::doctor::check::Check;
use crate::machine::engine::{Flavour, MissingEngine};
use crate::machine::version::{self, Version};
use facts::{Engine, Facts};

pub use read::in_words;
pub(crate) use read::read;

/// Unprivileged mounts of images by FUSE came with it.
const APPTAINER: Version = Version(1, 1, 0);

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
