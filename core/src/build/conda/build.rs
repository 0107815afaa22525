//! One making of an environment: the container, the tool in it and the record; for a module the packing, and the layer's way to
//! its place.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::command::Order;
use super::error::{CondaError, Failure};
use super::host;
use super::output::{Output, Trouble};
use super::pack::{self, Packing};
use super::record::{self, Packages};
use super::request::{Report, Request};
use super::spec::{Spec, SpecFile};
use super::tool::Tool;
use crate::build::error::BuildError;
use crate::build::process::{End, Running};
use crate::build::progress::{News, Watch};
use crate::build::target::{self, Target};
use crate::build::work_dir::WorkDir;
use crate::config::Mounts;
use crate::machine::facts::Facts;
use crate::machine::survey::{self, Tried};
use crate::plan::command_line::contradicting_variables;
use crate::plan::refusal::Refusal;
use crate::plan::{self, Plan};
use crate::request::bind::Bind;
use crate::request::names::Name;

/// Where modules are, in a container and in a layer.
const MODULES: &str = "cnt";
/// Where the environment of a workspace image is in a container.
const WORKSPACE: &str = "/ext3/env";
/// What becomes the root of a layer or image, in the work directory.
const ROOT: &str = "root";
/// What of an image a container shows.
const UPPER: &str = "upper";
/// Less than this is a full disk to whoever wants to write an environment, in bytes.
const ROOM: u64 = 1 << 20;

/// Makes the module.
///
/// # Errors
/// See [`CondaError`]; then nothing is left at the layer's path, and what was there before is as it was.
pub fn build(request: &Request<'_>, watch: Watch<'_>) -> Result<Report, BuildError> {
    let begun = Instant::now();
    let name = name(&target::real(&request.layer, request.update))?;
    let prefix = format!("/{MODULES}/{}", name.as_str());
    let target = Target::new(&request.layer, request.update)?;
    target.require_space(ROOM)?;
    let Environment { place, packages, tool, work_dir: _alive } = make(request, "", &prefix, watch)?;
    pack::open_to_all(&place.root).map_err(|error| request.tmpdir_refused(error))?;
    let packing = Packing {
        root: &place.root,
        out: target.draft().file(),
        compression: request.compression,
        path: target.path(),
    };
    packing.run(watch)?;
    let io = |error| CondaError::io(&request.layer, error);
    let size_bytes = target.draft().file().metadata().map_err(io)?.len();
    let (path, replaced) = (target.path().to_owned(), target.replaces());
    target.publish()?;
    Ok(Report {
        path,
        name: name.as_str().into(),
        prefix,
        source: request.spec.shown(),
        packages: packages.count(),
        size_bytes,
        activation: record::activation(&place.environment),
        replaced,
        seconds: begun.elapsed().as_secs_f64(),
        tool: tool.program,
    })
}

/// The environment of a workspace image, which is not there yet.
#[derive(Debug)]
pub struct Contents {
    /// A directory with `upper` and `work`, for [`condatainer_images::verbs::create::Spec`].
    pub directory: PathBuf,
    /// Packages in it, dependencies included.
    pub packages: usize,
    /// Scripts that `conda activate` would run and a start does not.
    pub activation: Vec<String>,
    _work_dir: WorkDir,
}

/// Makes the environment `/ext3/env` of a workspace image; `request.layer` is the image.
///
/// # Errors
/// See [`CondaError`].
pub fn contents(request: &Request<'_>, watch: Watch<'_>) -> Result<Contents, BuildError> {
    let Environment { place, packages, work_dir, .. } = make(request, UPPER, WORKSPACE, watch)?;
    let directory = work_dir.join(ROOT);
    let refused = |error| request.tmpdir_refused(error);
    for name in [UPPER, "work"] {
        let made = directory.join(name);
        fs::create_dir_all(&made).map_err(refused)?;
        fs::set_permissions(&made, Permissions::from_mode(0o755)).map_err(refused)?;
    }
    let activation = record::activation(&place.environment);
    Ok(Contents { directory, packages: packages.count(), activation, _work_dir: work_dir })
}

