//! The preload, loaded into stat(1), which asks as fuse-overlayfs does; and its way into a program of that name.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use super::tests::installed;
use super::{PRELOAD, path_with};
use crate::machine::interposers::PRELOAD_FILE;

/// Files with two names in a lower and an upper directory.
fn layers() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for layer in ["low", "up", "work", "up-is-not-it"] {
        let one = dir.path().join(layer).join("one");
        fs::create_dir_all(one.parent().unwrap()).unwrap();
        fs::write(&one, "").unwrap();
        fs::hard_link(&one, one.with_file_name("other")).unwrap();
        fs::write(one.with_file_name("single"), "").unwrap();
    }
    fs::write(dir.path().join(PRELOAD_FILE), PRELOAD).unwrap();
    dir
}

/// What stat(1) shows of these, with these options on its command line.
fn shown(dir: &Path, files: &[&str], options: &str) -> Vec<String> {
    let mut stat = Command::new("stat");
    let stat = stat.args(["-c", "%d %i"]).args(files).arg(options);
    let output = stat.current_dir(dir).env("LD_PRELOAD", dir.join(PRELOAD_FILE)).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("preload"), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect()
}

fn true_number(file: &Path) -> String {
    let meta = fs::metadata(file).unwrap();
    format!("{} {}", meta.dev(), meta.ino())
}

#[test]
fn names_of_one_file_are_told_apart_below_and_not_above() {
    let dir = layers();
    let options = format!("rw,upperdir={0}/./up,workdir={0}/work,noacl", dir.path().display());
    for layer in ["low", "up-is-not-it"] {
        let (one, other) = (format!("{layer}/one"), format!("{layer}/other"));
        let found = shown(dir.path(), &[&one, &other, &format!("./{layer}//one")], &options);
        assert!(found[0] != found[1] && found[0] == found[2], "{found:?}");
        let parts = |at: usize| found[at].split(' ').map(|part| part.parse::<u64>().unwrap()).collect::<Vec<_>>();
        assert!((0..2).all(|at| parts(0)[at] != parts(1)[at]), "the number that is shown, too: {found:?}");
        let single = format!("{layer}/single");
        assert_eq!(shown(dir.path(), &[&single], &options), [true_number(&dir.path().join(single))]);
    }
    for name in ["up/one", "up/other", "work/one", "up", "low"] {
        assert_eq!(shown(dir.path(), &[name], &options), [true_number(&dir.path().join(name))], "{name}");
    }
}

#[test]
fn without_an_upper_directory_all_are_told_apart() {
    let dir = layers();
    let found = shown(dir.path(), &["up/one", "up/other"], "ro,lowerdir=low:up");
    assert_ne!(found[0], found[1]);
}

/// It cannot tell what is above then.
#[test]
fn an_upper_directory_that_is_not_found_changes_nothing() {
    let dir = layers();
    let found = shown(dir.path(), &["low/one", "low/other"], "upperdir=/no/such/directory,workdir=work");
    assert_eq!(found, [true_number(&dir.path().join("low/one")), true_number(&dir.path().join("low/other"))]);
}

#[test]
fn the_interposer_loads_it_into_fuse_overlayfs() {
    let ours = installed(&["fuse-overlayfs", "squashfuse"]);
    let theirs = tempfile::tempdir().unwrap();
    for name in ["fuse-overlayfs", "squashfuse"] {
        let file = theirs.path().join(name);
        fs::write(&file, "#!/bin/sh\necho $LD_PRELOAD $OTHER\n").unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let said = |name: &str, before: Option<&str>| {
        let mut command = Command::new(ours.path().join(name));
        command.env("PATH", path_with(ours.path(), &[], true)).env("OTHER", "other").env_remove("LD_PRELOAD");
        let path = format!("{}:{}", ours.path().display(), theirs.path().display());
        command.env("PATH", path).envs(before.map(|before| ("LD_PRELOAD", before)));
        String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_string()
    };
    assert_eq!(said("fuse-overlayfs", None), "other", "there is no library");
    let library = ours.path().join(PRELOAD_FILE);
    fs::write(&library, PRELOAD).unwrap();
    let library = library.display();
    assert_eq!(said("fuse-overlayfs", None), format!("{library} other"));
    assert_eq!(said("fuse-overlayfs", Some(&library.to_string())), format!("{library}:{library} other"));
    assert_eq!(said("squashfuse", None), "other");
}
