//! The survey: asks the machine for the [`Facts`] that a plan needs. Reads only; takes no lock and starts nothing.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::stat;
use nix::unistd::{AccessFlags, access, getegid, getgroups};

use crate::config::{Config, Origin};
use crate::machine::directories::{ImageDirectory, PROGRAM_PATH};
use crate::machine::facts::{BaseFacts, Facts, Gpu, ImageFacts, Kind, LayerFacts, Whiteouts};
use crate::machine::slurm_job;
use crate::request::Request;
use crate::request::bind::Bind;
use crate::request::layer::Layer;
use condatainer_formats::ext;
use condatainer_images::image::state::{State, state};
use condatainer_images::image::{self, Image, ImageError, Opened};
pub use condatainer_images::lock::usage::{Usage, usage};
use condatainer_images::lock::{self, Access, Availability};
use condatainer_images::module::Module;
use condatainer_images::system::file_limit;
use condatainer_images::system::user::Caller;
use condatainer_images::tools::programs;
use condatainer_images::trust;
use condatainer_images::trust::tmpdir;
use condatainer_images::verbs::create;

mod engine;
mod hard_links;
mod host;
mod whiteouts;

pub(crate) use engine::directive;
pub use engine::engine;
pub(crate) use engine::is_none as no_engine;
pub(crate) use hard_links::takes_preload;
pub(crate) use host::working_directory;

/// A disk with less than this, in bytes, is nearly full; sparse images of ten times as much are usual.
const LITTLE: u64 = 1 << 30;

/// Why the facts could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// A layer cannot be used as an image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The base cannot be used as one.
    #[error("{error}{}", origin.as_ref().map_or_else(String::new, |origin| format!("; {}", base_cure(origin))))]
    Base {
        /// What is wrong.
        error: ImageError,
        /// Who has named it, where it was no option.
        origin: Option<Origin>,
    },
    /// No base image is named anywhere.
    #[error(
        "no base image: name one with -b (in Slurm: --condatainer-base=), CONDATAINER_BASE or 'base' in the configuration; 'apptainer pull base.sif docker://debian' makes one"
    )]
    NoBase,
    /// The caller's working directory has been removed.
    #[error("the working directory cannot be used: {0}: it was removed, so go to another")]
    WorkingDirectory(io::Error),
    /// A path of the host that is to be shown.
    #[error("bind {}: {}", path.display(), error.desc())]
    Bind {
        /// The path.
        path: PathBuf,
        /// Why it cannot be.
        error: Errno,
    },
    /// The caller cannot be told.
    #[error("cannot look up the calling user: {0}")]
    Caller(io::Error),
}

/// Whether locks and states count: on the node that starts the container they do, where a job is submitted they may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The container starts now.
    Start,
    /// The request will be carried out later.
    Submission,
}

/// Gathers everything for a start here and now.
///
/// # Errors
/// An image that cannot be read, or no base.
pub fn survey(request: &Request, config: &Config, env: &HashMap<String, String>) -> Result<Facts, SurveyError> {
    let caller = Caller::current().map_err(SurveyError::Caller)?;
    binds(&request.bind)?;
    let mut base = base_of(request, config.base(request.base.clone()), config)?;
    base.shows_deleted = whiteouts::are_in_base(&base);
    let mut layers = layers(&request.layers, Moment::Start)?;
    let engine = engine(config);
    if whiteouts::matter(request, engine.as_ref().ok()) {
        whiteouts::look(&base, &mut layers, whiteouts::mounter(engine.as_ref().ok()));
    }
    let unsupported = engine.as_ref().ok().and_then(|engine| engine::unsupported(engine, &base, &layers));
    let hard_links = hard_links::look(request, engine.as_ref().ok(), caller.uid, &base, &layers);
    let (tmpdir, tmpdir_problem) = scratch_place(config, env);
    let working_directory = working_directory(env.get("PWD").map(Path::new)).map_err(SurveyError::WorkingDirectory)?;
    let host = host::look(engine.as_ref().ok(), caller.home.as_deref(), &request.bind, &config.bind_dirs(), env);
    Ok(Facts {
        working_directory,
        host,
        base,
        layers,
        unsupported,
        engine,
        user_namespaces: user_namespaces(),
        newuidmap: newuidmap(),
        gpus: gpus(env),
        tmpdir_problem,
        tmpdir,
        fakeroot_origin: request.fakeroot.and_then(|fakeroot| config.origin_of_fakeroot(fakeroot)),
        file_limit: file_limit::get(),
        hard_links,
        job: env.get("SLURM_JOB_ID").cloned(),
        job_variables: slurm_job::variables(env),
        nesting: env.get("IN_CONDATAINER").and_then(|level| level.parse().ok()).unwrap_or(0),
        caller,
    })
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
    match image::identify(path) {
        Ok(image) => Ok(BaseFacts {
            path: path.into(),
            kind: kind(&image.kind),
            identity: (image.dev, image.ino),
            shows_deleted: false,
            stranger: None,
            origin,
        }),
        Err(error) => Err(SurveyError::Base { error, origin }),
    }
}

