//! The complete decision about a start, as data: what runs, in which engine, on which stack of layers.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::Log;
use crate::machine::engine::Engine;
use crate::machine::facts::Gpu;
use crate::plan::mounting::Mounting;
use crate::plan::working_directory::Directory;
use crate::request::bind::Bind;
use condatainer_formats::ext::Stamp;
use condatainer_images::system::fakeroot::Fakeroot;
use condatainer_stack::namespace::user::Users;

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
    /// Memory takes the writes, at most so many bytes, where we mount ourselves.
    Memory(u64),
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
    /// Who mounts the base and the layers.
    pub mounts: Mounting,
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
    /// Where the start and the end are noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// What is done where we may mount the layers and it turns out that we cannot.
    #[serde(skip)]
    pub otherwise: Option<Box<Plan>>,
}

impl Plan {
    /// What lies below the layer at `path`, lowest first, the base among them.
    #[must_use]
    pub fn below(&self, path: &Path) -> Vec<PathBuf> {
        std::iter::once(&self.base).chain(self.layers()).take_while(|layer| *layer != path).cloned().collect()
    }

    /// The layers' own paths, lowest first, without what is made for the writes of `:tmp`.
    pub fn layers(&self) -> impl Iterator<Item = &PathBuf> {
        self.stack.iter().filter_map(|overlay| match overlay {
            Overlay::Ro(path) | Overlay::Rw(path) => Some(path),
            Overlay::Scratch(_) | Overlay::ScratchImage(_) | Overlay::Memory(_) => None,
        })
    }

    /// Whether other processes of the caller's can enter the container: it gets a user namespace of the caller's.
    #[must_use]
    pub fn shares_namespaces(&self) -> bool {
        let own = self.mounts.own().is_some_and(|own| own.users != Users::Everybody);
        !self.engine.is_singularity() || self.userns || own
    }
}
