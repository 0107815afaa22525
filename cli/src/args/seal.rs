//! Arguments of `overlay seal`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use super::parse_size;
use crate::complete;

#[derive(Debug, Args)]
pub(crate) struct SealArgs {
    /// The base that the image is used on [env: CONDATAINER_BASE]
    #[arg(short, long, value_name = "IMAGE", add = ArgValueCompleter::new(complete::bases))]
    pub(crate) base: Option<PathBuf>,
    /// A layer between base and image, lowest first; a list, repeatable
    #[arg(short, long = "overlay", value_name = "LAYER", add = ArgValueCompleter::new(complete::layers))]
    pub(crate) overlays: Vec<String>,
    /// Give everything in the layer to root
    #[arg(long)]
    pub(crate) root_owned: bool,
    /// How to compress
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Compression::Zstd)]
    pub(crate) compression: Compression,
    /// How hard: zstd 1 to 22, gzip 1 to 9
    #[arg(long, value_name = "N")]
    pub(crate) level: Option<u32>,
    /// What is compressed together: 4K, 8K and so on, up to 1M; larger is smaller and slower to read
    #[arg(long, value_name = "SIZE", default_value = "128K", value_parser = parse_block_size)]
    pub(crate) block_size: u32,
    /// Use this many processors instead of all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) processors: Option<u32>,
    /// Replace a layer that is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The image
    #[arg(value_name = "IMG", add = ArgValueCompleter::new(complete::images))]
    pub(crate) image: PathBuf,
    /// The layer; the image's name with .sqf unless named
    #[arg(value_name = "OUT.sqf", value_hint = clap::ValueHint::FilePath)]
    pub(crate) layer: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    /// Small, and quick to read
    Zstd,
    /// Smallest, slow to read
    Xz,
    /// What every kernel reads
    Gzip,
    /// Largest, quickest
    Lz4,
}

fn parse_block_size(text: &str) -> Result<u32, String> {
    let size = parse_size(text)?;
    let size = u32::try_from(size).ok().filter(|size| size.is_power_of_two() && (4 << 10..=1 << 20).contains(size));
    size.ok_or_else(|| "write 4K, 8K, 16K and so on, up to 1M".into())
}
