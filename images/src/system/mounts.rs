//! What is mounted where, from proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Major and minor number of its file system's device.
    pub device: (u64, u64),
    /// Which directory of the file system is mounted.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// The kind of its file system as mount(8) names it: `ext4`, `nfs4`, `fuse.sshfs`.
    pub kind: String,
    /// What is mounted, in words of the file system's own: the path of a block device, or anything else.
    pub source: OsString,
    /// Options of the mount, then those of the file system.
    pub options: Vec<String>,
}

/// The mounts that this process sees, those on one point in the order in which they were made. None where /proc does not tell.
#[must_use]
pub fn read() -> Vec<Mount> {
    parse(&fs::read("/proc/self/mountinfo").unwrap_or_default())
}

/// The mounts in the text of a mountinfo. Lines that make no sense are left out.
#[must_use]
pub fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(mount).collect()
}

/// Reads `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG ...] - KIND SOURCE OPTIONS`.
fn mount(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let text = |at: usize| fields.get(at).map(|field| unescaped(field).to_string_lossy().into_owned());
    let device = text(2)?;
    let (major, minor) = device.split_once(':')?;
    let after = fields.iter().position(|field| *field == b"-")?;
    let lists = [fields.get(5), fields.get(after + 3)].into_iter().flatten();
    let options = lists.flat_map(|list| list.split(|&byte| byte == b','));
    Some(Mount {
        device: (major.parse().ok()?, minor.parse().ok()?),
        root: unescaped(fields.get(3)?).into(),
        point: unescaped(fields.get(4)?).into(),
        kind: text(after + 1)?,
        source: unescaped(fields.get(after + 2)?),
        options: options.map(|option| unescaped(option).to_string_lossy().into_owned()).collect(),
    })
}

/// Undoes the octal `\040` of spaces and their like.
fn unescaped(field: &[u8]) -> OsString {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..3).filter(|_| first == b'\\').and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => (bytes.push(byte), rest = tail.get(3..).unwrap_or_default()).1,
            None => (bytes.push(first), rest = tail).1,
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_blanks() {
        let mounts = parse(
            b"31 22 8:17 /dir /home/a\\040b rw,noatime master:3 shared:4 - xfs /dev/disk/a\\040b\\134 rw,x=a\\011b\n",
        );
        let expected = Mount {
            device: (8, 17),
            root: "/dir".into(),
            point: "/home/a b".into(),
            kind: "xfs".into(),
            source: "/dev/disk/a b\\".into(),
            options: ["rw", "noatime", "rw", "x=a\tb"].map(String::from).into(),
        };
        assert_eq!(mounts, [expected]);
    }

    #[test]
    fn lines_without_sense() {
        assert_eq!(parse(b"8:1\nnonsense\n\n1 2 3 4 5 6 - a b c\n1 2 8:1 / / rw shared:1\n"), []);
    }

    #[test]
    fn of_this_process() {
        assert!(read().iter().any(|mount| mount.kind == "proc" && mount.point == std::path::Path::new("/proc")));
    }
}