/// As [`base`], with what counts if a name led to it; `decided` is the request's base unless the site has fixed another.
///
/// # Errors
/// As [`base`].
pub fn base_of(request: &Request, decided: Option<PathBuf>, config: &Config) -> Result<BaseFacts, SurveyError> {
    let facts = base(decided.as_deref(), config)?;
    if !request.base_named || decided != request.base {
        return Ok(facts);
    }
    let image = image::identify(&facts.path)?;
    Ok(BaseFacts { stranger: trust::stranger(&image), identity: (image.dev, image.ino), ..facts })
}

/// What to do about a base that nobody has named by an option.
pub(crate) fn base_cure(origin: &Origin) -> String {
    origin.cure(", or name another with -b (in Slurm: --condatainer-base=)")
}

/// The directory for what `:tmp` layers write; where it cannot be used, the reason and what to do.
pub(crate) fn scratch_place(config: &Config, env: &HashMap<String, String>) -> (PathBuf, Option<(String, String)>) {
    let named = config.tmpdir();
    let of_variable = env.get("TMPDIR").map(PathBuf::from);
    let origin = match (&named, &of_variable) {
        (Some(named), _) => config.origin_of_tmpdir(named),
        (None, Some(_)) => Some(Origin::variable("TMPDIR")),
        (None, None) => None,
    };
    let tmpdir = named.or(of_variable).unwrap_or_else(|| "/tmp".into());
    let problem = tmpdir::fault(&tmpdir).map(|fault| {
        let other = tmpdir_cure(origin.as_ref());
        (fault.why, fault.cure.map_or_else(|| other.clone(), |cure| format!("{cure}; or {other}")))
    });
    (tmpdir, problem)
}

/// How another directory is named. TMPDIR counts only where no key is set.
fn tmpdir_cure(origin: Option<&Origin>) -> String {
    match origin {
        Some(origin) if origin.key != "TMPDIR" => origin.cure(", or set CONDATAINER_TMPDIR to another directory"),
        _ => "set tmpdir in the configuration, or TMPDIR".into(),
    }
}

/// Looks at the layers.
///
/// # Errors
/// The first one that is no image.
pub fn layers(layers: &[Layer], moment: Moment) -> Result<Vec<LayerFacts>, SurveyError> {
    layers.iter().map(|layer| self::layer(layer, moment).map_err(SurveyError::from)).collect()
}

fn layer(layer: &Layer, moment: Moment) -> Result<LayerFacts, ImageError> {
    let opened = image::open(&layer.path)?;
    Ok(LayerFacts {
        path: layer.path.clone(),
        mode: layer.mode,
        kind: kind(&opened.image.kind),
        identity: (opened.image.dev, opened.image.ino),
        stranger: if layer.named { trust::stranger(&opened.image) } else { None },
        writable: access(&layer.path, AccessFlags::W_OK).is_ok(),
        image: image_facts(&opened, moment)?,
        module: match moment {
            Moment::Start => Module::read(&layer.path, &opened),
            Moment::Submission => Module::believed(&layer.path, &opened),
        },
    })
}

