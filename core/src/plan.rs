//! The plan: the complete decision about a start, as data. Pure: no file, process or environment is looked at here.
//!
//! [`decide`] takes a request and the facts and either says exactly what will run or refuses with a reason and a cure. A plan can
//! be printed (`--dry-run`), compared in a test, and is what [`crate::run`] carries out.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bind::Bind;
use crate::directory::Directory;
use crate::entry::{self, As};
use crate::environment;
use crate::ext::Stamp;
use crate::facts::{BaseFacts, Engine, Facts, Flavour, Gpu, ImageFacts, Kind, LayerFacts, State, Usage, Whiteouts};
use crate::fakeroot::{self, Fakeroot};
use crate::file_limit;
use crate::hard_links::HardLinks;
use crate::layer::Mode;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::setuid;
use crate::singularity;

/// One `--overlay` of the engine, in stack order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlay {
    /// An image or directory that is only read.
    Ro(PathBuf),
    /// The image or directory that is written to.
    Rw(PathBuf),
    /// A new directory below this one takes the writes and is removed at the end.
    Scratch(PathBuf),
    /// As `Scratch`, an image in that directory.
    ScratchImage(PathBuf),
}

/// What the container runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// A program and its arguments.
    Argv(Vec<String>),
    /// A shell: this one if the container has it, else bash, else sh.
    Shell(Option<PathBuf>),
}

/// A file that must still be the same once the engine holds its lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Watch {
    /// The layer's path.
    pub path: PathBuf,
    /// Device and inode.
    pub identity: (u64, u64),
    /// Owner of `upper/` that the plan was made for.
    pub upper: Option<(u32, u32)>,
    /// Where the plan relies on there being no whiteouts of fuse-overlayfs: the file system that was found without.
    pub stamp: Option<Stamp>,
}

/// The complete decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The engine that is started.
    pub engine: Engine,
    /// The base image.
    pub base: PathBuf,
    /// Device and inode of the base, which must still be the same once the container stands.
    pub base_identity: (u64, u64),
    /// The layers, lowest first.
    pub stack: Vec<Overlay>,
    /// The kind of fakeroot, if any.
    pub fakeroot: Option<Fakeroot>,
    /// The engine is told to leave its setuid starter alone and to make a user namespace.
    pub userns: bool,
    /// FUSE whiteouts below must be honoured: run the overlay by fuse-overlayfs also where nothing is written.
    pub overlay_driver: bool,
    /// The engine would find FUSE programs of its own first: its configuration names our links before them.
    pub links_first: bool,
    /// GPU stacks to pass on.
    pub gpus: Vec<Gpu>,
    /// Host paths to show.
    pub bind: Vec<Bind>,
    /// Working directory, if not the caller's.
    pub workdir: Option<PathBuf>,
    /// Where the command starts, and where the engine does.
    pub directory: Directory,
    /// Directories that are put in front of the container's PATH, each before the one before it.
    pub path: Vec<String>,
    /// Whether a workspace image is written to: its programs are found also if they are installed only now.
    pub workspace: bool,
    /// What an interactive shell's prompt says: the image and its mode.
    pub prompt: String,
    /// Variables of the command, literally.
    pub env: Vec<(String, String)>,
    /// Remarks about variables of the layers, for a terminal.
    pub remarks: Vec<String>,
    /// What runs.
    pub command: Command,
    /// Lines to say before the start.
    pub notices: Vec<String>,
    /// Images that a killed writer or a crash left behind and `e2fsck -p` repairs first, under their lock.
    pub repair: Vec<PathBuf>,
    /// Files to look at again once the engine holds their locks.
    pub watch: Vec<Watch>,
    /// The image whose lock this start holds for writing.
    pub holds: Option<PathBuf>,
}

