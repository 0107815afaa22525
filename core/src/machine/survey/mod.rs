//! The survey: asks the machine for the [`Facts`] that a plan needs. Reads only; takes no lock and starts nothing.

mod engine;
mod engine_config;
mod error;
mod gpus;
mod hard_links;
mod host;
mod layer;
mod memory;
mod mounts;
pub(crate) mod policy;
mod scratch;
mod whiteouts;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use nix::sys::stat::stat;

use crate::config::Config;
use crate::machine::facts::{BaseFacts, Facts};
use crate::machine::slurm_job;
use crate::machine::survey::policy::Role;
use crate::request::Request;
use crate::request::bind::Bind;
use crate::request::held::{self, HELD};
use condatainer_images::image;
use condatainer_images::system::file_size_limit;
use condatainer_images::system::user::Caller;
use condatainer_images::tools::programs;
use condatainer_images::trust;

pub use condatainer_images::acquire::usage::{Usage, usage};
pub use engine::engine;
#[cfg(test)]
pub(crate) use engine_config::before_path;
pub(crate) use engine_config::{BINARY_PATH, CALLERS, directive};
pub use error::SurveyError;
pub(crate) use error::base_cure;
pub(crate) use hard_links::takes_preload;
pub(crate) use host::working_directory;
pub use layer::kind;
pub(crate) use layer::{is_taken, layer_at_submission, short_of_space};
pub use mounts::Tried;
pub(crate) use mounts::{PROGRAM, look_as as mounts_as};
pub(crate) use scratch::{look as scratch, scratch_place};

/// Gathers everything for a start here and now. What `tried` knows already is not tried again.
///
/// # Errors
/// An image that cannot be read, or no base.
pub fn survey(
    request: &Request,
    config: &Config,
    env: &HashMap<String, String>,
    tried: &Tried,
) -> Result<Facts, SurveyError> {
    let caller = Caller::current().map_err(SurveyError::Caller)?;
    binds(&request.bind)?;
    // While that works we look at the rest.
    tried.begin(config, request);
    let base = base_of(request, config.base(request.base.clone()), config)?;
    let job = env.get("SLURM_JOB_ID").cloned();
    let held_around = env.get(HELD).map(|value| held::heard(value, job.as_deref())).unwrap_or_default();
    let layers = layer::layers_at_start(&request.layers, config, &held_around)?;
    let engine = engine(config);
    let unsupported = engine.as_ref().ok().and_then(|engine| engine::unsupported(engine, &base, &layers));
    let (tmpdir, tmpdir_problem) = scratch_place(config, env);
    let working_directory = working_directory(env.get("PWD").map(Path::new)).map_err(SurveyError::WorkingDirectory)?;
    let host = host::look(engine.as_ref().ok(), caller.home.as_deref(), &request.bind, &config.bind_dirs(), env);
    let gpus = gpus::given(env);
    let gpu_files = gpus::files(&gpus, engine.as_ref().ok(), env);
    let mounts = mounts::look(config, request, &caller, engine.as_ref().ok(), tried);
    Ok(Facts {
        working_directory,
        host,
        base,
        layers,
        unsupported,
        gpu_files,
        gpus,
        engine,
        user_namespaces: user_namespaces(),
        newuidmap: newuidmap(),
        tmpdir_problem,
        scratch: scratch::look(config, request),
        tmpdir,
        fakeroot_origin: request.fakeroot.and_then(|fakeroot| config.origin_of_fakeroot(fakeroot)),
        file_limit: file_size_limit::get(),
        hard_links: None,
        log: config.log.clone(),
        mounts,
        job,
        job_variables: slurm_job::variables(env),
        held_around,
        nesting: env.get("IN_CONDATAINER").and_then(|level| level.parse().ok()).unwrap_or(0),
        caller,
    })
}

/// Searches for what only an engine that mounts the layers itself gets wrong: deletions, and files with several names. It can take a
/// while, and our own mounts do without. Where nobody has searched, deletions count as there.
pub fn search_for_engine(request: &Request, facts: &mut Facts) {
    let engine = facts.engine.as_ref().ok();
    if whiteouts::matter(request, engine) {
        whiteouts::look(&facts.base, &mut facts.layers, whiteouts::mounter(engine));
    }
    facts.base.shows_deleted = facts.base.shows_deleted && whiteouts::are_in_base(&facts.base);
    facts.hard_links = hard_links::look(request, engine, facts.caller.uid, &facts.base, &facts.layers);
}

/// Looks at what is to be shown. The engine says the same in the middle of its start, and kills what it has started by then.
///
/// # Errors
/// The first path that is not there.
pub fn binds(binds: &[Bind]) -> Result<(), SurveyError> {
    binds.iter().try_for_each(|bind| match stat(&bind.source) {
        Ok(_) => Ok(()),
        Err(error) => Err(SurveyError::Bind { path: bind.source.clone(), error }),
    })
}

/// Looks at the base image.
///
/// # Errors
/// None is named, or it is no image.
pub fn base(path: Option<&Path>, config: &Config) -> Result<BaseFacts, SurveyError> {
    let path = path.ok_or(SurveyError::NoBase)?;
    let origin = config.origin_of_base(path);
    match image::open(path) {
        Ok(opened) => Ok(BaseFacts {
            path: path.into(),
            kind: kind(&opened.image.kind),
            identity: (opened.image.dev, opened.image.ino),
            shows_deleted: matches!(&opened.image.kind, image::Kind::Sif(sif) if sif.overlays().next().is_some()),
            distrust: policy::forbids(config, Role::Base, &opened),
            origin,
        }),
        Err(error) => Err(SurveyError::Base { error, origin }),
    }
}

/// As [`base`], with what counts if a name led to it; `decided` is the request's base unless the site has fixed another.
///
/// # Errors
/// As [`base`].
pub(crate) fn base_of(request: &Request, decided: Option<PathBuf>, config: &Config) -> Result<BaseFacts, SurveyError> {
    let facts = base(decided.as_deref(), config)?;
    if !request.base_named || decided != request.base {
        return Ok(facts);
    }
    let opened = image::open(&facts.path)?;
    let distrust = trust::stranger(&opened.image).or_else(|| policy::forbids(config, Role::Base, &opened));
    Ok(BaseFacts { distrust, identity: (opened.image.dev, opened.image.ino), ..facts })
}

/// Whether newuidmap and newgidmap are installed.
#[must_use]
pub fn newuidmap() -> bool {
    programs::find("newuidmap").is_some() && programs::find("newgidmap").is_some()
}

/// Whether an unprivileged process may make a user namespace.
#[must_use]
pub fn user_namespaces() -> bool {
    let switched_off = |path: &str| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "0");
    !switched_off("/proc/sys/user/max_user_namespaces") && !switched_off("/proc/sys/kernel/unprivileged_userns_clone")
}
