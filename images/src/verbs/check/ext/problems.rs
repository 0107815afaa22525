//! What e2fsck says, sorted into kinds. Pure: lines in, counts out.
//!
//! Its exit code alone would say "something"; its lines are many, and their words have changed little in twenty years.

use std::collections::BTreeMap;
use std::path::Path;

use crate::verbs::check::finding::{Code, Finding, Severity, fix, force};

/// Words of a complaint, in lower case, and the kind it belongs to; the first that fits counts.
const WORDS: &[(&str, Code)] = &[
    ("checksum", Code::WrongChecksums),
    ("bitmap differences", Code::StaleBitmaps),
    ("padding at end of", Code::StaleBitmaps),
    ("free blocks count wrong", Code::WrongCounts),
    ("free inodes count wrong", Code::WrongCounts),
    ("directories count wrong", Code::WrongCounts),
    ("quota", Code::WrongCounts),
    ("ref count is", Code::WrongLinkCounts),
    ("i_size is", Code::WrongSizes),
    ("i_blocks is", Code::WrongSizes),
    ("has zero dtime", Code::OrphanedInodes),
    ("orphan", Code::OrphanedInodes),
    ("deleted/unused inode", Code::DanglingNames),
    ("unattached", Code::UnattachedFiles),
    ("unconnected directory", Code::UnattachedFiles),
    ("multiply-claimed block(s) in inode", Code::SharedBlocks),
    ("journal", Code::DamagedJournal),
    ("directory corrupted", Code::DamagedDirectories),
    ("entry '", Code::DamagedDirectories),
    ("directory inode", Code::DamagedDirectories),
    ("htree", Code::DamagedDirectories),
    ("'..' in", Code::DamagedDirectories),
    ("root inode", Code::DamagedDirectories),
    ("lost+found", Code::DamagedDirectories),
    ("superblock", Code::DamagedSuperblock),
    ("group descriptor", Code::DamagedSuperblock),
    ("is not in group", Code::DamagedSuperblock),
    ("inode", Code::DamagedInodes),
];

/// Lines that only accompany complaints.
const ASIDES: &[&str] = &[
    "pass ",
    "connect to /lost+found?",
    "running additional passes",
    "restarting e2fsck",
    "skipping journal recovery",
    "mod time",
    "containing multiply-claimed",
    "with multiply-claimed",
    "shared with",
];

/// Complaints by kind.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Problems {
    counts: BTreeMap<Code, u64>,
    /// A line that belongs to no kind; it counts if a question follows.
    unknown: bool,
}

impl Problems {
    /// Takes one line into account.
    pub(crate) fn meet(&mut self, line: &str) {
        let line = line.trim().to_lowercase();
        let asks = ["? no", "? yes"].iter().any(|answer| line.ends_with(answer));
        let complaint = !line.is_empty() && !ASIDES.iter().any(|aside| line.contains(aside));
        // A question alone ("Fix? no") ends the complaint before it.
        let bare_question = asks && !line.contains(['.', ':']);
        match WORDS.iter().find(|(words, _)| complaint && !bare_question && line.contains(words)) {
            Some((_, code)) => {
                *self.counts.entry(*code).or_default() += 1;
                self.unknown = false;
            }
            None if asks => {
                if self.unknown || !bare_question {
                    *self.counts.entry(Code::OtherDamage).or_default() += 1;
                }
                self.unknown = false;
            }
            None => self.unknown |= complaint,
        }
    }

    /// Makes sure that a bad verdict has a reason.
    pub(crate) fn settle(&mut self, uncorrected: bool) {
        if uncorrected && self.counts.is_empty() {
            self.counts.insert(Code::OtherDamage, 1);
        }
    }

    /// What repairs all of it: `e2fsck -p` ends at the first thing that it leaves alone.
    pub(crate) fn cure(&self, image: &Path) -> String {
        let harmless = self.counts.keys().all(|code| is_harmless(*code));
        if harmless { fix(image) } else { force(image) }
    }

    /// One finding for each kind.
    pub(crate) fn findings(&self, image: &Path) -> Vec<Finding> {
        let cure = self.cure(image);
        let finding = |(&code, &count): (&Code, &u64)| Finding {
            code,
            severity: Severity::Error,
            count,
            message: message(code, count),
            cure: Some(cure.clone()),
            fixed: false,
        };
        self.counts.iter().map(finding).collect()
    }
}

/// Whether `e2fsck -p` repairs this kind, which it does only where nothing can be lost.
fn is_harmless(code: Code) -> bool {
    matches!(
        code,
        Code::StaleBitmaps
            | Code::WrongCounts
            | Code::WrongLinkCounts
            | Code::WrongSizes
            | Code::OrphanedInodes
            | Code::DanglingNames
    )
}

