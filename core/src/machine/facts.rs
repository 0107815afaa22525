//! What the machine says about a request: plain data, so that planning stays pure and a plan can be tested without a machine.
//!
//! [`crate::machine::survey`] fills these in.

use condatainer_images::acquire::usage::Usage;
use condatainer_images::image::state::State;
use std::path::PathBuf;

use serde::Serialize;

use crate::config::{Log, Mounts, Origin, Scratch};
use crate::machine::directories::{HostDirectories, ImageDirectory, WorkingDirectory};
use crate::machine::engine::{Engine, MissingEngine, Unsupported};
use crate::machine::hard_links::HardLinks;
use crate::request::layer::Mode;
use condatainer_formats::ext::{Lack, Stamp};
use condatainer_images::module::Module;
use condatainer_images::system::user::Caller;

/// Everything that a plan depends on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Facts {
    /// Who asks.
    pub caller: Caller,
    /// The Slurm job that the caller runs in, if any.
    pub job: Option<String>,
    /// What the job has been given, as variables.
    pub job_variables: Vec<(String, String)>,
    /// Containers of ours around the caller.
    pub nesting: u32,
    /// The images that they hold, and those from which Slurm's commands were called outside.
    pub held_around: Vec<PathBuf>,
    /// The base image.
    pub base: BaseFacts,
    /// The layers in the order of the request.
    pub layers: Vec<LayerFacts>,
    /// The first file or directory of the stack that SingularityCE does not accept or would show otherwise, where it is the engine.
    pub unsupported: Option<(PathBuf, Unsupported)>,
    /// The container engine, or why there is none.
    pub engine: Result<Engine, MissingEngine>,
    /// Whether an unprivileged process may make a user namespace.
    pub user_namespaces: bool,
    /// Whether newuidmap and newgidmap are installed.
    pub newuidmap: bool,
    /// GPU stacks whose device nodes are there.
    pub gpus: Vec<Gpu>,
    /// What the engine mounts for them.
    pub gpu_files: GpuFiles,
    /// Where the caller is.
    pub working_directory: WorkingDirectory,
    /// Directories of the host that are shown.
    pub host: HostDirectories,
    /// Where what is written for one run is to be kept.
    pub scratch: ScratchFacts,
    /// Directory for what `:tmp` layers write.
    pub tmpdir: PathBuf,
    /// Where node-local directories cannot be made, the reason and what to do.
    pub tmpdir_problem: Option<(String, String)>,
    /// Who has decided about fakeroot, where it was no option.
    pub fakeroot_origin: Option<Origin>,
    /// The largest file that a process may write, in bytes.
    pub file_limit: Option<u64>,
    /// Whether we can mount the layers ourselves, where that is asked for.
    pub mounts: MountFacts,
    /// Where the record of use is kept, if there is one.
    pub log: Option<Log>,
    /// Hard links of a lower layer that fuse-overlayfs would confuse, where something is written.
    pub hard_links: Option<HardLinks>,
}

/// What decides who mounts the layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MountFacts {
    /// Who is to do it.
    pub asked: Mounts,
    /// Who has decided that, where it was no option.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Where we mount.
    pub place: PathBuf,
    /// Why this machine does not let us, if it was asked; a trial.
    pub why_not: Option<String>,
    /// Why it does not let us mount what `:tmp` writes to.
    pub no_overlay: Option<String>,
    /// Why the engine would not take a directory for its container.
    pub no_directory: Option<String>,
    /// The caller's subordinate user and group ids: the first, and how many.
    pub subordinate: Option<[(u32, u32); 2]>,
}

/// What decides where the writes of one run are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ScratchFacts {
    /// Where.
    pub asked: Scratch,
    /// Who has decided that, where it was no option.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// How much memory the start may have, in bytes, where that is asked for.
    pub memory: u64,
}

impl MountFacts {
    /// What keeps us from mounting anything here, whatever the start.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        self.why_not.clone().or(self.no_directory.as_ref().map(|key| format!("{key} forbids it")))
    }
}

/// A GPU stack that Apptainer can pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Gpu {
    /// `--nv`
    Nvidia,
    /// `--rocm`
    Rocm,
}

/// Where the engine mounts what belongs to GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GpuFiles {
    /// Files in the container, apart from the directory of libraries.
    pub mounted_on: Vec<PathBuf>,
    /// A program of NVIDIA's decides that.
    pub by_program: bool,
}

/// The base image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BaseFacts {
    /// Its path.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Device and inode, to notice a file that was replaced.
    pub identity: (u64, u64),
    /// A SIF that brings an overlay of its own, in which something is deleted that the kernel's overlay would or might show.
    pub shows_deleted: bool,
    /// Why it is not used: it was found and not written down, or the site's policy forbids it.
    pub distrust: Option<String>,
    /// Who has named it, where it was no option.
    pub origin: Option<Origin>,
}

/// What a file is, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An ext2, ext3 or ext4 file system.
    Ext,
    /// A squashfs file system.
    Squashfs,
    /// A Singularity image file.
    Sif,
    /// A directory.
    Directory,
}

/// One layer and what was found there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerFacts {
    /// Absolute path.
    pub path: PathBuf,
    /// The mode that was asked for, if any.
    pub mode: Option<Mode>,
    /// What it is.
    pub kind: Kind,
    /// Device and inode, to notice a file that was replaced.
    pub identity: (u64, u64),
    /// Why it is not used: it was found and not written down, or the site's policy forbids it.
    pub distrust: Option<String>,
    /// Whether the caller may write the file or directory.
    pub writable: bool,
    /// For an ext image (or the ext overlay inside a SIF): what it holds.
    pub image: Option<ImageFacts>,
    /// What it brings to the environment.
    pub module: Module,
}

/// What an ext image says about itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageFacts {
    /// Owner of `upper/`; `None` where there is no such directory.
    pub upper: Option<(u32, u32)>,
    /// `upper`, and of `ext3`, `env` and `bin` in it what is there.
    pub program_path: Vec<ImageDirectory>,
    /// State of the file system.
    pub state: State,
    /// Why Apptainer would refuse the image, if it would.
    pub refused_by_engine: Option<String>,
    /// What in it is not written by ourselves, if anything.
    pub unwritten: Option<String>,
    /// Who uses it at the moment.
    pub usage: Usage,
    /// A container from which this start is made has it too.
    pub held_around: bool,
    /// What is free on its disk, in bytes, where that is little and less than it can still take: fuse2fs tells nobody what it
    /// could not write, but who asks by fsync(2).
    pub short_of_space: Option<u64>,
    /// What it has run out of itself.
    pub lack: Option<Lack>,
    /// Where its file system ends in the file, in bytes.
    pub end: u64,
    /// What it has deleted, in whose language.
    pub whiteouts: Whiteouts,
}

/// Whether the kernel's overlay would show what an image has deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whiteouts {
    /// It would not, as long as the file system is as this stamp says.
    Honoured(Stamp),
    /// It would: fuse-overlayfs has written there.
    OfFuse,
    /// Nobody has looked, or the search took too long.
    Unknown,
}
