//! apt where fakeroot knows root alone, because the user has no subuid range.
//!
//! `dpkg` gets along there: the `fakeroot` command makes it believe in the ids that it gives to files. But apt's own directories in
//! a base that root has built belong to apt's user, whom the kernel does not let anybody into, and what apt says about that
//! ("Could not open file", "Release file") leads nobody to the cause.

use std::path::PathBuf;

use crate::plan::{Command, Plan};
use crate::run::error::Ended;
use condatainer_images::overlay::lower::Lower;
use condatainer_images::system::fakeroot::Fakeroot;

/// What apt ends with after an error, and so a shell in which it was the last command.
const FAILED: i32 = 100;

const PROGRAMS: [&str; 3] = ["apt", "apt-get", "aptitude"];

/// Where apt puts what is not complete yet: directories of its own user.
const OWN_DIRECTORIES: [&[u8]; 2] = [b"var/lib/apt/lists/partial", b"var/cache/apt/archives/partial"];

/// What to do about an apt that has failed for that reason; `None` where it has not, or for another.
#[must_use]
pub fn advice(plan: &Plan, ended: &Ended) -> Option<String> {
    let image = plan.holds.as_ref().filter(|_| plan.fakeroot == Some(Fakeroot::RootMapped))?;
    let mut stack = plan.below(image);
    stack.push(image.clone());
    (may_be_apt(&plan.command, ended) && is_locked_out(&stack)).then(|| {
        "you have no subuid range, so only root exists inside, and apt's own directories belong to its user there: ask your \
         administrator for a range in /etc/subuid and /etc/subgid, or let apt make others: \
         apt -o Dir::State::lists=apt -o Dir::Cache::archives=apt ..."
            .into()
    })
}

fn may_be_apt(command: &Command, ended: &Ended) -> bool {
    match (command, ended) {
        (Command::Argv(argv), Ended::Exited(code)) => *code != 0 && argv.iter().any(|word| names_apt(word)),
        (Command::Shell(_), Ended::Exited(code)) => *code == FAILED,
        _ => false,
    }
}

/// Whether a word is apt, or a text for a shell that has it.
fn names_apt(word: &str) -> bool {
    word.split(|c: char| c.is_whitespace() || ";&|()/".contains(c)).any(|part| PROGRAMS.contains(&part))
}

fn is_locked_out(stack: &[PathBuf]) -> bool {
    let Ok(lower) = Lower::open(stack) else { return false };
    OWN_DIRECTORIES
        .iter()
        .any(|path| matches!(lower.get(path), Ok(Some(found)) if found.ids.uid != 0 && !found.host_ids))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_in_a_command() {
        let argv = |words: &[&str]| Command::Argv(words.iter().map(|word| (*word).into()).collect());
        let (failed, done) = (Ended::Exited(FAILED), Ended::Exited(0));
        assert!(may_be_apt(&argv(&["apt", "update"]), &failed));
        assert!(may_be_apt(&argv(&["sh", "-c", "set -e; /usr/bin/apt-get update"]), &Ended::Exited(1)));
        assert!(!may_be_apt(&argv(&["pip", "install", "capture"]), &failed));
        assert!(!may_be_apt(&argv(&["apt", "update"]), &done));
        assert!(!may_be_apt(&argv(&["apt", "update"]), &Ended::Signaled(2)));
        assert!(may_be_apt(&Command::Shell(None), &failed) && !may_be_apt(&Command::Shell(None), &Ended::Exited(1)));
    }
}
