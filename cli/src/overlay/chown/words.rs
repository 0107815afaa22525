//! A chown's report in words: one line each for what was done, what can no longer be told apart, and what stays out of reach.

use std::path::{Path, PathBuf};

use condatainer_formats::ext::Ids;
use condatainer_images::verbs::chown::Report;

use crate::overlay::chown::args::ChownArgs;
use crate::say::report;

/// Ids or directories that are named in a line; the JSON report has more.
const EXAMPLES: usize = 3;

pub(crate) fn lines(args: &ChownArgs, report: &Report) -> Vec<String> {
    let states = [report::unlocked(&args.image, report.unlocked), report::repaired(&args.image, report.replayed)];
    let own = [Some(summary(args, report)), merged(args, report), unwritable(args, report)];
    let own = own.into_iter().flatten().map(|line| format!("{}: {line}", args.image.display()));
    states.into_iter().flatten().chain(own).collect()
}

fn summary(args: &ChownArgs, report: &Report) -> String {
    let Report { changed, scanned, before, after, .. } = report;
    let (did, belongs) = if args.dry_run { ("would change", "would belong") } else { ("changed", "belongs") };
    let of = format!("{did} {changed} of {scanned} files and directories");
    if before == after {
        return format!("{of}; the image belongs to {} as before", owner(*after));
    }
    format!("{of}; the image {belongs} to {} instead of {}", owner(*after), owner(*before))
}

fn owner(ids: Ids) -> String {
    if ids == Ids::ROOT { "root (starts use fakeroot)".into() } else { ids.to_string() }
}

fn merged(args: &ChownArgs, report: &Report) -> Option<String> {
    let kinds = [("users", &report.merged_uids), ("groups", &report.merged_gids)];
    let kinds: Vec<String> =
        kinds.iter().filter(|(_, ids)| !ids.is_empty()).map(|(kind, ids)| format!("{kind} {}", listed(ids))).collect();
    let (merge, cannot) = if args.dry_run { ("would become", "could not") } else { ("become", "cannot") };
    let all = kinds.join(", and ");
    (!kinds.is_empty()).then(|| format!("{all} {merge} one: another chown {cannot} separate them again"))
}

/// "0 and 1000", "0, 5, 6 and 12 more".
fn listed(ids: &[u32]) -> String {
    let mut words: Vec<String> = ids.iter().map(u32::to_string).collect();
    let last = match words.len() {
        0..=EXAMPLES => words.pop().unwrap_or_default(),
        many => {
            words.truncate(EXAMPLES);
            format!("{} more", many - EXAMPLES)
        }
    };
    format!("{} and {last}", words.join(", "))
}

fn unwritable(args: &ChownArgs, report: &Report) -> Option<String> {
    let count = report.unwritable_directories;
    let named: Vec<String> = report.unwritable_examples.iter().take(EXAMPLES).map(|path| inside(path)).collect();
    let more = if count > named.len() as u64 { ", ..." } else { "" };
    let (directories, keep, they) = match count {
        0 => return None,
        1 => ("directory", "keeps", "it"),
        _ => ("directories", "keep", "them"),
    };
    let cure = cure(args);
    let named = named.join(", ");
    Some(format!(
        "{count} {directories} {keep} another owner or group ({named}{more}), as apt's own: only fakeroot writes there; {cure} to move {they} too, which another chown cannot undo exactly"
    ))
}

/// As a container sees the path.
fn inside(path: &Path) -> String {
    let shown = path.strip_prefix("upper").map_or_else(|_| path.to_owned(), |below| PathBuf::from("/").join(below));
    shown.to_string_lossy().escape_debug().to_string()
}

/// What to say in the same command, so that nothing is left.
fn cure(args: &ChownArgs) -> &'static str {
    match args.from {
        Some(_) => "use --all instead of --from",
        None => "add --all",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: ChownArgs,
    }

    fn args(words: &[&str]) -> ChownArgs {
        Line::parse_from([&["chown"], words, &["env.img"]].concat()).args
    }

    const USER: Ids = Ids { uid: 1000, gid: 100 };

    fn report(before: Ids, after: Ids) -> Report {
        Report {
            scanned: 8,
            changed: 4,
            before,
            after,
            merged_uids: Vec::new(),
            merged_gids: Vec::new(),
            unwritable_directories: 0,
            unwritable_examples: Vec::new(),
            walked: false,
            replayed: false,
            unlocked: false,
        }
    }

    #[test]
    fn what_was_done_and_what_would_be() {
        assert_eq!(
            lines(&args(&[]), &report(Ids::ROOT, USER)),
            [
                "env.img: changed 4 of 8 files and directories; the image belongs to 1000:100 instead of root (starts use fakeroot)"
            ]
        );
        assert_eq!(
            lines(&args(&["--dry-run", "--root"]), &report(USER, Ids::ROOT)),
            [
                "env.img: would change 4 of 8 files and directories; the image would belong to root (starts use fakeroot) instead of 1000:100"
            ]
        );
    }

    #[test]
    fn use_in_both_modes_is_put_right_and_the_merge_is_told() {
        let mixed = Report { merged_uids: vec![0, 1000], merged_gids: vec![0, 100], ..report(USER, USER) };
        assert_eq!(
            lines(&args(&[]), &mixed),
            [
                "env.img: changed 4 of 8 files and directories; the image belongs to 1000:100 as before",
                "env.img: users 0 and 1000, and groups 0 and 100 become one: another chown cannot separate them again",
            ]
        );
        let many = Report { merged_uids: (0..9).collect(), ..report(USER, USER) };
        assert!(lines(&args(&["--dry-run"]), &many)[1].contains("users 0, 1, 2 and 6 more would become one"));
    }

    #[test]
    fn directories_out_of_reach_come_with_the_cure() {
        let one = Report {
            unwritable_directories: 1,
            unwritable_examples: vec!["upper/var/mail".into()],
            ..report(USER, USER)
        };
        let line = |words: &[&str]| lines(&args(words), &one).pop().unwrap();
        assert!(
            line(&[]).contains("(/var/mail), as apt's own: only fakeroot writes there; add --all to"),
            "{}",
            line(&[])
        );
        assert!(line(&["--groups"]).contains("; add --all to"));
        assert!(line(&["--from", "1:2"]).contains("; use --all instead of --from to"));
        let paths = ["upper", "upper/a\n", "work/x", "upper/c"].map(PathBuf::from).into();
        let many = Report { unwritable_directories: 9, unwritable_examples: paths, ..report(USER, USER) };
        assert!(lines(&args(&[]), &many)[1].contains("(/, /a\\n, work/x, ...)"), "{:?}", lines(&args(&[]), &many));
    }
}
