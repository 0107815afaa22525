//! Everything that can be in a file system, made by the kernel through a mount of it.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use nix::fcntl::{AT_FDCWD, FallocateFlags, fallocate};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat};
use nix::sys::time::TimeSpec;

/// Fills the directory `upper` of a mounted file system, and `many` names into one directory of it.
pub fn fill(root: &Path, many: usize) {
    let upper = root.join("upper");
    fs::create_dir_all(upper.join("a/b/c/d/e/f/g/h/i/j/k/l")).unwrap();
    fs::create_dir_all(root.join("work/work")).unwrap();
    contents(&upper);
    kinds(&upper);
    attributes(&upper);
    times(&upper);
    let crowd = upper.join("crowd");
    fs::create_dir(&crowd).unwrap();
    for number in 0..many {
        File::create(crowd.join(format!("{number:06}-{}", "n".repeat(number % 60)))).unwrap();
    }
    // Gaps among the names.
    (0..many).step_by(7).for_each(|number| {
        fs::remove_file(crowd.join(format!("{number:06}-{}", "n".repeat(number % 60)))).unwrap();
    });
    fs::create_dir(upper.join("families")).unwrap();
    (0..300).for_each(|number| fs::create_dir(upper.join(format!("families/{number}"))).unwrap());
}

/// Files whose blocks are laid out in every way.
fn contents(upper: &Path) {
    let noise = |length: usize, seed: u64| {
        let mut bytes = vec![0; length];
        fastrand::Rng::with_seed(seed).fill(&mut bytes);
        bytes
    };
    let write = |name: &str, bytes: &[u8]| fs::write(upper.join(name), bytes).unwrap();
    write("empty", b"");
    write("a/b/c/d/e/f/g/h/i/j/k/l/deep", b"deep");
    for length in [1, 60, 61, 100, 156, 1023, 1024, 1025, 4096, 4097, 12 * 1024, 12 * 1024 + 1, 48 * 1024 + 1] {
        write(&format!("length-{length}"), &noise(length, length as u64));
    }
    write("large", &noise(9_000_001, 1));
    // Direct blocks, and one, two and three levels of indirect ones, for blocks of 1, 2 and 4 KiB.
    let levels = File::create(upper.join("levels")).unwrap();
    for offset in [0, 11 << 10, 40 << 10, 60 << 10, 270 << 10, 1 << 20, 5 << 20, 66 << 20, 520 << 20, 4200 << 20] {
        levels.write_all_at(&noise(5000, offset), offset).unwrap();
    }
    levels.set_len((4200 << 20) + 100_000).unwrap();
    let odd = File::create(upper.join("odd-end")).unwrap();
    odd.write_all_at(b"x", 1_000_003).unwrap();
    File::create(upper.join("hole")).unwrap().set_len(777_777).unwrap();
    // Each extent stands alone, so that the tree has levels.
    let scattered = File::create(upper.join("scattered")).unwrap();
    for number in 0..1500_u64 {
        scattered.write_all_at(&noise(4096, number), number * 3 * 4096).unwrap();
    }
    let prepared = File::create(upper.join("prepared")).unwrap();
    // Where the file system cannot do it, it is a hole.
    let _ = fallocate(&prepared, FallocateFlags::empty(), 0, 3 << 20);
    let _ = fallocate(&prepared, FallocateFlags::FALLOC_FL_KEEP_SIZE, 8 << 20, 1 << 20);
    for offset in [100_000, 1 << 20, 2_500_000] {
        prepared.write_all_at(&noise(70_000, offset), offset).unwrap();
    }
    let punched = OpenOptions::new().write(true).create_new(true).open(upper.join("punched")).unwrap();
    punched.write_all_at(&noise(2 << 20, 3), 0).unwrap();
    punched.sync_all().unwrap();
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let _ = fallocate(&punched, punch, 300_000, 500_000);
}

