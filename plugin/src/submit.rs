//! The submitting side: from the options (and what an enclosing job left) to the one value that travels to the node.
//!
//! Everything that can be known at the prompt is checked here, so that a mistake costs seconds and not hours in the queue.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use condatainer_core::config::{self, Config};
use condatainer_core::request::bind::Bind;
use condatainer_core::request::defaults;
use condatainer_core::request::layer::Mode;
use condatainer_core::request::names::{Finder, Library};
use condatainer_core::request::script::Script;
use condatainer_core::request::{Part, Request, Scope, VARIABLE, parse_assignment};
use condatainer_core::step::lost_writes;
use condatainer_core::submission;

use crate::given::Given;
use crate::host::{Context, Submitter};

/// Where a submission happens: what relative paths, `~` and the configuration refer to.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) cwd: PathBuf,
    pub(crate) env: HashMap<String, String>,
    /// What plugstack.conf names, or what is wrong there.
    pub(crate) system_config: Result<PathBuf, String>,
    /// The batch script, where it is known.
    pub(crate) script: Option<PathBuf>,
}

/// Variables that a job's environment carries for options given to its sbatch or salloc. Slurm would replay them into an inner
/// srun as if they had been typed there; the canonical value does that job, and can tell inherited from given.
pub(crate) fn inherited_option_variables(env: impl Iterator<Item = String>) -> Vec<String> {
    env.filter(|name| name.starts_with("SLURM_SPANK__SLURM_SPANK_OPTION_condatainer_")).collect()
}

/// Puts the request into the environment that the job will see, or takes an old one away. The images that its steps write.
///
/// # Errors
/// One line for the user; the submission stops.
pub(crate) fn submit(
    context: Context,
    given: &Given,
    place: &Place,
    process: &mut impl Submitter,
) -> Result<Vec<PathBuf>, String> {
    let inherited = match context {
        Context::Local if process.variable("SLURM_JOB_ID").is_some() => process.variable(VARIABLE),
        _ => None,
    };
    let decided = request(context, given, inherited.as_deref(), place)?;
    let encoded = decided.as_ref().map(|(request, _)| request.encode()).transpose().map_err(|e| e.to_string())?;
    process.set_variable(VARIABLE, encoded.as_deref());
    Ok(decided.map_or_else(Vec::new, |(request, config)| lost_writes::images(&request, &config)))
}

/// What is asked for, and by which configuration it was decided.
fn request(
    context: Context,
    given: &Given,
    inherited: Option<&str>,
    place: &Place,
) -> Result<Option<(Request, Config)>, String> {
    if given.off {
        return if given.asks_for_something() {
            Err("--condatainer-off: cannot be combined with other --condatainer options".into())
        } else {
            Ok((context == Context::Allocator).then(|| (Request::off(), Config::default())))
        };
    }
    let inherited = inherited.map(Request::decode).transpose().map_err(|e| e.to_string())?;
    // What a job was given, or not, holds for its steps; a script that starts us finds its layers itself.
    let script = read_script(place)?;
    let by_variable = inherited.is_none()
        && !script.as_ref().is_some_and(|script| script.header.starts_us())
        && defaults::are_in_environment(&place.env);
    let script = script.filter(|script| script.asks_for_something() && !script.header.starts_us());
    let inherited = inherited.filter(|request| !request.is_off());
    if !given.asks_for_something() && inherited.is_none() && script.is_none() && !by_variable {
        return Ok(None);
    }
    if context == Context::Local && given.scope == Some(Scope::Batch) {
        return Err(
            "--condatainer-scope=batch leaves every srun step on the host: use --condatainer-off to say that".into()
        );
    }
    let config = configuration(place)?;
    let library = Library::configured(&config, &place.env);
    let finder = finder(place, &library);
    let takes_defaults = inherited.is_none();
    let mut request = merge(given, inherited.unwrap_or_default(), place, &finder)?;
    if let Some(script) = &script {
        request = script.request(&finder).map_err(|e| e.to_string())?.overridden_by(request);
    }
    if takes_defaults && request.layers.is_empty() {
        request.layers = defaults::layers(&config, &finder).map_err(|e| e.to_string())?;
    }
    if script.is_none() && !request.is_container() && !request.tmp {
        return Err("nothing to run in: add --condatainer-overlay=LAYER or --condatainer-base=IMAGE".into());
    }
    request.lines_read |= place.script.is_some();
    request.base = config.base(request.base.take());
    if let (None, Some(base)) = (&request.base, defaults::base(&config, &finder)) {
        (request.base, request.base_named) = (Some(base.path), base.named);
    }
    request.fakeroot = config.fakeroot(request.fakeroot);
    if context == Context::Allocator || request.scope.covers(Part::Step) {
        submission::check(&mut request, &config).map_err(|e| e.to_string())?;
    }
    Ok(Some((request, config)))
}

/// The batch script, where it is known.
fn read_script(place: &Place) -> Result<Option<Script>, String> {
    place.script.as_ref().map(|path| Script::read(path, false)).transpose().map_err(|e| e.to_string())
}

fn finder<'a>(place: &'a Place, library: &'a Library) -> Finder<'a> {
    Finder { cwd: &place.cwd, home: home(place), library }
}

fn home(place: &Place) -> Option<&Path> {
    place.env.get("HOME").filter(|h| !h.is_empty()).map(Path::new)
}

/// What was given replaces what was inherited, option by option.
fn merge(given: &Given, mut request: Request, place: &Place, finder: &Finder<'_>) -> Result<Request, String> {
    if let Some(lists) = given.overlay.values() {
        request.layers = finder.layers(lists).map_err(|e| e.to_string())?;
    }
    // Where a step writes is its own matter: an image that it names so is not kept from being written to by what its job was given.
    let names_writer = given.overlay.values().is_some() && request.layers.iter().any(|l| l.mode == Some(Mode::Rw));
    request.tmp = given.tmp || (request.tmp && !names_writer);
    if let Some(base) = &given.base {
        let base = finder.base(Path::new(base)).map_err(|e| e.to_string())?;
        (request.base, request.base_named) = (Some(base.path), base.named);
    }
    if let Some(lists) = given.bind.values() {
        let binds: Result<Vec<_>, _> =
            lists.iter().map(|list| Bind::parse_list(list, &place.cwd, home(place))).collect();
        request.bind = binds.map_err(|e| e.to_string())?.concat();
    }
    if let Some(settings) = given.env.values() {
        let settings: Result<_, _> = settings.iter().map(|text| parse_assignment(text)).collect();
        request.env = settings.map_err(|e| e.to_string())?;
    }
    request.fakeroot = given.fakeroot.or(request.fakeroot);
    request.wait = given.wait.or(request.wait);
    request.workdir = given.workdir.as_ref().map(PathBuf::from).or(request.workdir);
    request.scope = given.scope.unwrap_or(request.scope);
    Ok(request)
}

fn configuration(place: &Place) -> Result<Config, String> {
    let system = Config::system(place.system_config.as_ref().map_err(Clone::clone)?).map_err(|e| e.to_string())?;
    system.with_user(config::user_file(&place.env).as_deref(), &place.env).map_err(|e| e.to_string())
}

#[cfg(test)]
#[path = "submit_tests.rs"]
mod tests;
