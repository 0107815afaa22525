//! Arguments of `overlay create`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use super::parse_size;
use crate::complete;

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Size of the image; it is sparse, so it takes only what is written
    #[arg(short, long, default_value = "10G", value_parser = parse_size)]
    pub(crate) size: u64,
    /// What it will hold: many small files, a mixture, or few large ones
    #[arg(short, long, alias = "type", short_alias = 't', value_enum, default_value_t = Profile::Balanced)]
    pub(crate) profile: Profile,
    /// Give it to root, for work under fakeroot (apt, dpkg)
    #[arg(long)]
    pub(crate) fakeroot: bool,
    /// Reserve all of its space now
    #[arg(long)]
    pub(crate) allocate: bool,
    /// Make it in this directory, for instance on a fast local disk, and move it to its place when it is finished
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) tmpdir: Option<PathBuf>,
    /// Volume label, up to 16 bytes
    #[arg(long, value_name = "NAME")]
    pub(crate) label: Option<String>,
    /// Put a conda environment of this file into it: environment.yml, or a list of packages
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, conflicts_with = "packages")]
    pub(crate) file: Option<PathBuf>,
    /// A channel for the packages, before those of the file and of your configuration; repeatable
    #[arg(short, long = "channel", value_name = "CHANNEL")]
    pub(crate) channels: Vec<String>,
    /// The program that makes the environment [default: micromamba, mamba or conda] [env: CONDATAINER_CONDA]
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::ExecutablePath)]
    pub(crate) conda: Option<PathBuf>,
    /// The base that the environment is made on [env: CONDATAINER_BASE]
    #[arg(short, long, value_name = "IMAGE", add = ArgValueCompleter::new(complete::bases))]
    pub(crate) base: Option<PathBuf>,
    /// Options of the original CondaTainer for what is always so here
    #[arg(short = 'S', long, alias = "no-tmp", hide = true)]
    pub(crate) sparse: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Where to make it; .img is added to a name without an ending
    #[arg(default_value = "env.img", value_name = "IMG", value_hint = clap::ValueHint::FilePath)]
    pub(crate) image: PathBuf,
    /// Packages of a conda environment to put into it, after --
    #[arg(last = true, value_name = "PACKAGE")]
    pub(crate) packages: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Many small files
    #[value(aliases = ["conda", "python"])]
    Small,
    /// A mixture
    Balanced,
    /// Few large files
    #[value(aliases = ["data", "genome"])]
    Large,
}
