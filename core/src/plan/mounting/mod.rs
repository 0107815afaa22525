//! Who mounts the layers: we do, as one tree that the engine takes for a directory, or the engine does, image by image, as [`stack`]
//! says. Pure.

pub(crate) mod stack;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{Mounts, Scratch};
use crate::machine::engine::Engine;
use crate::machine::facts::{Facts, ImageFacts, Kind, LayerFacts};
use crate::plan::layers::Moded;
use crate::plan::refusal::Refusal;
use crate::plan::working_directory::is_the_containers;
use crate::request::bind::Bind;
use crate::request::layer::Mode;
use condatainer_images::acquire::usage::Usage;
use condatainer_images::system::fakeroot::Fakeroot;
use condatainer_stack::namespace::mounts;
use condatainer_stack::namespace::user::Users;

/// Who mounts, as the plan says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mounting {
    /// The engine; where we could have been asked to, why we do not.
    Engine {
        /// In words.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// We do.
    Own(OwnMounts),
}

/// How we mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OwnMounts {
    /// Where.
    pub place: PathBuf,
    /// The root that the engine is given.
    pub root: PathBuf,
    /// Who exists in the container.
    pub users: Users,
    /// Where what `:tmp` writes is kept, if something can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scratch: Option<Kept>,
    /// The image that is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<PathBuf>,
    /// Whether the engine lays its session layer on the tree, to make mount points in it. Where it does not, all that it mounts on are points.
    pub session_layer: bool,
    /// The engine would warn of mount points that it does not make, and here it finds them.
    pub silent: bool,
    /// The home directory, where the engine is not to show it by itself: it would hide what lies beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home: Option<Bind>,
    /// What the engine mounts on and does not make itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<Point>,
}

/// Where what is written is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Kept {
    /// In a file without a name in this directory.
    Directory(PathBuf),
    /// In memory.
    Memory {
        /// At most so many bytes.
        memory: u64,
    },
}

/// A mount point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// In the container.
    pub path: PathBuf,
    /// What it is for.
    pub what: What,
}

/// What a mount point is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// A file, also where an image has a symbolic link.
    FileForLink,
    /// Whatever this path of the host leads to.
    Like(PathBuf),
}

impl OwnMounts {
    /// Whether anything can be written.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.scratch.is_some() || self.workspace.is_some()
    }
}

/// What the engine mounts on in every container.
const DIRECTORIES: [&str; 9] =
    ["/proc", "/sys", "/dev", "/tmp", "/var/tmp", "/root", "/ext3", "/cnt", "/.singularity.d/libs"];
const FILES: [&str; 4] = ["/etc/passwd", "/etc/group", "/etc/resolv.conf", "/etc/hosts"];
const LOCALTIME: &str = "/etc/localtime";

impl Mounting {
    /// How we mount, if we do.
    #[must_use]
    pub fn own(&self) -> Option<&OwnMounts> {
        match self {
            Self::Engine { .. } => None,
            Self::Own(own) => Some(own),
        }
    }

    /// The engine will mount something more there, which it cannot make a mount point for without its session layer.
    pub(crate) fn also_mount_on(&mut self, directory: &Path) {
        if let Self::Own(own) = self
            && !own.session_layer
        {
            own.points.push(Point { path: directory.into(), what: What::Directory });
        }
    }