impl Plan {
    /// What lies below the layer at `path`, lowest first, the base among them.
    #[must_use]
    pub fn below(&self, path: &Path) -> Vec<PathBuf> {
        let layers = self.stack.iter().filter_map(|overlay| match overlay {
            Overlay::Ro(path) | Overlay::Rw(path) => Some(path),
            Overlay::Scratch(_) | Overlay::ScratchImage(_) => None,
        });
        std::iter::once(&self.base).chain(layers).take_while(|layer| *layer != path).cloned().collect()
    }

    /// Whether other processes of the caller's can enter the container: it gets a user namespace of the caller's.
    #[must_use]
    pub fn shares_namespaces(&self) -> bool {
        !singularity::is(&self.engine) || self.userns
    }
}

/// Decides what to start.
///
/// # Errors
/// A [`Refusal`] for whatever cannot work, before anything is started or changed.
pub fn decide(request: &Request, facts: &Facts, command: Command) -> Result<Plan, Refusal> {
    let engine = facts.engine.clone().map_err(Refusal::NoEngine)?;
    let by_kernel = singularity::mounts_by_kernel(&engine, facts);
    if !facts.user_namespaces && facts.caller.uid != 0 && !by_kernel {
        return Err(Refusal::NoUserNamespaces(engine.flavour));
    }
    let checked = check(request, &facts.base, &facts.layers, facts.job.as_deref());
    let layers = checked.map_err(|refusal| refusal.of(engine.flavour))?;
    let writer = layers.iter().find(|(_, mode)| *mode == Mode::Rw).map(|(layer, _)| *layer);
    file_limit::check(facts.file_limit, writer)?;
    let fakeroot = fakeroot::decide(request, facts, writer)?;
    let is_root_inside = fakeroot.is_some_and(|fakeroot| fakeroot != Fakeroot::Root);
    let is_singularity = singularity::is(&engine);
    if !is_singularity {
        let who = fakeroot.map_or(As::User(facts.caller.uid), |fakeroot| As::Root(Some(fakeroot)));
        entry::check(&layers, who)?;
    }
    if is_singularity {
        singularity::check(&engine, facts, &layers, fakeroot)?;
    }
    let mut overlay_driver = !is_singularity && needs_overlay_driver(&facts.base, &layers);
    if overlay_driver && !engine.takes_configuration(facts.caller.uid) {
        setuid::check_without_driver(facts, &layers)?;
        overlay_driver = false;
    }
    Ok(Plan {
        links_first: engine.needs_links_first(facts.caller.uid),
        userns: needs_user_namespace(&engine, facts, fakeroot),
        stack: stack(&layers, facts, singularity::wants_scratch_image(&engine, facts, &layers))?,
        engine,
        base: facts.base.path.clone(),
        base_identity: facts.base.identity,
        fakeroot,
        overlay_driver,
        gpus: facts.gpus.clone(),
        bind: request
            .bind
            .iter()
            .cloned()
            .chain(facts.host.binds(&request.bind, &facts.place, is_root_inside))
            .collect(),
        directory: Directory::decide(request.workdir.as_deref(), &facts.place)?,
        workdir: request.workdir.clone(),
        path: environment::path(&layers),
        workspace: writer.is_some_and(|writer| writer.image.is_some()),
        env: environment::variables(request, facts, &layers),
        prompt: environment::prompt(facts, &layers),
        remarks: environment::remarks(&layers),
        command,
        notices: notices(request, facts, fakeroot, &layers),
        repair: layers.iter().filter(|(l, mode)| needs_repair(l, *mode)).map(|(l, _)| l.path.clone()).collect(),
        watch: facts.layers.iter().map(|layer| watch(layer, overlay_driver)).collect(),
        holds: writer.filter(|w| w.image.is_some()).map(|w| w.path.clone()),
    })
}