/// An environment that was made.
struct Environment {
    place: Place,
    packages: Packages,
    tool: Tool,
    work_dir: WorkDir,
}

fn make(request: &Request<'_>, below: &str, prefix: &str, watch: Watch<'_>) -> Result<Environment, BuildError> {
    let refused = |error| request.tmpdir_refused(error);
    let named = request.config.conda(request.conda.clone());
    let origin = named.as_ref().and_then(|named| request.config.origin_of_conda(named));
    let tool = Tool::find(named.as_deref(), request.env).map_err(|error| error.named_by(origin))?;
    let channels = channels(request)?;
    let work_dir = work_dir(request)?;
    let place = Place::new(&work_dir, below, prefix).map_err(refused)?;
    let spec = place.spec(&request.spec).map_err(refused)?;
    let order = Order { tool: &tool, prefix, spec: &spec, channels: &channels, tmp: &place.tmp };
    let plan = plan(request, &order, &place)?;
    install(request, &plan, &tool, watch)?;
    let packages = record(request, &channels, &tool, &place)?;
    Ok(Environment { place, packages, tool, work_dir })
}

/// What the module that is there was made from; nothing where it is not there, or not one of conda's.
///
/// # Errors
/// It cannot be read.
pub fn recorded(layer: &Path) -> Result<Option<Spec>, BuildError> {
    let layer = target::real(layer, true);
    match target::old(&layer)? {
        Some(_) => record::asked(&layer),
        None => Ok(None),
    }
}

/// What the module in this file is called. It stands in PATH and in the first lines of scripts.
fn name(layer: &Path) -> Result<Name, CondaError> {
    let file = layer.file_name().unwrap_or_default().to_string_lossy();
    let awkward = |c: char| c.is_whitespace() || c == ':' || c == '\\';
    let name = Name::of_file(&file).filter(|name| !name.as_str().contains(awkward));
    name.ok_or_else(|| CondaError::AwkwardName { path: layer.into() })
}

