//! The limits that a step's tasks run with (`ulimit`), for the keeper and all that it starts.
//!
//! Slurm gives a task the limits that its user had where the step was submitted, as far as the site wants that. They travel in
//! variables, which slurmstepd takes away from a task when it sets them (`set_user_limits`, ulimits.c): only the soft limits, and
//! never more than slurmd's own. The keeper does the same to itself, as the user: root reads no variable of a user's.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const PREFIX: &str = "SLURM_RLIMIT_";
/// Slurm's names of them (slurm_rlimits_info.c).
const NAMES: [(&str, Resource); 10] = [
    ("CPU", Resource::Cpu),
    ("FSIZE", Resource::Fsize),
    ("DATA", Resource::Data),
    ("STACK", Resource::Stack),
    ("CORE", Resource::Core),
    ("RSS", Resource::Rss),
    ("NPROC", Resource::Nproc),
    ("NOFILE", Resource::Nofile),
    ("MEMLOCK", Resource::Memlock),
    ("AS", Resource::As),
];
/// In front of a value that `--propagate` asks for.
const ASKED_FOR: char = 'U';

/// Gives this process the limits that tasks get. One that the system does not allow stays what it is, as it does for them.
pub fn take_over(variable: impl Fn(&str) -> Option<String>) {
    for (name, resource) in NAMES {
        let value = variable(&format!("{PREFIX}{name}"));
        if let Some(limit) = value.and_then(|value| lowered(&value, getrlimit(resource).maximum)) {
            let _ = setrlimit(resource, limit);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

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
