//! `condatainer overlay check`: what is wrong with an image, and the repairs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use condatainer_images::system::user::Caller;
use condatainer_images::verbs::check::{self, Finding, Fix, Report, Request, Severity};

use crate::complete::candidates;
use crate::say;
use crate::say::failure::{Code, Failure};
use crate::say::progress::{Progress, Unit};
use crate::say::report;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Repair: what loses nothing, or with =force the rest too
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "safe")]
    pub(crate) fix: Option<FixArg>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The image
    #[arg(value_name = "IMG", add = ArgValueCompleter::new(candidates::images))]
    pub(crate) image: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FixArg {
    /// Only what loses nothing
    Safe,
    /// Everything, on a copy; files may end in lost+found or lose their content. The image is kept as IMG.damaged
    Force,
}

/// Names in lost+found that are said; the JSON report has more.
const NAMES: usize = 5;

pub(crate) fn check(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let fix = match args.fix {
        None => Fix::No,
        Some(FixArg::Safe) => Fix::Safe,
        Some(FixArg::Force) => Fix::Force,
    };
    let request = Request { fix, caller: Caller::current().map_err(Failure::failed)? };
    let progress = Progress::new(args.image.display().to_string(), Unit::Percent, "looking at what was found");
    let report = check::check(&args.image, &request, &mut |done, total| progress.at(done, total));
    progress.finish();
    let report = report.map_err(Failure::failed)?;
    report.e2fsck.iter().for_each(|line| say::detail(&format!("e2fsck: {line}")));
    report::give(args.json, &report, || lines(args, &report))?;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(Code::Failed as u8) })
}

fn lines(args: &CheckArgs, report: &Report) -> Vec<String> {
    let image = args.image.display();
    let mut lines = Vec::from_iter(report::unlocked(&args.image, report.unlocked));
    if report.readers {
        lines.push(format!("{image}: somebody is reading it: it was only looked at"));
    }
    lines.extend(report.findings.iter().map(|finding| line(args, finding)));
    lines.extend(lost(args, report));
    if let Some(kept) = &report.kept {
        lines.push(format!(
            "{image}: as it was before, it is kept as {}; remove that when nothing is missing",
            kept.display()
        ));
    }
    lines.push(format!("{image}: {}", verdict(report)));
    lines
}

fn line(args: &CheckArgs, finding: &Finding) -> String {
    let (image, message) = (args.image.display(), &finding.message);
    match (finding.fixed, &finding.cure) {
        (true, _) => format!("{image}: {message}: fixed"),
        (false, Some(cure)) => format!("{image}: {message}: {cure}"),
        (false, None) => format!("{image}: {message}"),
    }
}

fn lost(args: &CheckArgs, report: &Report) -> Option<String> {
    let names: Vec<&str> = report.lost_and_found.iter().take(NAMES).map(String::as_str).collect();
    let more = if report.lost_and_found.len() > NAMES { " …" } else { "" };
    (!names.is_empty()).then(|| format!("{}: in lost+found: {}{more}", args.image.display(), names.join(" ")))
}

fn verdict(report: &Report) -> String {
    let errors = || report.findings.iter().filter(|finding| finding.severity == Severity::Error);
    match (errors().filter(|finding| finding.is_left()).count(), errors().count()) {
        (0, 0) => format!("a sound {}", report.kind),
        (0, _) => "all of this was fixed".into(),
        (1, _) => "1 problem remains".into(),
        (left, _) => format!("{left} problems remain"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use condatainer_images::verbs::check::Code as Kind;

    fn report(findings: Vec<Finding>) -> Report {
        Report {
            path: "e.img".into(),
            kind: "ext3",
            ok: false,
            findings,
            readers: false,
            unlocked: false,
            other_owners: None,
            lost_and_found: Vec::new(),
            kept: None,
            e2fsck: Vec::new(),
        }
    }

    fn finding(severity: Severity, fixed: bool) -> Finding {
        let (message, cure) = ("it is so".into(), Some("cure it".into()));
        Finding { code: Kind::NotClean, severity, count: 1, message, cure, fixed }
    }

    #[test]
    fn the_verdict_counts_what_is_left() {
        let of = |findings: &[(Severity, bool)]| {
            verdict(&report(findings.iter().map(|(severity, fixed)| finding(*severity, *fixed)).collect()))
        };
        assert_eq!(of(&[]), "a sound ext3");
        assert_eq!(of(&[(Severity::Note, false)]), "a sound ext3");
        assert_eq!(of(&[(Severity::Error, true)]), "all of this was fixed");
        assert_eq!(of(&[(Severity::Error, false), (Severity::Error, true)]), "1 problem remains");
        assert_eq!(of(&[(Severity::Error, false); 2]), "2 problems remain");
    }

    #[test]
    fn a_line_ends_with_what_to_do() {
        let args = CheckArgs { fix: None, json: false, image: "e.img".into() };
        assert_eq!(line(&args, &finding(Severity::Error, false)), "e.img: it is so: cure it");
        assert_eq!(line(&args, &finding(Severity::Error, true)), "e.img: it is so: fixed");
    }
}