/// An unprivileged installation makes one unasked, and root does without.
fn needs_user_namespace(engine: &Engine, facts: &Facts, fakeroot: Option<Fakeroot>) -> bool {
    match engine.flavour {
        Flavour::Apptainer => engine.setuid && facts.caller.uid != 0,
        Flavour::SingularityCE => {
            let in_fakeroot = fakeroot.is_some_and(|fakeroot| fakeroot != Fakeroot::Root);
            in_fakeroot || !singularity::mounts_by_kernel(engine, facts)
        }
    }
}

/// Gives every layer its mode and checks what the images alone decide: this much is known wherever a job is submitted too.
///
/// # Errors
/// The first thing that cannot work.
pub fn check<'a>(
    request: &Request,
    base: &BaseFacts,
    layers: &'a [LayerFacts],
    job: Option<&str>,
) -> Result<Vec<Moded<'a>>, Refusal> {
    if let Some(reason) = base.stranger.clone() {
        return Err(Refusal::Distrusted { reason });
    }
    if base.kind == Kind::Ext {
        return Err(Refusal::ExtBase { path: base.path.clone(), origin: base.origin.clone() });
    }
    if let Some(path) = request.workdir.clone().filter(|path| path.is_relative()) {
        return Err(Refusal::RelativeWorkdir { path });
    }
    let layers = with_modes(request, layers)?;
    one_writer(&layers)?;
    written_once(&layers)?;
    for (layer, mode) in &layers {
        check_layer(layer, *mode, job)?;
    }
    Ok(layers)
}

/// A layer with the mode it gets: its own, else `:rw` for the last image under `-w`, else `:ro`.
pub type Moded<'a> = (&'a LayerFacts, Mode);

fn with_modes<'a>(request: &Request, layers: &'a [LayerFacts]) -> Result<Vec<Moded<'a>>, Refusal> {
    let written = layers.iter().rposition(|l| l.mode.is_none() && l.kind != Kind::Squashfs);
    if request.write && written.is_none() && !layers.iter().any(|l| l.mode == Some(Mode::Rw)) {
        return Err(Refusal::NothingToWrite);
    }
    let mode = |(at, layer): (usize, &'a LayerFacts)| {
        let default = if request.write && Some(at) == written { Mode::Rw } else { Mode::Ro };
        (layer, layer.mode.unwrap_or(default))
    };
    Ok(layers.iter().enumerate().map(mode).collect())
}

