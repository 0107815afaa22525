//! How much memory a start may have: the machine's, or less where a cgroup on the way up from here has a limit, as Slurm's of a job do.

use std::fs;
use std::path::PathBuf;

use condatainer_images::system::mounts::{self, Mount};

/// In bytes; 0 where nothing is known.
pub(super) fn allowed() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    of_machine(&machine).unwrap_or(0).min(limit(&cgroups, &mounts::read()).unwrap_or(u64::MAX))
}

/// The line `MemTotal:  16384 kB`.
fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// The smallest limit of a cgroup in proc_pid_cgroup(5) and of those above it, as far as they are mounted.
fn limit(cgroups: &str, mounts: &[Mount]) -> Option<u64> {
    let group = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let is_of_memory = controllers.split(',').any(|name| name == "memory");
        let (kind, file) = match controllers {
            "" => ("cgroup2", "memory.max"),
            _ if is_of_memory => ("cgroup", "memory.limit_in_bytes"),
            _ => return None,
        };
        let is_it = |mount: &&Mount| {
            mount.kind == kind && (controllers.is_empty() || mount.options.iter().any(|option| option == "memory"))
        };
        mounts.iter().filter(is_it).find_map(|mount| limit_of(mount, path, file))
    };
    cgroups.lines().filter_map(group).min()
}

/// The same of one cgroup, of a hierarchy that is mounted there.
fn limit_of(mount: &Mount, cgroup: &str, file: &str) -> Option<u64> {
    let inside = PathBuf::from(cgroup).strip_prefix(&mount.root).ok()?.to_owned();
    let dir = mount.point.join(inside);
    let up = dir.ancestors().take_while(|dir| dir.starts_with(&mount.point));
    // Without a limit it says `max`, or a number that no machine has.
    up.filter_map(|dir| fs::read_to_string(dir.join(file)).ok()?.trim().parse::<u64>().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_smallest_limit_on_the_way_up() {
        let dir = tempfile::tempdir().unwrap();
        let (two, one) = (dir.path().join("two"), dir.path().join("one"));
        let write = |top: &Path, path: &str, text: &str| {
            let path = top.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(&two, "memory.max", "9\n");
        write(&two, "job_7/memory.max", "4096\n");
        write(&two, "job_7/step_0/memory.max", "max\n");
        write(&one, "memory.limit_in_bytes", "9223372036854771712\n");
        write(&one, "slurm/job_7/memory.limit_in_bytes", "8192\n");
        // Of the old hierarchy a part is mounted, as in a container.
        let table = format!(
            "1 0 0:1 / {0} rw - cgroup2 cgroup2 rw\n2 0 0:2 /x {1} rw - cgroup cpu rw,cpu\n3 0 0:3 /x {1} rw - cgroup memory rw,memory\n",
            two.display(),
            one.display()
        );
        let mounts = mounts::parse(table.as_bytes());
        let of = |cgroups: &str| limit(cgroups, &mounts);
        assert_eq!(of("0::/job_7/step_0/user/task_0\n"), Some(9));
        fs::remove_file(two.join("memory.max")).unwrap();
        assert_eq!(of("0::/job_7/step_0/user/task_0\n"), Some(4096));
        assert_eq!(of("7:cpu,memory:/x/slurm/job_7/step_0\n3:cpuset:/x\n0::/other\n"), Some(8192));
        assert_eq!((of("7:memory:/y\n0::/other\n"), of(""), of("nonsense\n")), (None, None, None));
    }

    #[test]
    fn a_machine_has_some() {
        assert_eq!(of_machine("MemFree: 1 kB\nMemTotal:       16384 kB\n"), Some(16 << 20));
        assert!(allowed() > 0);
    }
}
