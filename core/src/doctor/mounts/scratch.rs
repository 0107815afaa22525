//! Where what `:tmp` and `--tmp` write is kept, and whether there is room. What lies on a disk lies in `tmpdir`, which has a check of its own.

use crate::config::{Mounts, Scratch};
use crate::doctor::check::Check;
use crate::machine::facts::{MountFacts, ScratchFacts};

const ID: &str = "scratch";
/// Less room than this is used up by the first package that somebody installs.
const ROOM: u64 = 1 << 30;
const ON_DISK: &str = "set scratch = \"disk\"";

pub(super) fn judge(scratch: &ScratchFacts, mounts: &MountFacts) -> Check {
    let not_ours = match mounts.asked {
        Mounts::Engine => Some("the engine mounts the layers".into()),
        _ => mounts.obstacle().or_else(|| mounts.no_overlay.clone()),
    };
    match (scratch.asked, not_ours) {
        (Scratch::Disk, None) => Check::ok(ID, "disk: what :tmp writes is a file without a name in tmpdir"),
        (Scratch::Disk, Some(_)) => Check::ok(ID, "disk: what :tmp writes is a directory in tmpdir"),
        (Scratch::Memory(_), Some(why)) => Check::failed(
            ID,
            format!("memory: :tmp and --tmp do not start, since only condatainer's own mounts write there: {why}"),
            ON_DISK,
        ),
        (Scratch::Memory(size), None) => room(size, scratch.memory),
    }
}

/// `given` by the configuration; `allowed` is what a start may have, 0 where that is unknown.
fn room(given: Option<u64>, allowed: u64) -> Check {
    let mib = |bytes: u64| bytes >> 20;
    if allowed == 0 {
        return Check::ok(ID, "memory; how much a start may have here is unknown");
    }
    let at_most = given.unwrap_or(allowed / 2);
    let found = match given {
        None => format!("memory, at most {} MiB: half of what a start may have here", mib(at_most)),
        Some(_) => {
            format!("memory, at most {} MiB of the {} MiB that a start may have here", mib(at_most), mib(allowed))
        }
    };
    if given.is_some_and(|given| given > allowed) {
        return Check::warning(
            ID,
            format!(
                "{found}: who writes more than there is loses the job instead of getting 'No space left on device'"
            ),
            "set scratch = \"memory\", which takes half, or a smaller size",
        );
    }
    if at_most < ROOM {
        let cure = format!("have jobs ask for more memory, or {ON_DISK}");
        return Check::warning(ID, format!("{found}, which is little"), cure);
    }
    Check::ok(ID, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    fn of(asked: Scratch, memory: u64, mounts: Mounts, no_overlay: Option<&str>) -> Check {
        let mounts = MountFacts {
            asked: mounts,
            origin: None,
            place: "/p".into(),
            why_not: None,
            no_overlay: no_overlay.map(Into::into),
            no_directory: None,
            subordinate: None,
        };
        judge(&ScratchFacts { asked, origin: None, memory }, &mounts)
    }

    #[test]
    fn how_much_there_is() {
        let memory = |size, allowed| of(Scratch::Memory(size), allowed, Mounts::Auto, None);
        let half = memory(None, 8 << 30);
        assert_eq!((half.status, half.cure), (Status::Ok, None));
        assert_eq!(half.found, "memory, at most 4096 MiB: half of what a start may have here");
        assert_eq!(
            memory(Some(2 << 30), 8 << 30).found,
            "memory, at most 2048 MiB of the 8192 MiB that a start may have here"
        );
        let much = memory(Some(9 << 30), 8 << 30);
        assert!(much.status == Status::Warning && much.found.ends_with("'No space left on device'"), "{much:?}");
        for (size, allowed) in [(None, 512 << 20), (Some(1 << 20), 8 << 30)] {
            let little = memory(size, allowed);
            assert!(little.status == Status::Warning && little.found.ends_with("which is little"), "{little:?}");
        }
        for size in [None, Some(2 << 30)] {
            let unknown = memory(size, 0);
            assert!(unknown.status == Status::Ok && unknown.found.ends_with("is unknown"), "{unknown:?}");
        }
    }

    #[test]
    fn who_can_keep_it_there() {
        let memory = Scratch::Memory(None);
        for (mounts, no_overlay, status) in [
            (Mounts::Auto, None, Status::Ok),
            (Mounts::Auto, Some("no overlay"), Status::Failed),
            (Mounts::Engine, None, Status::Failed),
        ] {
            assert_eq!(of(memory, 8 << 30, mounts, no_overlay).status, status);
            assert_eq!(of(Scratch::Disk, 0, mounts, no_overlay).status, Status::Ok);
        }
        assert!(of(memory, 8 << 30, Mounts::Auto, Some("no overlay")).found.ends_with(": no overlay"));
        assert!(of(Scratch::Disk, 0, Mounts::Own, None).found.contains("without a name in tmpdir"));
    }
}