fn kinds(upper: &Path) {
    let mode = Mode::from_bits_truncate(0o640);
    for (name, kind, device) in [
        ("whiteout", SFlag::S_IFCHR, makedev(0, 0)),
        ("old-device", SFlag::S_IFCHR, makedev(10, 200)),
        ("new-device", SFlag::S_IFBLK, makedev(259, 300_001)),
        ("large-major", SFlag::S_IFCHR, makedev(4000, 3)),
        ("fifo", SFlag::S_IFIFO, 0),
        ("socket", SFlag::S_IFSOCK, 0),
    ] {
        mknod(&upper.join(name), kind, mode, device).unwrap();
    }
    for length in [1, 58, 59, 60, 61, 200, 1000] {
        symlink("t".repeat(length), upper.join(format!("link-{length}"))).unwrap();
    }
    fs::hard_link(upper.join("large"), upper.join("a/b/hard")).unwrap();
    fs::hard_link(upper.join("fifo"), upper.join("a/fifo-too")).unwrap();
    fs::hard_link(upper.join("link-61"), upper.join("a/link-too")).unwrap();
    let long: Vec<u8> = (0..255_u8).map(|i| if matches!(i, 0 | b'/') { b'x' } else { i }).collect();
    fs::write(upper.join(OsStr::from_bytes(&long)), "any bytes").unwrap();
    for (name, mode) in [("suid", 0o6755), ("nothing", 0), ("sticky", 0o1777)] {
        fs::write(upper.join(name), name).unwrap();
        fs::set_permissions(upper.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    for (name, uid, gid) in [("nothing", 65_535, 65_536), ("link-58", 1_234_567, 2_000_000_000), ("a", 1000, 100)] {
        lchown(upper.join(name), Some(uid), Some(gid)).unwrap();
    }
}

/// An ACL in the kernel's form.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let entries = entries
        .iter()
        .flat_map(|(tag, perm, id)| [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat());
    2_u32.to_le_bytes().into_iter().chain(entries).collect()
}

fn attributes(upper: &Path) {
    let set = |path: &str, name: &str, value: &[u8]| {
        xattr::set(upper.join(path), name, value).unwrap_or_else(|e| panic!("{path} {name}: {e}"));
    };
    for name in ["some", "many", "big", "listed", "capable"] {
        fs::write(upper.join(name), name.repeat(50)).unwrap();
    }
    set("some", "user.small", b"1");
    set("some", "user.empty", b"");
    set("some", "trusted.overlay.opaque", b"y");
    (0..20).for_each(|i| set("many", &format!("user.number-{i}"), format!("value {i}").as_bytes()));
    // With what surrounds it, all that blocks of 1 KiB have room for.
    set("big", "user.big", &[7; 900]);
    set("link-200", "trusted.of-a-link", b"too");
    set("old-device", "trusted.of-a-device", b"too");
    set("a/b", "user.of-a-directory", b"too");
    let some = [(1, 6, !0), (2, 4, 70_000), (2, 5, 1000), (4, 4, !0), (8, 6, 80_000), (16, 6, !0), (32, 0, !0)];
    set("listed", "system.posix_acl_access", &acl(&some));
    set("a/b/c", "system.posix_acl_default", &acl(&some));
    // Revision 2, effective, CAP_NET_RAW permitted.
    set("capable", "security.capability", &[&[1, 0, 0, 2, 0, 0x20, 0, 0][..], &[0; 12]].concat());
}

fn times(upper: &Path) {
    for (number, seconds) in (0..).zip([-86_401, -2_000_000_000, 0, 2_147_483_648, 4_102_444_800, 9_000_000_000]) {
        let path = upper.join(format!("time-{number}"));
        fs::write(&path, "then").unwrap();
        let (read, written) = (TimeSpec::new(seconds, 123_456_789), TimeSpec::new(seconds, 999_999_999));
        utimensat(AT_FDCWD, &path, &read, &written, UtimensatFlags::NoFollowSymlink).unwrap();
    }
}
