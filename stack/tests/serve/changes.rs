//! Directories of the host that change while they are served.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::support::overlay::put;
use super::support::{Mount, stacked};

/// Far more than the kernel is told to keep anything of them.
const SOON: Duration = Duration::from_secs(60);

/// Waits until something is so.
fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < SOON, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| error.to_string())
}

/// Of what has just been replaced the error is an answer too.
fn names(path: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let listed =
        fs::read_dir(path).and_then(|listed| listed.map(|entry| entry.map(name)).collect::<io::Result<Vec<_>>>());
    let mut names = listed.unwrap_or_else(|error| vec![error.to_string()]);
    names.sort_unstable();
    names
}

#[test]
fn what_others_do_shows_soon() {
    let (below, above) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(below.path(), "opt/file", "one\n");
    put(above.path(), "opt/other", "");
    put(above.path(), "own/file", "old\n");
    let mount = Mount::new(vec![stacked(below.path()), stacked(above.path())]);
    let at = mount.path();
    for (host, shown) in [(below.path().join("opt"), at.join("opt")), (above.path().join("own"), at.join("own"))] {
        let mut open = File::open(shown.join("file")).unwrap();
        let mut before = String::new();
        open.read_to_string(&mut before).unwrap();
        let listed = names(&shown);
        assert!(fs::metadata(shown.join("late")).is_err() && !before.is_empty());

        OpenOptions::new().append(true).open(host.join("file")).unwrap().write_all(b"two\n").unwrap();
        fs::write(host.join("late"), "late").unwrap();
        soon("what was appended", || text(&shown.join("file")) == format!("{before}two\n"));
        soon("a new name", || text(&shown.join("late")) == "late");
        soon("a longer listing", || names(&shown).len() == listed.len() + 1);
        let mut more = String::new();
        open.read_to_string(&mut more).unwrap();
        assert_eq!(more, "two\n", "the one that is open is the same file");

        fs::write(host.join("file"), "s").unwrap();
        soon("what was cut off", || text(&shown.join("file")) == "s");
        fs::remove_file(host.join("file")).unwrap();
        fs::write(host.join("file"), "new\n").unwrap();
        soon("another file", || text(&shown.join("file")) == "new\n");
        fs::remove_file(host.join("late")).unwrap();
        soon("a missing name", || {
            fs::metadata(shown.join("late")).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
                && names(&shown) == listed
        });
    }
    assert_eq!(*mount.told.lock().unwrap(), [""; 0]);
}

#[test]
fn a_shared_directory_gets_and_loses_parts() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [lowest, below, above] = &dirs;
    put(below.path(), "opt/below", "");
    put(above.path(), "opt/above", "");
    let mount = Mount::new(vec![stacked(lowest.path()), stacked(below.path()), stacked(above.path())]);
    let opt = mount.path().join("opt");
    assert_eq!(names(&opt), ["above", "below"]);
    // Whoever is in there keeps the kernel from forgetting it.
    let _inside = File::open(&opt).unwrap();
    put(lowest.path(), "opt/lowest", "");
    soon("a part more", || names(&opt) == ["above", "below", "lowest"]);
    // It is another directory of the host's by now.
    fs::rename(below.path().join("opt"), below.path().join("moved")).unwrap();
    put(below.path(), "opt/new", "");
    soon("another part", || names(&opt) == ["above", "lowest", "new"]);
    fs::remove_dir_all(lowest.path().join("opt")).unwrap();
    soon("a part less", || names(&opt) == ["above", "new"]);
    fs::remove_dir_all(above.path().join("opt")).unwrap();
    soon("the topmost is gone", || names(&opt) == ["new"]);
    assert_eq!(*mount.told.lock().unwrap(), [""; 0]);
}