/// What is free on the image's disk, where that is little and the image is sparse enough to take more.
pub(crate) fn short_of_space(image: &Image, file: &File) -> Option<u64> {
    let taken = file.metadata().ok()?.blocks().saturating_mul(512);
    let can_take = image.content.size.saturating_sub(taken);
    let free = create::free_space(image.path.parent()?)?;
    (free < can_take.min(LITTLE)).then_some(free)
}

/// The kind of an image, in a word.
#[must_use]
pub fn kind(kind: &image::Kind) -> Kind {
    match kind {
        image::Kind::Ext(_) => Kind::Ext,
        image::Kind::Squashfs => Kind::Squashfs,
        image::Kind::Sif(_) => Kind::Sif,
        image::Kind::Directory => Kind::Directory,
    }
}

fn image_facts(opened: &Opened, moment: Moment) -> Result<Option<ImageFacts>, ImageError> {
    let Some(probe) = opened.probe()? else { return Ok(None) };
    let now = moment == Moment::Start;
    Ok(Some(ImageFacts {
        upper: probe.upper.owner().map(|owner| (owner.uid, owner.gid)),
        program_path: program_path(opened, &probe),
        state: if now { state(probe.state) } else { State::Clean },
        refused_by_engine: probe.apptainer.err(),
        usage: if now { usage(opened) } else { Usage::Free },
        short_of_space: if now { short_of_space(&opened.image, &opened.file) } else { None },
        lack: if now { probe.room.lack() } else { None },
        end: opened.image.ext_window().map_or(0, |window| window.offset.saturating_add(window.size)),
        whiteouts: Whiteouts::Unknown,
    }))
}

/// What is on the way to an image's programs. What cannot be read is found by others.
fn program_path(opened: &Opened, probe: &ext::Probe) -> Vec<ImageDirectory> {
    let (Some(upper), Some(window)) = (probe.upper.owner(), opened.image.ext_window()) else { return Vec::new() };
    let below = ext::way(&opened.file, window, &PROGRAM_PATH).unwrap_or_default();
    let owners = std::iter::once(upper).chain(below).enumerate();
    let groups = getgroups().unwrap_or_default();
    let is_in = |gid: u32| getegid().as_raw() == gid || groups.iter().any(|group| group.as_raw() == gid);
    owners
        .map(|(depth, owner)| ImageDirectory {
            path: format!("/{}", PROGRAM_PATH[..depth].join("/")),
            in_group: is_in(owner.gid),
            owner,
        })
        .collect()
}

/// Whether a lock is held that excludes this access, or the kernel still has the image mounted: SingularityCE's loop devices go a
/// moment after their lock.
pub(crate) fn is_taken(path: &Path, access: Access) -> bool {
    let Ok(opened) = image::open(path) else { return false };
    let Some(window) = opened.image.ext_window() else { return false };
    let attached = lock::loops(opened.image.dev, opened.image.ino);
    if attached.iter().any(|device| device.touches(window) && (access == Access::Write || !device.read_only)) {
        return true;
    }
    matches!(lock::query(&opened.file, window, access), Ok(Availability::Held(_)))
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

/// The GPU stacks whose devices are here; in a job only when the job was given a GPU.
fn gpus(env: &HashMap<String, String>) -> Vec<Gpu> {
    const GIVEN: [&str; 4] = ["SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"];
    if env.contains_key("SLURM_JOB_ID") && !GIVEN.iter().any(|name| env.contains_key(*name)) {
        return Vec::new();
    }
    let devices = [("/dev/nvidiactl", Gpu::Nvidia), ("/dev/kfd", Gpu::Rocm)];
    devices.into_iter().filter(|(path, _)| Path::new(path).exists()).map(|(_, gpu)| gpu).collect()
}
