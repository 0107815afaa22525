//! The warden's children, as /proc shows them.
//!
//! A child that has ended keeps its number until the warden has looked at it, so no other process can be meant by it. Deeper ones are
//! left alone: they become children when their parents are gone.

use crate::freestanding::path::number;
use crate::freestanding::process::Stat;
use crate::kernel;

/// What the kernel's `struct linux_dirent64` has before the name, and where in it its own length stands.
const HEAD: usize = 19;
const LENGTH: usize = 16;
/// The parent, by proc_pid_stat(5).
const PPID: usize = 4;

/// Calls `each` with the number and the name of every child.
pub(crate) fn children(mut each: impl FnMut(usize, &[u8])) {
    let Some(own) = kernel::number_in_proc() else { return };
    kernel::list(c"/proc", |entries| {
        let mut rest = entries;
        while let Some(length) =
            rest.get(LENGTH..LENGTH + 2).map(|bytes| usize::from(bytes[0]) | usize::from(bytes[1]) << 8)
        {
            let (entry, behind) = rest.split_at(length.clamp(HEAD, rest.len()));
            rest = behind;
            let name = entry.get(HEAD..).and_then(|name| name.split(|byte| *byte == 0).next()).unwrap_or_default();
            if let Some(process) = number(name) {
                look(process, own, &mut each);
            }
        }
    });
}

fn look(process: usize, parent: usize, each: &mut impl FnMut(usize, &[u8])) {
    let mut room = [0; 1024];
    if let Some(stat) = Stat::of(process, &mut room)
        && stat.field(PPID).and_then(number) == Some(parent)
    {
        each(process, stat.name);
    }
}

/// Whether one of them is a fuse2fs, or its guard, that may still be writing to its image.
pub(crate) fn writes() -> bool {
    let mut found = false;
    children(|_, name| found = found || name.starts_with(b"fuse2fs"));
    found
}
