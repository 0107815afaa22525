//! What the one who asks may do that others may not.
//!
//! On a disk the kernel takes set-user-ID away from a file that somebody writes to, unless he is root of the user namespace that the
//! file system belongs to. Above an overlay it cannot tell a server who writes, apart from the number of his process.

use std::fs;

/// The number of CAP_FSETID, by capabilities(7).
const FSETID: u32 = 4;

/// Whether this process, of the server's own user namespace, leaves set-user-ID and set-group-ID on a file that it writes to. What is
/// gone, or the kernel itself, does not.
pub(super) fn keeps_set_ids(pid: u32) -> bool {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/user")).ok();
    let process = pid.to_string();
    pid != 0
        && namespace(&process).is_some_and(|theirs| namespace("self") == Some(theirs))
        && fs::read_to_string(format!("/proc/{process}/status")).is_ok_and(|status| has(&status, FSETID))
}

fn has(status: &str, capability: u32) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set >> capability & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_the_capability_keeps_them() {
        assert!(has("Name:\tx\nCapEff:\t0000000000000010\n", FSETID));
        assert!(!has("CapEff:\t000001ffffffffef\n", FSETID) && !has("CapPrm:\t0000000000000010\n", FSETID));
        assert!(!keeps_set_ids(0) && !keeps_set_ids(u32::MAX));
        let own = fs::read_to_string("/proc/self/status").unwrap();
        assert_eq!(keeps_set_ids(std::process::id()), has(&own, FSETID));
    }
}
