//! Whether a process that is to end waits for a server of ours that does nothing any more.
//!
//! Two looks some seconds apart say it. A killed process may take long for other reasons, as with hundreds of gigabytes of memory,
//! a GPU, or a file on a network that does not answer. And a busy server is slow, but its answers come. So neither alone is enough: the
//! same process must wait for an answer in both looks, and the server must have done nothing between them.

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use condatainer_images::system::process::Process;

/// How often a thread may wake up between two looks that does nothing else: some waits look up once a second.
const IDLE: u64 = 8;
/// A process that waits for a request's answer sleeps in one of these kernel functions, by fs/fuse/dev.c; which of them has a name of
/// its own depends on the compiler.
const WAITS: [&str; 2] = ["request_wait_answer", "fuse_"];

/// States in which a thread does nothing, whatever it is asked: stopped, or in the middle of something of the kernel's.
const HELD: [char; 3] = ['T', 't', 'D'];
const STOPPED: [char; 2] = ['T', 't'];

/// What keeps a server from answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// It was stopped, and will not go on by itself.
    Stopped,
    /// It waits for a disk, which may be gone or only slow: on a network's file system that looks like sleep.
    Blocked,
}

/// What was seen at one time.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Those that were killed and wait for an answer.
    waiting: Vec<Pid>,
    server: Vec<Thread>,
}

/// A thread of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Thread {
    id: Pid,
    state: char,
    /// How often it was switched to another, of its own will or not.
    switches: u64,
}

impl Look {
    /// At these processes, and at this server of theirs.
    pub(crate) fn at(inside: &[Process], server: u32) -> Self {
        let waiting: Vec<Pid> = inside.iter().filter(|one| waits_for_its_end(one)).filter_map(Process::pid).collect();
        let is_asked = !waiting.is_empty();
        let server = is_asked.then(|| Process::numbered(server).threads().filter_map(|one| thread(&one)).collect());
        Self { waiting, server: server.unwrap_or_default() }
    }

    /// What keeps the server from answering somebody who has waited since an earlier look.
    pub(crate) fn stuck_since(&self, earlier: &Self) -> Option<Stuck> {
        let is_waiting = self.waiting.iter().any(|pid| earlier.waiting.contains(pid));
        is_waiting.then(|| does_nothing(&earlier.server, &self.server)).flatten()
    }
}

/// One of its threads is stopped or blocked, or all of them sleep.
fn does_nothing(before: &[Thread], now: &[Thread]) -> Option<Stuck> {
    let earlier = |thread: &Thread| before.iter().find(|one| one.id == thread.id).copied();
    let rests = |thread: &Thread| {
        earlier(thread).is_some_and(|earlier| {
            let is_running = earlier.state == 'R' || thread.state == 'R';
            !is_running && thread.switches.saturating_sub(earlier.switches) < IDLE
        })
    };
    let is_blocked = |thread: &Thread| {
        rests(thread) && HELD.contains(&thread.state) && earlier(thread).is_some_and(|e| HELD.contains(&e.state))
    };
    if now.iter().any(|thread| rests(thread) && STOPPED.contains(&thread.state)) {
        Some(Stuck::Stopped)
    } else {
        (now.iter().any(is_blocked) || now.iter().all(rests)).then_some(Stuck::Blocked)
    }
}

/// It was killed, and one of its threads waits for an answer.
fn waits_for_its_end(process: &Process) -> bool {
    is_being_killed(process) && process.threads().any(|thread| waits_for_an_answer(thread.state(), &thread.waits_in()))
}

/// The kernel does not tell everybody where a process sleeps, and says 0 then.
fn waits_for_an_answer(state: Option<char>, function: &str) -> bool {
    let is_hidden = function.is_empty() || function == "0";
    state == Some('D') && (is_hidden || WAITS.iter().any(|name| function.contains(name)))
}

/// By proc_pid_status(5): SIGKILL is pending for the process or its first thread.
fn is_being_killed(process: &Process) -> bool {
    const SIGKILL: u64 = 1 << (Signal::SIGKILL as u64 - 1);
    ["SigPnd", "ShdPnd"].iter().any(|set| process.signals(set) & SIGKILL != 0)
}

