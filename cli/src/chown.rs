//! `condatainer overlay chown`: gives an image to another owner.

use std::fmt::Write;
use std::process::ExitCode;

use condatainer_core::chown::{self, Report, Request};
use condatainer_core::ext::Ids;
use condatainer_core::litter;
use condatainer_core::user::Caller;

use crate::args::ChownArgs;
use crate::exit::Failure;
use crate::progress::Progress;
use crate::say;

/// Directories named in the note about those that stay unwritable; the JSON report has more.
const EXAMPLES: usize = 3;

pub(crate) fn chown(args: &ChownArgs) -> Result<ExitCode, Failure> {
    let request = request(args)?;
    litter::remove_on_signals().map_err(Failure::failed)?;
    let progress = Progress::new("inodes");
    let report =
        chown::chown(&args.image, &request, &mut |done, total| progress.at(done, total)).map_err(Failure::failed)?;
    progress.finish();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(Failure::failed)?);
    } else {
        lines(args, &report).iter().for_each(|line| say::notice(line));
    }
    Ok(ExitCode::SUCCESS)
}

fn request(args: &ChownArgs) -> Result<Request, Failure> {
    let caller = Caller::current().map_err(Failure::failed)?;
    let caller = Ids { uid: caller.uid, gid: caller.gid };
    let user = args.uid.zip(args.gid).map_or(caller, |(uid, gid)| Ids { uid, gid });
    Ok(Request {
        from: args.from.map(|(uid, gid)| Ids { uid, gid }),
        all: args.all,
        groups: args.groups,
        paths: args.path.clone(),
        dry_run: args.dry_run,
        replay: true,
        ..Request::new(if args.root { Ids::ROOT } else { user }, user)
    })
}

fn lines(args: &ChownArgs, report: &Report) -> Vec<String> {
    let image = args.image.display();
    let mut lines = Vec::new();
    if report.unlocked {
        lines.push(format!("{image}: its file system has no locks: be sure that nobody uses it"));
    }
    if report.replayed {
        lines.push(format!("{image}: was not cleanly unmounted: repaired first (e2fsck -p)"));
    }
    lines.push(summary(args, report));
    lines.extend(merged(report));
    lines.extend(unwritable(report));
    lines
}

fn summary(args: &ChownArgs, report: &Report) -> String {
    let (image, changed, scanned) = (args.image.display(), report.changed, report.scanned);
    if args.dry_run {
        return format!("{image}: would change {changed} of {scanned} inodes");
    }
    format!(
        "{image}: changed {changed} of {scanned} inodes, upper belongs to {}:{}",
        report.after.uid, report.after.gid
    )
}

fn merged(report: &Report) -> Option<String> {
    if report.merged_uids.is_empty() && report.merged_gids.is_empty() {
        return None;
    }
    let mut line = String::from("ids that cannot be told apart any more, so that the way back is not exact:");
    for (kind, ids) in [("users", &report.merged_uids), ("groups", &report.merged_gids)] {
        if !ids.is_empty() {
            let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
            let _ = write!(line, " {kind} {}", ids.join(", "));
        }
    }
    Some(line)
}

fn unwritable(report: &Report) -> Option<String> {
    let examples: Vec<String> = report
        .unwritable_examples
        .iter()
        .take(EXAMPLES)
        .map(|path| path.to_string_lossy().escape_debug().to_string())
        .collect();
    (report.unwritable_directories > 0).then(|| {
        format!(
            "directories that still belong to somebody else, so that you cannot write there without fakeroot: {} ({}); --groups or --all gives them over",
            report.unwritable_directories,
            examples.join(", ")
        )
    })
}
