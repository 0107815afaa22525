//! The line that matters out of what a failed tool has printed.

use std::process::Output;

use super::open_file::GIVEN_FILE;

/// What e2fsck and resize2fs say after the reason, about names that mean nothing to a user.
const ADVICE: [&str; 3] =
    ["UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY", "Please run 'e2fsck", "after the aborted resize operation"];

/// Says `FATAL ERROR:` before the reason.
const UNSQUASHFS: &str = "unsquashfs";

/// Why the tool of this name failed: in its own words, else how it ended. What e2fsprogs print has names of files in it, which are
/// anybody's, so no words in the middle of a line count there.
pub(crate) fn reason(tool: &str, output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].join(&b'\n');
    let text = String::from_utf8_lossy(&text);
    let found = if tool == UNSQUASHFS { fatal(&text).map(str::to_owned) } else { last_message(tool, &text) };
    let line = found.unwrap_or_else(|| output.status.to_string());
    line.chars().filter(|c| !c.is_control()).collect()
}

/// What is called fatal, else the last line.
fn fatal(text: &str) -> Option<&str> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines().find_map(|line| line.strip_prefix("FATAL ERROR:")).or_else(|| lines().next_back()).map(str::trim)
}

/// The line with a reason of the system, else what is called fatal: so do the squashfs tools.
pub(crate) fn stated<'a>(lines: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let of_system = lines.clone().find(|line| line.contains("failed because")).map(str::trim);
    let fatal = || lines.clone().find_map(|line| line.split_once("FATAL ERROR:").map(|(_, why)| why.trim()));
    of_system.or_else(fatal)
}

/// What the tool says beyond its own name and version: the last message, with the "while doing what" that follows on a line of
/// its own.
fn last_message(tool: &str, text: &str) -> Option<String> {
    let lines: Vec<&str> =
        text.lines().map(|line| without_names(tool, line)).filter(|line| is_message(tool, line)).collect();
    match lines.as_slice() {
        [.., what, doing] if doing.trim().starts_with("while ") => Some(format!("{} {}", what.trim(), doing.trim())),
        [.., last] => Some(last.trim().to_owned()),
        [] => None,
    }
}

/// The tool's name in front of a line, and the file's, which e2fsck may write twice.
fn without_names<'a>(tool: &str, line: &'a str) -> &'a str {
    let mut line = line;
    while let Some(rest) = [tool, GIVEN_FILE].iter().find_map(|name| line.strip_prefix(name)?.strip_prefix(':')) {
        line = rest.strip_prefix(' ').unwrap_or(rest);
    }
    line
}

/// Not the version, not what e2fsck adds in parentheses or indented to the message before, not its advice.
fn is_message(tool: &str, line: &str) -> bool {
    let what = line.trim();
    let is_addition = (line.starts_with(char::is_whitespace) && !what.starts_with("while ")) || what.starts_with('(');
    let is_version = what.strip_prefix(tool).is_some_and(|rest| rest.starts_with(" 1."));
    !what.is_empty() && !is_addition && !is_version && !ADVICE.iter().any(|advice| what.contains(advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_comes_with_what_was_being_done() {
        let said = |stderr: &str| {
            let output = Output { status: Default::default(), stdout: Vec::new(), stderr: stderr.into() };
            reason("mke2fs", &output)
        };
        let full = "mke2fs 1.47.0 (5-Feb-2023)\nmke2fs: No space left on device \n\twhile trying to create journal\n";
        assert_eq!(said(full), "No space left on device while trying to create journal");
        assert_eq!(said("mke2fs: Permission denied\n"), "Permission denied");
        let manual = "/proc/self/fd/0: /proc/self/fd/0: File /d (inode #13)\n  has 1 block\n/proc/self/fd/0: \t<metadata>\n\n\n/proc/self/fd/0: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.\n\t(i.e., without -a or -p options)\n";
        assert_eq!(said(manual), "File /d (inode #13)");
        assert_eq!(said(""), "exit status: 0");
        assert_eq!(said("File /a FATAL ERROR: b (inode #13)\nmke2fs: no room\n"), "no room", "a file's name");
    }

    #[test]
    fn what_unsquashfs_calls_fatal() {
        let said = |stderr: &str| {
            let output = Output { status: Default::default(), stdout: b"x\n".to_vec(), stderr: stderr.into() };
            reason(UNSQUASHFS, &output)
        };
        assert_eq!(
            said("Read on filesystem failed because EOF\nFATAL ERROR: File system corruption\n"),
            "File system corruption"
        );
        assert_eq!(said("\nlast\n"), "last");
    }

    #[test]
    fn what_is_stated_comes_first() {
        let full =
            ["Write on output file failed because No space left on device", "FATAL ERROR: Failed to write to output"];
        assert_eq!(stated(full.into_iter()), Some(full[0]));
        assert_eq!(stated(["Warning: x", "FATAL ERROR: no memory"].into_iter()), Some("no memory"));
        assert_eq!(stated(["x"].into_iter()), None);
    }
}
