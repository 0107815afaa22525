//! Where images lie: in memory, where there is room.

use tempfile::TempDir;

/// So much must be free there, in bytes.
const ENOUGH: u64 = 1 << 30;

/// A new directory.
pub fn directory() -> TempDir {
    let room = rustix::fs::statvfs("/dev/shm").map_or(0, |room| room.f_bavail * room.f_frsize);
    if room >= ENOUGH { tempfile::tempdir_in("/dev/shm").unwrap() } else { tempfile::tempdir().unwrap() }
}