fn thread(process: &Process) -> Option<Thread> {
    let switches = ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"];
    let switches = switches.iter().filter_map(|line| process.status(line)?.parse::<u64>().ok()).sum();
    Some(Thread { id: process.pid()?, state: process.state()?, switches })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn look(waiting: &[i32], server: &[(i32, char, u64)]) -> Look {
        let thread = |(id, state, switches): &(i32, char, u64)| Thread {
            id: Pid::from_raw(*id),
            state: *state,
            switches: *switches,
        };
        Look {
            waiting: waiting.iter().copied().map(Pid::from_raw).collect(),
            server: server.iter().map(thread).collect(),
        }
    }

    #[test]
    fn a_server_that_does_nothing_is_stuck_and_a_busy_one_is_not() {
        type Server<'a> = &'a [(i32, char, u64)];
        let cases: [(Server, Server, Option<Stuck>); 8] = [
            // Stopped; blocked, while another thread works; all asleep, with somebody's request.
            (&[(1, 'S', 5), (2, 'S', 9)], &[(1, 'T', 6), (2, 'T', 9)], Some(Stuck::Stopped)),
            (&[(1, 'D', 5), (2, 'S', 9)], &[(1, 'D', 8), (2, 'S', 900)], Some(Stuck::Blocked)),
            (&[(1, 'S', 5), (2, 'S', 9)], &[(1, 'S', 5), (2, 'S', 9)], Some(Stuck::Blocked)),
            // It answers others; it computes; it waits for a disk again and again; a thread is new.
            (&[(1, 'S', 5), (2, 'S', 9)], &[(1, 'S', 5), (2, 'S', 900)], None),
            (&[(1, 'S', 5), (2, 'R', 9)], &[(1, 'S', 5), (2, 'R', 9)], None),
            (&[(1, 'D', 5), (2, 'S', 9)], &[(1, 'D', 500), (2, 'S', 9)], None),
            (&[(1, 'S', 5)], &[(1, 'S', 5), (2, 'S', 1)], None),
            (&[(1, 'R', 5), (2, 'D', 9)], &[(1, 'S', 7), (3, 'D', 9)], None),
        ];
        for (before, now, stuck) in cases {
            let found = look(&[7], now).stuck_since(&look(&[7], before));
            assert_eq!(found, stuck, "{before:?} {now:?}");
        }
    }

    #[test]
    fn a_server_that_nobody_waits_for_is_let_be() {
        let stopped = [(1, 'T', 5)];
        for (before, now) in [(vec![], vec![]), (vec![7], vec![]), (vec![], vec![7]), (vec![7], vec![8])] {
            assert_eq!(look(&now, &stopped).stuck_since(&look(&before, &stopped)), None, "{before:?} {now:?}");
        }
    }

    #[test]
    fn who_is_slow_for_another_reason_does_not_wait_for_an_answer() {
        assert!(waits_for_an_answer(Some('D'), "request_wait_answer"));
        assert!(waits_for_an_answer(Some('D'), "__fuse_simple_request"));
        assert!(waits_for_an_answer(Some('D'), "0") && waits_for_an_answer(Some('D'), ""));
        assert!(!waits_for_an_answer(Some('D'), "rpc_wait_bit_killable"));
        assert!(!waits_for_an_answer(Some('R'), "0") && !waits_for_an_answer(Some('S'), "fuse_dev_do_read"));
        assert!(!waits_for_an_answer(None, ""));
    }

    #[test]
    fn a_stopped_process_is_seen_as_such() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, Signal::SIGSTOP).unwrap();
        let process = Process::numbered(pid);
        while process.state() != Some('T') {
            std::thread::yield_now();
        }
        let threads = || process.threads().filter_map(|one| thread(&one)).collect::<Vec<_>>();
        let (before, now) = (threads(), threads());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            before.len() == 1 && before[0].switches > 0 && does_nothing(&before, &now) == Some(Stuck::Stopped),
            "{before:?} {now:?}"
        );
    }
}