    /// The line that says why we do not. That a directory that is written to is the engine's business is no news.
    pub(crate) fn notice(&self, layers: &[Moded<'_>]) -> Option<String> {
        let Self::Engine { why: Some(why) } = self else { return None };
        let is_news = written(layers).is_none_or(|layer| layer.image.is_some());
        is_news.then(|| format!("the engine mounts the layers of this start: {why}"))
    }
}

/// Decides who mounts.
///
/// # Errors
/// We are to, and cannot.
pub(crate) fn decide(
    facts: &Facts,
    layers: &[Moded<'_>],
    fakeroot: Option<Fakeroot>,
    binds: &[Bind],
    tmp: bool,
) -> Result<Mounting, Refusal> {
    let facts_of_mounts = &facts.mounts;
    let is_written = is_written(layers, tmp);
    if facts_of_mounts.asked == Mounts::Engine {
        return Ok(Mounting::Engine { why: None });
    }
    if is_bare_directory(facts, layers, is_written) {
        return Ok(Mounting::Engine { why: None });
    }
    match (users(facts, layers, fakeroot, is_written), facts_of_mounts.asked) {
        (Ok(users), _) => {
            let place = place(facts, binds);
            let session_layer = !is_written && needs_session_layer(facts, &users);
            Ok(Mounting::Own(OwnMounts {
                root: mounts::merged(&place, is_written),
                place,
                users,
                scratch: tmp.then(|| kept(facts)),
                workspace: written(layers).map(|layer| layer.path.clone()),
                session_layer,
                silent: !session_layer && !facts.gpu_files.mounted_on.is_empty(),
                home: home(facts, fakeroot, binds, is_written).filter(|_| !session_layer),
                points: points(facts, binds, session_layer),
            }))
        }
        (Err(why), Mounts::Own) => Err(Refusal::NotOurs { why, origin: facts_of_mounts.origin.clone() }),
        (Err(why), _) => Ok(Mounting::Engine { why: Some(why) }),
    }
}

/// Of memory half, as the kernel's tmpfs: the rest is the command's.
fn kept(facts: &Facts) -> Kept {
    match facts.scratch.asked {
        Scratch::Memory(size) => Kept::Memory { memory: size.unwrap_or(facts.scratch.memory / 2) },
        Scratch::Disk => Kept::Directory(facts.tmpdir.clone()),
    }
}

/// The directory of the installation, unless the container shows it: its own root would be in there once more, and who tidies up in
/// his home would delete the container's files.
fn place(facts: &Facts, binds: &[Bind]) -> PathBuf {
    let place = &facts.mounts.place;
    let of_host = facts.host.shown.iter().chain(&facts.host.home).chain(binds);
    // Everything lies in one that nobody knows, and the root is never shown.
    let current = Some(facts.working_directory.path.as_path()).filter(|current| current.parent().is_some());
    let current = current.filter(|current| !is_the_containers(current));
    let mut shown = of_host.map(|bind| bind.source.as_path()).chain(current);
    let engines = ["/tmp", "/var/tmp", "/dev"].map(Path::new);
    let is_shown = shown.any(|source| place.starts_with(source)) || engines.iter().any(|dir| place.starts_with(dir));
    if is_shown { mounts::FALLBACK.into() } else { place.clone() }
}

/// Whether the engine mounts something of which only itself knows where. Apart from that, a namespace's root gets its names of users and groups in
/// that layer only, and SingularityCE was not tried without it.
fn needs_session_layer(facts: &Facts, users: &Users) -> bool {
    let is_singularity = facts.engine.as_ref().is_ok_and(Engine::is_singularity);
    facts.host.shows_more || facts.gpu_files.by_program || is_singularity || users.inside().0 == 0
}

/// The home directory, where we name it to the engine. Without a session layer it shows an empty `/home` with that one directory in it: nothing of
/// the image's, and no mount point for what lies beside.
fn home(facts: &Facts, fakeroot: Option<Fakeroot>, binds: &[Bind], is_written: bool) -> Option<Bind> {
    facts.host.home.clone().filter(|home| !is_written || hides(facts, fakeroot, home, binds))
}

/// Whether something is to be shown beside the home directory.
fn hides(facts: &Facts, fakeroot: Option<Fakeroot>, home: &Bind, binds: &[Bind]) -> bool {
    if fakeroot.is_some_and(|fakeroot| fakeroot != Fakeroot::Root) {
        return false;
    }
    let first = |path: &Path| path.components().take(2).collect::<PathBuf>();
    let is_beside = |path: &Path| first(path) == first(&home.destination) && !path.starts_with(&home.destination);
    let of_binds = facts.host.shown.iter().chain(binds).map(|bind| bind.destination.as_path());
    let made = facts.host.made.iter().map(PathBuf::as_path);
    of_binds.chain(made).chain([facts.working_directory.path.as_path()]).any(is_beside)
}

/// What is in every container. Without its session layer Apptainer makes no mount point itself for the rest either.
fn points(facts: &Facts, binds: &[Bind], session_layer: bool) -> Vec<Point> {
    let point = |path: &str, what: What| Point { path: path.into(), what };
    let directories = DIRECTORIES.iter().map(|path| point(path, What::Directory));
    let files = FILES.iter().map(|path| point(path, What::File));
    if session_layer {
        return directories.chain(files).collect();
    }
    let of_gpus = facts.gpu_files.mounted_on.iter().map(|path| Point { path: path.clone(), what: What::File });
    let of_host = facts.host.shown.iter().chain(&facts.host.home).chain(binds);
    // Images have a link there, to the very file that stands for their own time zone.
    let what = |bind: &Bind| match bind.destination == Path::new(LOCALTIME) {
        true => What::FileForLink,
        false => What::Like(bind.source.clone()),
    };
    let of_host = of_host.map(|bind| Point { path: bind.destination.clone(), what: what(bind) });
    let made = facts.host.made.iter().map(|path| Point { path: path.clone(), what: What::Directory });
    let current = Point { path: facts.working_directory.path.clone(), what: What::Directory };
    let current =
        Some(current).filter(|current| facts.host.shows_working_directory && !is_the_containers(&current.path));
    directories.chain(files).chain(of_gpus).chain(of_host).chain(made).chain(current).collect()
}

/// Whether we mount the layers, unless it is a fakeroot that keeps us from it.
pub(crate) fn is_ours(facts: &Facts, layers: &[Moded<'_>], tmp: bool) -> bool {
    let is_written = is_written(layers, tmp);
    facts.mounts.asked != Mounts::Engine
        && !is_bare_directory(facts, layers, is_written)
        && users(facts, layers, None, is_written).is_ok()
}

/// There is nothing to mount: the engine takes that one as it is.
fn is_bare_directory(facts: &Facts, layers: &[Moded<'_>], is_written: bool) -> bool {
    facts.base.kind == Kind::Directory && layers.is_empty() && !is_written
}

/// The layer that is written to.
fn written<'a>(layers: &[Moded<'a>]) -> Option<&'a LayerFacts> {
    layers.iter().find(|(_, mode)| *mode == Mode::Rw).map(|(layer, _)| *layer)
}

fn is_written(layers: &[Moded<'_>], tmp: bool) -> bool {
    tmp || written(layers).is_some()
}

/// Why it is not for us to write to this layer, if it is not.
pub(crate) fn not_written(layer: &LayerFacts) -> Option<String> {
    let path = layer.path.display();
    match &layer.image {
        // The engine writes it as it is.
        None => Some(format!("{path} is a directory that is written to")),
        Some(ImageFacts { unwritten: Some(what), .. }) => Some(format!("{path} {what}")),
        Some(_) => None,
    }
}

/// Who exists in a container that we mount, or why we do not.
fn users(facts: &Facts, layers: &[Moded<'_>], fakeroot: Option<Fakeroot>, is_written: bool) -> Result<Users, String> {
    if let Some(why) = written(layers).and_then(not_written) {
        return Err(why);
    }
    if is_written && facts.gpu_files.by_program {
        return Err("nvidia-container-cli mounts the GPU's files, and only it knows where".into());
    }
    let is_unlocked =
        |layer: &LayerFacts| matches!(&layer.image, Some(image) if matches!(image.usage, Usage::Unknown { .. }));
    if let Some((layer, _)) = layers.iter().find(|(layer, _)| is_unlocked(layer)) {
        return Err(format!("{}: its file system has no locks", layer.path.display()));
    }
    // An image is laid over the layers by our server.
    let no_overlay = facts.mounts.no_overlay.clone().filter(|_| is_written && written(layers).is_none());
    if let Some(why) = facts.mounts.obstacle().or(no_overlay) {
        return Err(why);
    }
    let (uid, gid) = (facts.caller.uid, facts.caller.gid);
    match (fakeroot, facts.mounts.subordinate) {
        (Some(Fakeroot::Root), _) => Ok(Users::Everybody),
        (None, _) if uid == 0 => Ok(Users::Everybody),
        (None, _) => Ok(Users::Caller { uid, gid }),
        (Some(Fakeroot::RootMapped), _) => Ok(Users::RootMapped { uid, gid }),
        (Some(Fakeroot::Subuid), Some([uids, gids])) => Ok(Users::Subuid { uid, gid, uids, gids }),
        (Some(Fakeroot::Subuid), None) => {
            Err("the caller's subordinate ids are in no /etc/subuid and /etc/subgid".into())
        }
    }
}