fn one_writer(layers: &[Moded<'_>]) -> Result<(), Refusal> {
    let with =
        |wanted: Mode| layers.iter().filter(move |(_, mode)| *mode == wanted).map(|(layer, _)| layer.path.clone());
    let mut writers = with(Mode::Rw);
    match (writers.next(), writers.next(), with(Mode::Tmp).next()) {
        (Some(first), Some(second), _) => Err(Refusal::TwoWriters { first, second }),
        (Some(rw), None, Some(tmp)) => Err(Refusal::WriterAndTmp { tmp, rw }),
        _ => Ok(()),
    }
}

/// The engine would find it locked, by itself.
fn written_once(layers: &[Moded<'_>]) -> Result<(), Refusal> {
    let Some(at) = layers.iter().position(|(_, mode)| *mode == Mode::Rw) else { return Ok(()) };
    let same = |other: usize| other != at && layers[other].0.identity == layers[at].0.identity;
    let Some(other) = (0..layers.len()).find(|other| same(*other)) else { return Ok(()) };
    let path = |at: usize| layers[at].0.path.clone();
    Err(Refusal::Twice { first: path(at.min(other)), second: path(at.max(other)) })
}

fn check_layer(layer: &LayerFacts, mode: Mode, job: Option<&str>) -> Result<(), Refusal> {
    let path = || layer.path.clone();
    let beside = layer.module.problem.as_ref().filter(|_| layer.module.is_distrusted);
    if let Some(reason) = layer.stranger.as_ref().or(beside).cloned() {
        return Err(Refusal::Distrusted { reason });
    }
    if layer.path.to_string_lossy().contains(':') {
        return Err(Refusal::ColonInPath { path: path(), engine: Flavour::Apptainer });
    }
    match (layer.kind, mode) {
        (Kind::Squashfs, Mode::Rw | Mode::Tmp) => return Err(Refusal::SquashfsIsReadOnly { path: path(), mode }),
        (Kind::Sif, _) if layer.image.is_none() => return Err(Refusal::SifWithoutOverlay { path: path() }),
        (_, Mode::Rw) if !layer.writable => return Err(Refusal::NotWritable { path: path() }),
        _ => {}
    }
    layer.image.as_ref().map_or(Ok(()), |image| check_image(layer, image, mode, job))
}

fn check_image(layer: &LayerFacts, image: &ImageFacts, mode: Mode, job: Option<&str>) -> Result<(), Refusal> {
    let path = layer.path.clone();
    if let Some(reason) = &image.refused_by_engine {
        return Err(Refusal::EngineRefuses { path, reason: reason.clone(), engine: Flavour::Apptainer });
    }
    if image.upper.is_none() {
        return Err(Refusal::NoUpper { path });
    }
    match (&image.usage, mode) {
        (Usage::Writer { holder: Some(holder), .. }, _) if job.is_some() && holder.is_batch_of(job) => {
            return Err(Refusal::HeldByOwnBatch { path });
        }
        (Usage::Writer { holder, seen }, _) => {
            return Err(Refusal::HasWriter { path, mode, holder: holder.clone().map(Box::new), seen: seen.clone() });
        }
        (Usage::Readers { seen }, Mode::Rw) => return Err(Refusal::HasReaders { path, seen: seen.clone() }),
        _ => {}
    }
    match (image.state, mode) {
        (State::Errors, _) => Err(Refusal::Damaged { path }),
        (State::NeedsRecovery, _) if !needs_repair(layer, mode) => Err(Refusal::NeedsRecovery { path }),
        (State::Dirty, Mode::Rw) if !needs_repair(layer, mode) => Err(Refusal::PerhapsInUse { path }),
        (State::Clean | State::Dirty | State::NeedsRecovery, _) => Ok(()),
    }
}

/// What the user should know before the start; every other decision is silent.
fn notices(request: &Request, facts: &Facts, fakeroot: Option<Fakeroot>, layers: &[Moded<'_>]) -> Vec<String> {
    let unlocked = layers.iter().filter(|(_, mode)| *mode == Mode::Rw).find_map(|(layer, _)| match &layer.image.as_ref()?.usage {
        Usage::Unknown { reason } => Some(format!(
            "{}: this file system has no locks ({reason}): nothing notices another writer, so be sure to be the only one",
            layer.path.display()
        )),
        _ => None,
    });
    let unread = layers.iter().filter_map(|(layer, _)| layer.module.problem.as_ref());
    let unread = unread.map(|problem| format!("{problem}: the variables in it are not set"));
    let written = || layers.iter().filter(|(_, mode)| *mode == Mode::Rw);
    let nearly_full = written().find_map(|(layer, _)| {
        let (path, free) = (layer.path.display(), layer.image.as_ref()?.short_of_space? >> 20);
        Some(format!(
            "{path}: only {free} MiB are free on its disk: what does not fit is lost, perhaps without an error"
        ))
    });
    let full = written().find_map(|(layer, _)| {
        let (path, lack) = (layer.path.display(), layer.image.as_ref()?.lack?);
        let (what, cure) = (lack.words(), lack.cure());
        Some(format!("{path}: {what}: what does not fit is lost, perhaps without an error; run 'condatainer overlay resize {cure} {path}' first"))
    });
    let writes = layers.iter().any(|(_, mode)| *mode != Mode::Ro);
    let confused = facts.hard_links.as_ref().filter(|_| writes).map(HardLinks::notice);
    let first = fakeroot::notice(request, facts, fakeroot, layers);
    first.into_iter().chain(unlocked).chain(nearly_full).chain(full).chain(confused).chain(unread).collect()
}

/// A killed writer left it, and nobody uses it. A reader repairs it too if he may: fuse2fs marks what it has mounted as clean
/// when it ends, even read-only, and the next writer would believe that. Only where locks tell that nobody has the image: without
/// them its writer may be at work on another node, and a journal may belong to a kernel that has it mounted.
pub(crate) fn needs_repair(layer: &LayerFacts, mode: Mode) -> bool {
    let left_behind = |image: &ImageFacts| match image.state {
        State::Dirty | State::NeedsRecovery => image.usage == Usage::Free,
        State::Clean | State::Errors => false,
    };
    (mode == Mode::Rw || layer.writable) && layer.image.as_ref().is_some_and(left_behind)
}

/// The kernel's overlay, which Apptainer takes for stacks without a writable image, does not know the whiteouts of
/// fuse-overlayfs: what a writer deleted would show again. It also cannot remove what lies in a lower layer (EIO), which a
/// node-local upper directory would be there for.
fn needs_overlay_driver(base: &BaseFacts, layers: &[Moded<'_>]) -> bool {
    let written_by_fuse = layers.iter().any(|(layer, mode)| *mode == Mode::Rw && layer.image.is_some());
    let needs_fuse = |(layer, mode): &Moded<'_>| *mode == Mode::Tmp || shows_deleted(layer, *mode);
    !written_by_fuse && (base.shows_deleted || layers.iter().any(needs_fuse))
}

/// Whether this layer, read by the kernel's overlay, would or might show what is deleted.
pub(crate) fn shows_deleted(layer: &LayerFacts, mode: Mode) -> bool {
    let honoured = || matches!(layer.image.as_ref().map(|image| image.whiteouts), Some(Whiteouts::Honoured(_)));
    mode != Mode::Rw && layer.kind != Kind::Squashfs && !honoured()
}

/// Squashfs in the order given, images on top of them, the written one on top of all.
fn stack(layers: &[Moded<'_>], facts: &Facts, scratch_image: bool) -> Result<Vec<Overlay>, Refusal> {
    let read_only = |want_squashfs: bool| {
        layers
            .iter()
            .filter(move |(layer, mode)| *mode != Mode::Rw && (layer.kind == Kind::Squashfs) == want_squashfs)
            .map(|(layer, _)| Overlay::Ro(layer.path.clone()))
    };
    let mut stack: Vec<Overlay> = read_only(true).chain(read_only(false)).collect();
    if layers.iter().any(|(_, mode)| *mode == Mode::Tmp) {
        if let Some((reason, cure)) = facts.tmpdir_problem.clone() {
            return Err(Refusal::NoTmpdir { path: facts.tmpdir.clone(), reason, cure });
        }
        let scratch = if scratch_image { Overlay::ScratchImage } else { Overlay::Scratch };
        stack.push(scratch(facts.tmpdir.clone()));
    }
    stack.extend(layers.iter().filter(|(_, m)| *m == Mode::Rw).map(|(l, _)| Overlay::Rw(l.path.clone())));
    Ok(stack)
}

fn watch(layer: &LayerFacts, overlay_driver: bool) -> Watch {
    let honoured = layer.image.as_ref().and_then(|image| match image.whiteouts {
        Whiteouts::Honoured(stamp) => Some(stamp),
        Whiteouts::OfFuse | Whiteouts::Unknown => None,
    });
    Watch {
        stamp: honoured.filter(|_| !overlay_driver),
        path: layer.path.clone(),
        identity: layer.identity,
        upper: layer.image.as_ref().and_then(|image| image.upper),
    }
}

#[cfg(test)]
#[path = "plan_refusal_tests.rs"]
mod refusal_tests;
#[cfg(test)]
#[path = "plan_tests.rs"]
pub(crate) mod tests;
