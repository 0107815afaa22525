//! The limits of another process (`ulimit`), which Slurm's commands take along to the nodes.

use rustix::process::{Resource, Rlimit, setrlimit};

use condatainer_images::system::process::Process;

/// As proc_pid_limits(5) calls them; those are left out that nobody but root can set and that Slurm does not take along.
const NAMES: [(&str, Resource); 10] = [
    ("Max cpu time", Resource::Cpu),
    ("Max file size", Resource::Fsize),
    ("Max data size", Resource::Data),
    ("Max stack size", Resource::Stack),
    ("Max core file size", Resource::Core),
    ("Max resident set", Resource::Rss),
    ("Max processes", Resource::Nproc),
    ("Max open files", Resource::Nofile),
    ("Max locked memory", Resource::Memlock),
    ("Max address space", Resource::As),
];

/// Gives this process the limits of another. One that the system does not allow stays what it is.
pub(super) fn take_over(other: &Process) {
    for (resource, limit) in parse(&other.limits()) {
        let _ = setrlimit(resource, limit);
    }
}

fn parse(text: &str) -> Vec<(Resource, Rlimit)> {
    let line = |(name, resource): &(&str, Resource)| {
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
    fn lines() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max stack size            8388608              unlimited            bytes     \n\
            Max open files            1024                 4096                 files     \n";
        let found = parse(text);
        let of = |current, maximum| Rlimit { current, maximum };
        assert_eq!(
            found,
            [(Resource::Stack, of(Some(8_388_608), None)), (Resource::Nofile, of(Some(1024), Some(4096)))]
        );
    }

    #[test]
    fn our_own_are_understood() {
        assert_eq!(parse(&Process::this().limits()).len(), NAMES.len());
    }
}
