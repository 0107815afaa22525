//! From our words to those of the FUSE protocol, and back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, INodeNo, Request, TimeOrNow};
use nix::errno::Errno;
use nix::sys::stat::{major, makedev, minor};

use super::super::tree::{Entry, Listed, Moment, New};
use crate::layer::Time;
use condatainer_formats::ext::{FileType, Ids};

/// Preferred size of I/O, which the kernel also takes for the size of a block.
const BLOCK: u32 = 4096;

/// What the kernel is told of a node.
pub(super) fn attributes(entry: &Entry) -> FileAttr {
    let says = &entry.attributes;
    FileAttr {
        ino: INodeNo(entry.node),
        size: says.size,
        blocks: says.blocks,
        atime: to_system(says.accessed),
        mtime: to_system(says.modified),
        ctime: to_system(says.changed),
        crtime: UNIX_EPOCH,
        kind: kind(says.kind),
        perm: says.mode & 0o7777,
        nlink: says.links,
        uid: says.ids.uid,
        gid: says.ids.gid,
        rdev: device_number(says.device),
        blksize: BLOCK,
        flags: 0,
    }
}

/// The protocol knows no type that means nothing; such a thing shows as a socket, with which nobody can do anything.
pub(super) fn kind(kind: FileType) -> fuser::FileType {
    match kind {
        FileType::Fifo => fuser::FileType::NamedPipe,
        FileType::CharDevice => fuser::FileType::CharDevice,
        FileType::Directory => fuser::FileType::Directory,
        FileType::BlockDevice => fuser::FileType::BlockDevice,
        FileType::Regular => fuser::FileType::RegularFile,
        FileType::Symlink => fuser::FileType::Symlink,
        FileType::Socket | FileType::Unknown => fuser::FileType::Socket,
    }
}

/// The kernel's 32 bits of a device number (`new_encode_dev`), which are the lower ones of the C library's.
fn device_number((high, low): (u32, u32)) -> u32 {
    (makedev(u64::from(high & 0xFFF), u64::from(low & 0xF_FFFF)) & 0xFFFF_FFFF) as u32
}

/// Major and minor number from the kernel's 32 bits.
pub(super) fn device(number: u32) -> (u32, u32) {
    let part = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
    (part(major(number.into())), part(minor(number.into())))
}

/// What `request` asks to be made.
pub(super) fn new(request: &Request, kind: FileType, mode: u32, umask: u32) -> New<'static> {
    let ids = Ids { uid: request.uid(), gid: request.gid() };
    New { kind, mode: permissions(mode), umask: permissions(umask), ids, device: (0, 0), target: &[] }
}

pub(super) fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

pub(super) fn error(code: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(code as i32)
}

fn to_system(time: Time) -> SystemTime {
    let whole = Duration::from_secs(time.seconds.unsigned_abs());
    let seconds = if time.seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    let part = Duration::from_nanos(u64::from(time.nanoseconds.min(999_999_999)));
    seconds.and_then(|seconds| seconds.checked_add(part)).unwrap_or(UNIX_EPOCH)
}

/// Of a time before 1970 fuser (0.18) adds the kernel's nanoseconds in the wrong direction, so they come out as they went in.
pub(super) fn from_system(time: SystemTime) -> Time {
    let (before, length) = match time.duration_since(UNIX_EPOCH) {
        Ok(length) => (false, length),
        Err(error) => (true, error.duration()),
    };
    let seconds = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
    Time { seconds: if before { -seconds } else { seconds }, nanoseconds: length.subsec_nanos() }
}

pub(super) fn moment(time: TimeOrNow) -> Moment {
    match time {
        TimeOrNow::Now => Moment::Now,
        TimeOrNow::SpecificTime(time) => Moment::At(from_system(time)),
    }
}

/// An entry that gives no node: `.` and `..`, which the kernel does not take for one, and what cannot be read.
pub(super) fn only_a_name(listed: &Listed<'_>) -> FileAttr {
    let number = if matches!(listed.name, b"." | b"..") { listed.node } else { 0 };
    FileAttr { ino: INodeNo(number), kind: kind(listed.kind), ..missing() }
}

/// What is said of a name that does not exist.
pub(super) fn missing() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: fuser::FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_devices_keep_their_value() {
        for (seconds, nanoseconds) in [(0, 0), (1, 999_999_999), (-1, 0), (4_102_444_800, 5)] {
            let time = Time { seconds, nanoseconds };
            assert_eq!(from_system(to_system(time)), time);
        }
        let fusers = UNIX_EPOCH - Duration::new(2, 800_000_000);
        assert_eq!(from_system(fusers), Time { seconds: -2, nanoseconds: 800_000_000 });
        for seconds in [i64::MIN, i64::MAX] {
            to_system(Time { seconds, nanoseconds: u32::MAX });
        }
        for number in [(0, 0), (259, 70_000), (0xFFF, 0xF_FFFF), (1, 3)] {
            assert_eq!(device(device_number(number)), number);
        }
        assert_eq!(device_number((259, 70_000)), 70_000 & 0xFF | 259 << 8 | (70_000 & !0xFF) << 12);
    }
}
