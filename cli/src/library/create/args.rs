//! Arguments of `create`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use crate::arguments::Compression;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("recipe").args(["file", "source", "packages"]).multiple(true))]
pub(crate) struct BuildArgs {
    /// Build from a file: an Apptainer definition (.def), or conda packages (environment.yml, a list in .txt)
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, conflicts_with_all = ["source", "packages"])]
    pub(crate) file: Option<PathBuf>,
    /// Build from an image: docker://..., oras://..., library://..., or the path of an archive, OCI layout, image or directory
    #[arg(short, long, value_name = "IMAGE", value_hint = clap::ValueHint::AnyPath, conflicts_with = "packages")]
    pub(crate) source: Option<String>,
    /// Its name, with a version or without: goes to your image directory
    #[arg(short, long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Its path; .sqf is added where no ending of an image is there
    #[arg(short, long = "prefix", value_name = "PATH", value_hint = clap::ValueHint::FilePath, conflicts_with = "name")]
    pub(crate) prefix: Option<PathBuf>,
    /// Rebuild a layer that is there; from what it was built from, unless -f or -s says otherwise
    #[arg(short, long)]
    pub(crate) update: bool,
    /// Build as root of a user namespace; the default
    #[arg(long, overrides_with = "no_fakeroot")]
    pub(crate) fakeroot: bool,
    /// Build as you are; then everything in the layer belongs to root (-s only)
    #[arg(long, overrides_with = "fakeroot")]
    pub(crate) no_fakeroot: bool,
    /// Where to do the work, a few times as large as the layer [env: CONDATAINER_TMPDIR]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) tmpdir: Option<PathBuf>,
    /// How to compress [default: zstd]
    #[arg(long, value_enum, value_name = "NAME", hide_default_value = true)]
    pub(crate) compression: Option<Compression>,
    /// Where conda packages come from, before the channels that it knows itself; repeatable
    #[arg(short, long = "channel", value_name = "CHANNEL", conflicts_with = "source")]
    pub(crate) channels: Vec<String>,
    /// Your micromamba, mamba or conda; the first in PATH otherwise [env: CONDATAINER_CONDA]
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::ExecutablePath, conflicts_with = "source")]
    pub(crate) conda: Option<PathBuf>,
    /// The base that a conda environment is made on [env: CONDATAINER_BASE]
    #[arg(short, long, value_name = "IMAGE", value_hint = clap::ValueHint::FilePath, conflicts_with = "source")]
    pub(crate) base: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Packages of a conda environment; NAME/VERSION alone is a module of that name
    #[arg(value_name = "PACKAGE")]
    pub(crate) packages: Vec<String>,
    /// Further arguments for 'apptainer build', after --
    #[arg(last = true, value_name = "ARG")]
    pub(crate) arguments: Vec<String>,
}
