//! `condatainer overlay resize`: makes an image larger or smaller.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use condatainer_formats::size::Size;
use condatainer_images::verbs::resize::{self, Report, Request, Stage, Wish};

use crate::arguments::parse_size;
use crate::complete::candidates;
use crate::say;
use crate::say::failure::Failure;
use crate::say::progress::{Progress, Unit};
use crate::say::report;

#[derive(Debug, Args)]
pub(crate) struct ResizeArgs {
    /// To this size; with + or - in front, larger or smaller by it
    #[arg(
        short,
        long,
        value_name = "SIZE|+SIZE|-SIZE",
        value_parser = parse_wish,
        allow_hyphen_values = true,
        required_unless_present = "free"
    )]
    pub(crate) size: Option<Wish>,
    /// Grow, if need be, until this much is free
    #[arg(long, value_name = "SIZE", value_parser = parse_free, conflicts_with = "size")]
    pub(crate) free: Option<Wish>,
    /// Change the image itself instead of a copy: a kill or crash can damage it
    #[arg(long)]
    pub(crate) in_place: bool,
    /// Say what would be done, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The image
    #[arg(value_name = "IMG", add = ArgValueCompleter::new(candidates::images))]
    pub(crate) image: PathBuf,
}

fn parse_wish(text: &str) -> Result<Wish, String> {
    match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(by), _) => parse_size(by).map(Wish::Grow),
        (_, Some(by)) => parse_size(by).map(Wish::Shrink),
        _ => parse_size(text).map(Wish::To),
    }
}

fn parse_free(text: &str) -> Result<Wish, String> {
    parse_size(text).map(Wish::Free)
}

pub(crate) fn resize(args: &ResizeArgs) -> Result<ExitCode, Failure> {
    let wish = args.size.or(args.free).ok_or_else(|| Failure::failed("no size: add -s SIZE or --free SIZE"))?;
    let request = Request { wish, in_place: args.in_place, dry_run: args.dry_run };
    let progress = Progress::new(args.image.display().to_string(), Unit::Bytes, "writing the rest to the disk");
    let result = resize::resize(&args.image, &request, &mut |stage| show(args, &progress, stage));
    progress.finish();
    let report = result.map_err(Failure::failed)?;
    report::give(args.json, &report, || lines(args, wish, &report))?;
    Ok(ExitCode::SUCCESS)
}

fn show(args: &ResizeArgs, progress: &Progress, stage: Stage) {
    match stage {
        Stage::Copying(done, total) => progress.at(done, total),
        Stage::Checking => progress.spin("checking"),
        Stage::Resizing => progress.spin("resizing"),
        Stage::InPlace => say::notice(&format!(
            "{}: is changed in place: a kill or a crash before the end can damage it",
            args.image.display()
        )),
    }
}

fn lines(args: &ResizeArgs, wish: Wish, report: &Report) -> Vec<String> {
    let states = [report::unlocked(&args.image, report.unlocked), report::repaired(&args.image, report.repaired)];
    let done = format!("{}: {}", args.image.display(), summary(args.dry_run, wish, report));
    states.into_iter().flatten().chain([done]).collect()
}

fn summary(dry_run: bool, wish: Wish, report: &Report) -> String {
    let free = Size(report.blocks_free.saturating_mul(report.block_size.into()));
    let (before, after) = (Size(report.before_bytes), Size(report.after_bytes));
    let verb = match (dry_run, report.after_bytes.cmp(&report.before_bytes)) {
        (_, std::cmp::Ordering::Equal) if matches!(wish, Wish::Free(_)) => {
            return format!("already has {free} free, nothing to do");
        }
        (_, std::cmp::Ordering::Equal) => return format!("already has {before}, nothing to do"),
        (false, std::cmp::Ordering::Greater) => "grown",
        (false, std::cmp::Ordering::Less) => "shrunk",
        (true, std::cmp::Ordering::Greater) => "would grow",
        (true, std::cmp::Ordering::Less) => "would shrink",
    };
    let about = if dry_run { "about " } else { "" };
    format!("{verb} from {before} to {after}, {about}{free} free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_makes_it_relative() {
        assert_eq!(parse_wish("20G"), Ok(Wish::To(20 << 30)));
        assert_eq!(parse_wish("+5G"), Ok(Wish::Grow(5 << 30)));
        assert_eq!(parse_wish("-512M"), Ok(Wish::Shrink(512 << 20)));
        assert!(parse_wish("--5G").is_err() && parse_wish("+").is_err() && parse_wish("").is_err());
    }
}
