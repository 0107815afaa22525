//! `condatainer overlay resize`: makes an image larger or smaller.

use std::process::ExitCode;

use condatainer_images::verbs::resize::{self, Report, Request, Stage, Wish};
use indicatif::BinaryBytes;

use crate::args::ResizeArgs;
use crate::exit::Failure;
use crate::progress::Progress;
use crate::{report, say};

pub(crate) fn resize(args: &ResizeArgs) -> Result<ExitCode, Failure> {
    let wish = args.size.or(args.free).ok_or_else(|| Failure::failed("no size: add -s SIZE or --free SIZE"))?;
    let request = Request { wish, in_place: args.in_place, dry_run: args.dry_run };
    let progress = Progress::bytes();
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
    let free = BinaryBytes(report.blocks_free.saturating_mul(report.block_size.into()));
    let (before, after) = (BinaryBytes(report.before_bytes), BinaryBytes(report.after_bytes));
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
