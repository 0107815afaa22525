//! `condatainer overlay seal`: turns what was written to an image into a read-only layer.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use condatainer_core::config::SYSTEM_FILE;
use condatainer_formats::size::Size;
use condatainer_images::system::stop::Stop;
use condatainer_images::verbs::seal::{self, Report, Request};

use crate::arguments::{Compression, compression, parse_size};
use crate::complete::candidates;
use crate::say::failure::Failure;
use crate::say::progress::{Progress, Unit};
use crate::say::report;
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
pub(crate) struct SealArgs {
    /// The base that the image is used on [env: CONDATAINER_BASE]
    #[arg(short, long, value_name = "IMAGE", add = ArgValueCompleter::new(candidates::bases))]
    pub(crate) base: Option<PathBuf>,
    /// A layer between base and image, lowest first; a list, repeatable
    #[arg(short, long = "overlay", value_name = "LAYER", add = ArgValueCompleter::new(candidates::layers))]
    pub(crate) overlays: Vec<String>,
    /// Give everything in the layer to root
    #[arg(long)]
    pub(crate) root_owned: bool,
    /// How to compress
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Compression::Zstd)]
    pub(crate) compression: Compression,
    /// How hard: zstd 1 to 22, gzip 1 to 9
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) level: Option<u32>,
    /// What is compressed together: 4K, 8K and so on, up to 1M; larger is smaller and slower to read
    #[arg(long, value_name = "SIZE", default_value = "128K", value_parser = parse_block_size)]
    pub(crate) block_size: u32,
    /// Use this many processors instead of all
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) processors: Option<u32>,
    /// Replace a layer that is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The image
    #[arg(value_name = "IMG", add = ArgValueCompleter::new(candidates::images))]
    pub(crate) image: PathBuf,
    /// The layer; the image's name with .sqf unless named
    #[arg(value_name = "OUT.sqf", value_hint = clap::ValueHint::FilePath)]
    pub(crate) layer: Option<PathBuf>,
}

fn parse_count(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write a number from 1 on".into())
}

fn parse_block_size(text: &str) -> Result<u32, String> {
    let size = parse_size(text)?;
    let size = u32::try_from(size).ok().filter(|size| size.is_power_of_two() && (4 << 10..=1 << 20).contains(size));
    size.ok_or_else(|| "write 4K, 8K, 16K and so on, up to 1M".into())
}

pub(crate) fn seal(args: &SealArgs) -> Result<ExitCode, Failure> {
    let request = request(args)?;
    let stop = Stop::listen().map_err(Failure::failed)?;
    let progress = Progress::new(
        request.layer.display().to_string(),
        Unit::Bytes,
        "compressing the rest and writing it to the disk",
    );
    progress.spin("looking at what is in the image");
    let mut watch = |done, total| {
        progress.at(done, total);
        if stop.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let sealed = seal::seal(&request, &mut watch);
    progress.finish();
    let report = sealed.map_err(Failure::failed)?;
    report::give(args.json, &report, || lines(&report))?;
    Ok(ExitCode::SUCCESS)
}

fn request(args: &SealArgs) -> Result<Request, Failure> {
    let surroundings = Surroundings::look(Path::new(SYSTEM_FILE)).map_err(Failure::of_a_verb)?;
    let layers = surroundings.layers(&args.overlays).map_err(Failure::of_a_verb)?;
    let base = surroundings.base(args.base.as_deref()).map_err(Failure::of_a_verb)?;
    Ok(Request {
        base: surroundings.config.base(base),
        layers: layers.into_iter().map(|layer| layer.path).collect(),
        force: args.force,
        root_owned: args.root_owned,
        compression: compression(args.compression),
        level: args.level,
        block_size: args.block_size,
        processors: args.processors,
        latest: latest(surroundings.env.get("SOURCE_DATE_EPOCH"))?,
        ..Request::new(args.image.clone(), args.layer.clone().unwrap_or_else(|| beside(&args.image)))
    })
}

/// `a/env.img` → `a/env.sqf`; a name without the ending of an image gets one more.
fn beside(image: &Path) -> PathBuf {
    let stem = image.to_string_lossy().ends_with(".img").then(|| image.with_extension(""));
    let mut layer = stem.unwrap_or_else(|| image.to_owned()).into_os_string();
    layer.push(".sqf");
    layer.into()
}

/// The convention of reproducible builds: no time in the result is later than this.
fn latest(epoch: Option<&String>) -> Result<Option<u32>, Failure> {
    let parse = |text: &String| {
        text.parse().map_err(|_| {
            Failure::failed(format!("SOURCE_DATE_EPOCH='{text}': write seconds since 1970, or leave it out"))
        })
    };
    epoch.filter(|text| !text.is_empty()).map(parse).transpose()
}

fn lines(report: &Report) -> Vec<String> {
    let image = &report.image;
    let why = "because others read it or you may not write it";
    let unclean = || format!("{}: is not marked as cleanly unmounted, {why}: read as it is", image.display());
    let states = [
        report::unlocked(image, report.unlocked),
        report::repaired(image, report.repaired),
        report.unclean.then(unclean),
    ];
    let lines = states.into_iter().flatten().chain([summary(report)]).chain(lost(report));
    lines.chain(closed(&report.layer)).collect()
}

/// A layer of a private image is private; most layers are meant for others.
fn closed(layer: &Path) -> Option<String> {
    let is_closed = fs::metadata(layer).is_ok_and(|meta| meta.mode() & 0o044 == 0);
    let layer = layer.display();
    is_closed
        .then(|| format!("{layer}: only you can read it, as the image: 'chmod a+r {layer}' shares all that is in it"))
}

fn summary(report: &Report) -> String {
    let (layer, size, inodes) = (report.layer.display(), Size(report.size_bytes), report.inodes);
    let hidden = report.whiteouts + report.opaque_whiteouts;
    let hides = if hidden > 0 { format!(", {hidden} names below are hidden") } else { String::new() };
    let beside = report.environment.as_ref().map(|path| format!(", variables in {}", path.display()));
    format!("{layer}: made, {size}, {inodes} files and directories{hides}{}", beside.unwrap_or_default())
}

/// What a squashfs cannot hold.
fn lost(report: &Report) -> Vec<String> {
    let counts = [
        (report.acls_dropped, "files that lost their access control list, for which squashfs has no place"),
        (
            report.xattrs_dropped,
            "extended attributes that are lost, for which squashfs or this mksquashfs has no place",
        ),
        (report.sockets_skipped, "sockets that were left out, since a layer has none"),
    ];
    let (layer, counts) = (report.layer.display(), counts.iter().filter(|(count, _)| *count > 0));
    let mut lines: Vec<String> = counts.map(|(count, what)| format!("{layer}: {what}: {count}")).collect();
    if !report.root_owner_kept {
        lines
            .push(format!("{layer}: its root directory belongs to you: mksquashfs before 4.6 cannot be told an owner"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_lie_beside_their_image() {
        assert_eq!(beside(Path::new("a/env.img")), Path::new("a/env.sqf"));
        assert_eq!(beside(Path::new("r--4.3.img")), Path::new("r--4.3.sqf"));
        assert_eq!(beside(Path::new("env")), Path::new("env.sqf"));
        assert_eq!(beside(Path::new("r--4.3")), Path::new("r--4.3.sqf"));
    }

    #[test]
    fn epochs() {
        assert_eq!(latest(Some(&"1700000000".into())).unwrap(), Some(1_700_000_000));
        assert_eq!(latest(Some(&String::new())).unwrap(), None);
        assert!(latest(Some(&"yesterday".into())).is_err());
    }
}