fn message(code: Code, count: u64) -> String {
    let what = match code {
        Code::StaleBitmaps => "bitmaps of what is free are stale",
        Code::WrongCounts => "counts of what is free are wrong",
        Code::WrongLinkCounts => "files have a wrong count of names",
        Code::WrongSizes => "files have a wrong size or count of blocks",
        Code::OrphanedInodes => "deleted files were not freed",
        Code::DanglingNames => "names lead to no file",
        Code::UnattachedFiles => "files have lost their names",
        Code::SharedBlocks => "files share blocks with others, so that the content of one is lost (-v names them)",
        Code::DamagedDirectories => "directory entries are damaged",
        Code::DamagedInodes => "inodes are damaged",
        Code::DamagedJournal => "complaints about the journal",
        Code::DamagedSuperblock => "complaints about the superblock or the group descriptors",
        Code::WrongChecksums => "checksums do not match",
        _ => "other complaints of e2fsck (-v shows them)",
    };
    format!("{what}: {count}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Code, u64)> {
        let mut problems = Problems::default();
        text.lines().for_each(|line| problems.meet(line));
        problems.counts.into_iter().collect()
    }

    const QUIET: &str = "Pass 1: Checking inodes, blocks, and sizes\nPass 2: Checking directory structure\nPass 3: Checking directory connectivity\nPass 4: Checking reference counts\nPass 5: Checking group summary information\n/proc/self/fd/0: 314/16384 files (0.0% non-contiguous), 2965/16384 blocks\n";

    #[test]
    fn a_clean_run_says_nothing() {
        assert_eq!(kinds(QUIET), []);
    }

    #[test]
    fn a_killed_fuse2fs() {
        let text = "Block bitmap differences:  -(9000--9019)\nFix? no\n\nFree blocks count wrong for group #0 (13419, counted=13399).\nFix? no\n\nFree blocks count wrong (1, counted=13399).\nFix? no\n\nInode bitmap differences:  +259\nFix? no\n\nDeleted inode 281 has zero dtime.  Fix? no\n";
        assert_eq!(kinds(text), [(Code::StaleBitmaps, 2), (Code::WrongCounts, 2), (Code::OrphanedInodes, 1)]);
    }

    #[test]
    fn blocks_claimed_twice() {
        let text = "Running additional passes to resolve blocks claimed by more than one inode...\nPass 1B: Rescanning for multiply-claimed blocks\nMultiply-claimed block(s) in inode 15: 2931\nMultiply-claimed block(s) in inode 303: 2931\nPass 1C: Scanning directories for inodes with multiply-claimed blocks\n(There are 2 inodes containing multiply-claimed blocks.)\n\nFile /upper/a/10 (inode #15, mod time Wed Nov 25 03:10:04 2026)\n  has 1 multiply-claimed block(s), shared with 1 file(s):\n\t/upper/a/9 (inode #303, mod time Wed Nov 25 03:10:04 2026)\nClone multiply-claimed blocks? no\n\nDelete file? no\n";
        assert_eq!(kinds(text), [(Code::SharedBlocks, 2)]);
        let mut problems = Problems::default();
        text.lines().for_each(|line| problems.meet(line));
        let cures: Vec<_> = problems.findings(Path::new("e.img")).into_iter().filter_map(|f| f.cure).collect();
        assert_eq!(cures[0], "condatainer overlay check --fix=force e.img");
    }

    #[test]
    fn files_without_a_name() {
        let text = "Unconnected directory inode 13 (was in /upper)\nConnect to /lost+found? no\n\n'..' in ... (13) is /upper (12), should be <The NULL inode> (0).\nFix? no\n\nInode 13 ref count is 2, should be 1.  Fix? no\n\nUnattached inode 26\nConnect to /lost+found? no\n";
        let expected = [(Code::WrongLinkCounts, 1), (Code::UnattachedFiles, 2), (Code::DamagedDirectories, 1)];
        assert_eq!(kinds(text), expected);
    }

    #[test]
    fn what_is_not_known_counts_when_a_question_follows() {
        assert_eq!(kinds("The moon is full.\nFix? no\n"), [(Code::OtherDamage, 1)]);
        assert_eq!(kinds("The moon is full.  Howl? no\n"), [(Code::OtherDamage, 1)]);
        assert_eq!(kinds("The moon is full.\n"), []);
        let mut problems = Problems::default();
        problems.settle(true);
        assert_eq!(problems.counts.len(), 1);
    }
}