/// Those that are named now come before those that were named the last time.
fn channels(request: &Request<'_>) -> Result<Vec<String>, CondaError> {
    let home = request.env.get("HOME").map(PathBuf::from);
    let mut channels = Vec::new();
    for written in request.channels.iter().chain(request.spec.beside()) {
        let channel = host::channel(written, &request.cwd, home.as_deref())?;
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    Ok(channels)
}

fn work_dir(request: &Request<'_>) -> Result<WorkDir, CondaError> {
    let refused = |error| request.tmpdir_refused(error);
    let tmpdir = fs::canonicalize(&request.tmpdir).map_err(refused)?;
    WorkDir::new(&tmpdir).map_err(refused)
}

/// The directories of one making.
struct Place {
    /// Becomes the root that a container shows.
    root: PathBuf,
    /// The directory of the root that holds the environment, seen in the container.
    shown: Bind,
    /// Is the environment; made by the tool itself, which does not like to find it there.
    environment: PathBuf,
    tmp: PathBuf,
}

impl Place {
    fn new(work_dir: &WorkDir, below: &str, prefix: &str) -> io::Result<Self> {
        let root = work_dir.join(ROOT).join(below);
        let prefix = prefix.trim_start_matches('/');
        let top = prefix.split('/').next().unwrap_or_default();
        let shown = Bind { source: root.join(top), destination: Path::new("/").join(top), read_only: false };
        let environment = root.join(prefix);
        fs::create_dir_all(environment.parent().unwrap_or(&root))?;
        let place = Self { shown, tmp: work_dir.join("tmp"), environment, root };
        fs::create_dir(&place.tmp)?;
        Ok(place)
    }
}

impl Place {
    /// A file that a layer has recorded gets a place.
    fn spec(&self, spec: &Spec) -> io::Result<Spec> {
        match spec {
            Spec::File(file) if !file.path.is_absolute() => {
                let path = self.tmp.join(&file.path);
                fs::write(&path, &file.text)?;
                Ok(Spec::File(SpecFile { path, ..file.clone() }))
            }
            spec => Ok(spec.clone()),
        }
    }
}

/// A container with nothing but the base, decided as any other start.
fn plan(request: &Request<'_>, order: &Order<'_>, place: &Place) -> Result<Plan, CondaError> {
    let mut bind = [host::binds(request.env), order.binds(place.shown.clone())].concat();
    // A channel that is not there is for the tool to say.
    bind.retain(|bind| bind.source.exists());
    let container = crate::request::Request {
        base: request.base.clone(),
        bind,
        fakeroot: Some(false),
        // Whatever a tool leaves where it works, it leaves in a place that vanishes.
        workdir: Some(order.tmp.into()),
        ..Default::default()
    };
    let facts = survey::survey(&container, request.config, request.env, &Tried::default())?;
    Ok(decide(&container, facts, order.command())?)
}

/// The engine is started as it is, with nobody to serve a tree for it: so it mounts the base, whatever the site says about layers.
fn decide(container: &crate::request::Request, mut facts: Facts, command: Vec<String>) -> Result<Plan, Refusal> {
    facts.mounts.asked = Mounts::Engine;
    // What an overlay in the base has deleted is of no consequence here.
    facts.base.shows_deleted = false;
    plan::decide(container, &facts, plan::Command::Argv(command))
}

/// The tool's part.
fn install(request: &Request<'_>, plan: &Plan, tool: &Tool, watch: Watch<'_>) -> Result<(), CondaError> {
    let path = || request.layer.clone();
    let start = |error| CondaError::Start { program: plan.engine.program.clone(), error };
    let mut output = Output::default();
    if watch(News::Line(&plan.to_shell())).is_break() {
        return Err(CondaError::Interrupted { path: path() });
    }
    let running = Running::start(&command(plan)).map_err(start)?;
    match running.wait(&mut |line| output.hear(line), watch).map_err(start)? {
        End::Stopped => Err(CondaError::Interrupted { path: path() }),
        End::Exited(status) if status.success() => Ok(()),
        End::Exited(status) => Err(CondaError::Failed {
            path: path(),
            tool: tool.name(),
            reason: output.reason(&status.to_string()),
            last_lines: output.last_lines(),
            trouble: Failure(trouble(&output, &request.tmpdir)),
            tmpdir: request.tmpdir.clone(),
        }),
    }
}

/// Not every tool says that a disk is full.
fn trouble(output: &Output, tmpdir: &Path) -> Trouble {
    let is_full = || condatainer_images::verbs::create::free_space(tmpdir).is_some_and(|free| free < ROOM);
    match output.trouble() {
        Trouble::Other if is_full() => Trouble::Full,
        trouble => trouble,
    }
}

fn command(plan: &Plan) -> Command {
    let argv = plan.engine_argv(Path::new(""), "");
    let mut command = Command::new(&plan.engine.program);
    command.args(argv.iter().skip(1));
    if let plan::Command::Argv(words) = &plan.command {
        command.args(words);
    }
    contradicting_variables().for_each(|name| {
        command.env_remove(name);
    });
    command
}

/// What was installed, written down.
fn record(request: &Request<'_>, channels: &[String], tool: &Tool, place: &Place) -> Result<Packages, CondaError> {
    let refused = |error| request.tmpdir_refused(error);
    let packages = Packages::of(&place.environment).map_err(refused)?;
    if packages.count() == 0 && !has_files(&place.environment) {
        return Err(CondaError::NothingInstalled { path: request.layer.clone(), tool: tool.name() });
    }
    record::write(&place.environment, &request.spec, channels, &packages).map_err(refused)?;
    Ok(packages)
}

/// An environment of pip's packages alone has no record of conda's.
fn has_files(environment: &Path) -> bool {
    let mut entries = fs::read_dir(environment).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name() != "conda-meta")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::machine;

    #[test]
    fn the_engine_mounts_the_base_whoever_mounts_layers() {
        for asked in [Mounts::Own, Mounts::Auto] {
            let mut facts = machine();
            facts.mounts.asked = asked;
            let plan = decide(&crate::request::Request::default(), facts, vec!["conda".into()]).unwrap();
            let argv = plan.engine_argv(Path::new(""), "");
            assert!(plan.mounts.own().is_none() && argv.contains(&"/base.sqf".into()), "{argv:?}");
        }
    }
}
