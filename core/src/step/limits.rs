//! Limits (`ulimit`) that a process of ours takes over: the keeper of a step, for all that it starts, those that the step's tasks run
//! with; and what runs one of Slurm's commands those of its caller, which the command takes along to the nodes.
//!
//! Slurm gives a task the limits that its user had where the step was submitted, as far as the site wants that. They travel in
//! variables, which slurmstepd takes away from a task when it sets them (`set_user_limits`, ulimits.c): only the soft limits, and
//! never more than slurmd's own. The keeper does the same to itself, as the user: root reads no variable of a user's.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use condatainer_images::system::process::Process;

const PREFIX: &str = "SLURM_RLIMIT_";
/// As Slurm (slurm_rlimits_info.c) and as proc_pid_limits(5) calls them. Those are left out that nobody but root can set and that
/// Slurm does not take along.
const NAMES: [(&str, &str, Resource); 10] = [
    ("CPU", "Max cpu time", Resource::Cpu),
    ("FSIZE", "Max file size", Resource::Fsize),
    ("DATA", "Max data size", Resource::Data),
    ("STACK", "Max stack size", Resource::Stack),
    ("CORE", "Max core file size", Resource::Core),
    ("RSS", "Max resident set", Resource::Rss),
    ("NPROC", "Max processes", Resource::Nproc),
    ("NOFILE", "Max open files", Resource::Nofile),
    ("MEMLOCK", "Max locked memory", Resource::Memlock),
    ("AS", "Max address space", Resource::As),
];
/// In front of a value that `--propagate` asks for.
const ASKED_FOR: char = 'U';

/// Gives this process the limits that tasks get. One that the system does not allow stays what it is, as it does for them.
pub fn take_over_submitted(variable: impl Fn(&str) -> Option<String>) {
    for (name, _, resource) in NAMES {
        let value = variable(&format!("{PREFIX}{name}"));
        if let Some(limit) = value.and_then(|value| lowered(&value, getrlimit(resource).maximum)) {
            let _ = setrlimit(resource, limit);
        }
    }
}

/// Gives this process the limits of another. One that the system does not allow stays what it is.
pub(super) fn take_over_from(other: &Process) {
    for (resource, limit) in listed(&other.limits()) {
        let _ = setrlimit(resource, limit);
    }
}

/// `None` for what is no value of Slurm's, or more than is allowed and explicitly asked for.
fn lowered(value: &str, maximum: Option<u64>) -> Option<Rlimit> {
    let (digits, is_asked_for) = value.strip_prefix(ASKED_FOR).map_or((value, false), |digits| (digits, true));
    let number: u64 = digits.parse().ok()?;
    // RLIM_INFINITY is the highest number.
    let (asked, most) = (number, maximum.unwrap_or(u64::MAX));
    let current = if is_asked_for { Some(asked).filter(|asked| *asked <= most)? } else { asked.min(most) };
    Some(Rlimit { current: Some(current).filter(|current| *current != u64::MAX), maximum })
}

/// The limits in a text of proc_pid_limits(5).
fn listed(text: &str) -> Vec<(Resource, Rlimit)> {
    let line = |(_, name, resource): &(&str, &str, Resource)| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        let mut words = rest.split_ascii_whitespace();
        let [current, maximum] = [number(words.next()?)?, number(words.next()?)?];
        Some((*resource, Rlimit { current, maximum }))
    };
    NAMES.iter().filter_map(line).collect()
}

/// `Some(None)` is no limit.
fn number(word: &str) -> Option<Option<u64>> {
    if word == "unlimited" { Some(None) } else { word.parse().ok().map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_a_process() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max stack size            8388608              unlimited            bytes     \n\
            Max open files            1024                 4096                 files     \n";
        let of = |current, maximum| Rlimit { current, maximum };
        assert_eq!(
            listed(text),
            [(Resource::Stack, of(Some(8_388_608), None)), (Resource::Nofile, of(Some(1024), Some(4096)))]
        );
    }

    #[test]
    fn our_own_are_understood() {
        assert_eq!(listed(&Process::this().limits()).len(), NAMES.len());
    }

    #[test]
    fn as_slurmstepd_does() {
        let soft = |value: &str, maximum| lowered(value, maximum).map(|limit| limit.current);
        assert_eq!(soft("1024", None), Some(Some(1024)));
        assert_eq!(soft("U1024", Some(4096)), Some(Some(1024)));
        assert_eq!(soft("18446744073709551615", None), Some(None));
        assert_eq!(soft("18446744073709551615", Some(4096)), Some(Some(4096)));
        assert_eq!(soft("8192", Some(4096)), Some(Some(4096)));
        assert_eq!(
            (soft("U8192", Some(4096)), soft("", None), soft("-1", None), soft("1x", None)),
            (None, None, None, None)
        );
        assert_eq!(lowered("1", Some(2)).unwrap().maximum, Some(2));
    }
}
