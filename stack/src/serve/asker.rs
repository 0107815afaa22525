//! Who asks for what this thread does.

use std::cell::Cell;
use std::fs;

/// SIGKILL in a set of signals. Every signal that ends a process becomes one.
const KILL: u64 = 1 << (libc::SIGKILL - 1);

thread_local! {
    static ASKER: Cell<u32> = const { Cell::new(0) };
}

/// This thread has a request of a process, or of the kernel itself (0).
pub(super) fn set(pid: u32) {
    ASKER.set(pid);
}

/// Whether who asks was killed. The kernel lets him wait for the answer all the same.
pub(crate) fn is_killed() -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", ASKER.get()));
    status.is_ok_and(|status| has_pending(&status, KILL))
}

/// What ends all of its threads is there for each of them.
fn has_pending(status: &str, signals: u64) -> bool {
    let pending = status.lines().find_map(|line| line.strip_prefix("SigPnd:"));
    pending.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & signals != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_killed_has_the_signal_still() {
        assert!(has_pending("Name:\tx\nSigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n", KILL));
        assert!(!has_pending("SigPnd:\t0000000000004000\nShdPnd:\t0000000000000100\n", KILL));
        set(std::process::id());
        assert!(!is_killed());
        set(0);
        assert!(!is_killed());
    }
}
