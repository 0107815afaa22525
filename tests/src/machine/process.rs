//! The process table, read from /proc: whose child is whose, so that what we started can be ended, all of it and nothing
//! else.

use std::collections::HashSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// What one process is to others.
#[derive(Clone, Copy, Debug)]
struct Process {
    pid: i32,
    parent: i32,
    session: i32,
    is_zombie: bool,
    /// Its processor time and that of the children that it has waited for, in clock ticks.
    ticks: u64,
}

/// The processor time of this process and of all that it has started, directly or not: of those that live, and of those that somebody has
/// waited for. A cluster's first process waits for those whose parents are gone.
#[must_use]
pub fn processor_time() -> Duration {
    let ticks_per_second =
        sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| ticks.try_into().ok()).unwrap_or(100);
    let table = table();
    let mut tree = HashSet::from([i32::try_from(std::process::id()).unwrap_or_default()]);
    loop {
        let is_new = |process: &&Process| tree.contains(&process.parent) && !tree.contains(&process.pid);
        let new: Vec<i32> = table.iter().filter(is_new).map(|process| process.pid).collect();
        if new.is_empty() {
            break;
        }
        tree.extend(new);
    }
    let ticks: u64 = table.iter().filter(|process| tree.contains(&process.pid)).map(|process| process.ticks).sum();
    Duration::from_millis(ticks * 1000 / ticks_per_second)
}

/// Follows single children down from `pid` to the last one: through unshare to what it runs.
pub(crate) fn last_in_chain(pid: i32) -> i32 {
    let table = table();
    let child_of = |parent: i32| table.iter().find(|process| process.parent == parent).map(|process| process.pid);
    std::iter::successors(Some(pid), |pid| child_of(*pid)).last().unwrap_or(pid)
}

/// Ends `pid`, all below it and all in sessions that these opened: asks first, so that srun can cancel its step, and
/// kills after two seconds.
pub(crate) fn end_tree(pid: i32) {
    let mut sessions = HashSet::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        let members = tree(pid, &mut sessions);
        if members.is_empty() {
            return;
        }
        let is_asking = start.elapsed() < Duration::from_secs(2);
        let signal = if is_asking { Signal::SIGTERM } else { Signal::SIGKILL };
        for member in members {
            let _gone_already = kill(Pid::from_raw(member), signal);
        }
        sleep(Duration::from_millis(if is_asking { 200 } else { 20 }));
    }
}

/// The living members of a tree; `sessions` remembers the sessions of those whose parent is gone by now.
fn tree(root: i32, sessions: &mut HashSet<i32>) -> Vec<i32> {
    let table = table();
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let own_session = table.iter().find(|process| process.pid == own).map(|process| process.session);
    let mut members = HashSet::from([root]);
    loop {
        let is_member = |process: &&Process| members.contains(&process.parent) || sessions.contains(&process.session);
        let new: Vec<_> = table.iter().filter(is_member).filter(|process| !members.contains(&process.pid)).collect();
        if new.is_empty() {
            break;
        }
        members.extend(new.iter().map(|process| process.pid));
        // Session 0 is one that the host cannot name.
        sessions.extend(new.iter().map(|process| process.session).filter(|id| *id != 0 && Some(*id) != own_session));
    }
    let is_alive = |process: &&Process| members.contains(&process.pid) && !process.is_zombie;
    table.iter().filter(is_alive).map(|process| process.pid).collect()
}

fn table() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    // "self" is a process, too, and has a number besides.
    let is_number = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
    entries.filter(is_number).filter_map(|entry| parse(&fs::read_to_string(entry.path().join("stat")).ok()?)).collect()
}

/// Parses /proc/PID/stat: the name stands in parentheses and may itself contain any character.
fn parse(stat: &str) -> Option<Process> {
    let pid = stat.split(' ').next()?.parse().ok()?;
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let is_zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    // proc_pid_stat(5): utime, stime, cutime and cstime are the fields 14 to 17, the session is the sixth.
    let ticks = fields.skip(7).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Process { pid, parent, session, is_zombie, ticks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_no_trap() {
        let process = parse("12 (a) b (c) S 7 12 9 0 -1 4194560 1 2 3 4 100 20 3000 4 20 0 1 0 5").unwrap();
        assert_eq!((process.pid, process.parent, process.session, process.ticks), (12, 7, 9, 3124));
        assert!(parse("12 (cut").is_none());
    }

    #[test]
    fn a_tree_is_ended_with_those_that_left_the_session_and_ignore_the_request() {
        let text = "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 1000 & sleep 1000' & sleep 1000";
        let mut child = Command::new("sh").args(["-c", text]).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let (mut sessions, deadline) = (HashSet::new(), Instant::now() + Duration::from_secs(60));
        while tree(pid, &mut sessions).len() < 4 {
            assert!(Instant::now() < deadline, "not all of it has started");
            sleep(Duration::from_millis(10));
        }
        end_tree(pid);
        child.wait().unwrap();
        assert!(table().iter().all(|process| process.is_zombie || !sessions.contains(&process.session)));
    }
}
