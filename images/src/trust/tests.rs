//! What others can put in the place of a file. Tests with other owners need root, as the suite does.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};
use tempfile::TempDir;

use super::*;

const STRANGER: u32 = 54_321;
const LARGEST: u64 = 1 << 10;

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    (dir, path)
}

fn file(mode: u32) -> (TempDir, PathBuf) {
    let (dir, path) = place();
    fs::write(&path, "A=1\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    (dir, path)
}

fn said(path: &Path) -> String {
    let read = open(path, Links::Refuse).and_then(|opened| {
        opened.require_of(&Owners::root_and_caller())?;
        opened.read_text(LARGEST)
    });
    read.unwrap_err().to_string()
}

/// Of another user; `false` where the machine does not let us.
fn give_away(path: &Path) -> bool {
    Uid::effective().is_root() && std::os::unix::fs::lchown(path, Some(STRANGER), Some(STRANGER)).is_ok()
}

/// Whether a path leads to this very file, by no link.
fn is_at(opened: &Opened, path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == opened.identity())
}

#[test]
fn a_file_of_ones_own_is_read() {
    let (_dir, path) = file(0o644);
    let opened = open(&path, Links::Refuse).unwrap();
    opened.require_of(&Owners::root_and_caller()).unwrap();
    assert_eq!(opened.read_text(LARGEST).unwrap(), "A=1\n");
    assert_eq!((opened.owner(), opened.mode()), (Uid::effective().as_raw(), 0o644));
    assert!(is_at(&opened, &path));
    fs::rename(&path, path.with_extension("old")).unwrap();
    fs::write(&path, "A=1\n").unwrap();
    assert!(!is_at(&opened, &path), "another file has the name");
    assert!(open(&path.with_extension("none"), Links::Refuse).unwrap_err().is_not_found());
}

#[test]
fn what_is_no_file_is_named_and_never_waited_for() {
    let (dir, fifo) = place();
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    assert!(said(&fifo).ends_with("file: is a fifo, not a file"), "{}", said(&fifo));
    assert!(said(dir.path()).ends_with(": is a directory, not a file"));
    assert_eq!(said(Path::new("/dev/zero")), "/dev/zero: is a device, not a file");
    let socket = dir.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(said(&socket).ends_with(": is a socket or a device, not a file"), "{}", said(&socket));
}

#[test]
fn links_are_followed_as_asked() {
    let (dir, path) = file(0o644);
    let link = dir.path().join("link");
    symlink("file", &link).unwrap();
    assert!(said(&link).contains("link: is a symbolic link of "), "{}", said(&link));
    let me = Owners::root_and_caller();
    for links in [Links::Of(&me), Links::Follow] {
        let opened = open(&link, links).unwrap();
        assert!(is_at(&opened, &path) && !is_at(&opened, &link), "{links:?}");
    }
    // No content of an endless device, by no way.
    let endless = dir.path().join("endless");
    symlink("/dev/zero", &endless).unwrap();
    assert!(matches!(open(&endless, Links::Follow), Err(TrustError::NotAFile { .. })));
    symlink("nowhere", dir.path().join("dangling")).unwrap();
    assert!(open(&dir.path().join("dangling"), Links::Of(&me)).unwrap_err().is_not_found());
}

#[test]
fn too_much_is_not_read() {
    let (_dir, path) = file(0o644);
    let of = |size: u64| {
        fs::File::options().write(true).open(&path).unwrap().set_len(size).unwrap();
        open(&path, Links::Refuse).unwrap().read(LARGEST)
    };
    assert_eq!(of(LARGEST).unwrap().len() as u64, LARGEST);
    assert!(matches!(of(LARGEST + 1), Err(TrustError::TooLarge { .. })));
    assert!(matches!(of(1 << 40), Err(TrustError::TooLarge { .. })), "a sparse file takes no memory");
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(said(&path).ends_with(": is not text"));
}

#[test]
fn strangers_are_not_believed() {
    let (dir, path) = file(0o644);
    let link = dir.path().join("link");
    symlink("file", &link).unwrap();
    if !give_away(&link) {
        return;
    }
    let me = Owners::root_and_caller();
    let error = open(&link, Links::Of(&me)).unwrap_err().to_string();
    assert!(error.contains("is a symbolic link of uid 54321, and not followed"), "{error}");
    assert!(open(&link, Links::Of(&me.clone().and(STRANGER))).unwrap().require_of(&me).is_ok(), "his link, my file");
    assert!(give_away(&path));
    assert!(said(&path).ends_with("file: belongs to uid 54321, and must belong to root"), "{}", said(&path));
    assert!(open(&path, Links::Refuse).unwrap().require_of(&me.and(STRANGER)).is_ok());
}

#[test]
fn what_others_can_write_is_not_believed() {
    let (_dir, path) = file(0o646);
    assert!(said(&path).contains(", but everybody can write it too"), "{}", said(&path));
    let (_dir, path) = file(0o664);
    if !Uid::effective().is_root() {
        return;
    }
    // Group root is nobody but root.
    assert!(open(&path, Links::Refuse).unwrap().require_of(&Owners::root()).is_ok());
    chown(&path, None, Some(STRANGER)).unwrap();
    assert!(said(&path).ends_with("belongs to root, but group gid 54321 can write it too"), "{}", said(&path));
    // The bits of the group are those of the list of rights, where there is one.
    let (_dir, path) = file(0o664);
    let list = std::process::Command::new("setfacl").args(["-m", "u:54321:rw"]).arg(&path).status();
    if list.is_ok_and(|status| status.success()) {
        assert!(said(&path).contains("group root can write it too"), "{}", said(&path));
    }
}

#[test]
fn every_directory_on_the_way_is_roots() {
    if !Uid::effective().is_root() {
        assert!(open_of_root(&place().1).unwrap_err().is_not_found());
        return;
    }
    let (dir, _) = place();
    // /tmp itself is for all to write, and sticky.
    let config = dir.path().join("a/b/config.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    assert!(open_of_root(&config).unwrap_err().is_not_found());
    fs::write(&config, "x").unwrap();
    assert!(is_at(&open_of_root(&config).unwrap(), &config));
    let link = dir.path().join("link");
    symlink("a/../a/./b", &link).unwrap();
    symlink(&link, dir.path().join("second")).unwrap();
    let by_links = dir.path().join("second/config.toml");
    assert_eq!(open_of_root(&by_links).unwrap().identity().1, fs::metadata(&config).unwrap().ino());
    symlink("loop", dir.path().join("loop")).unwrap();
    assert!(open_of_root(&dir.path().join("loop")).unwrap_err().to_string().contains("symbolic links"));

    let middle = dir.path().join("a");
    let refused = || open_of_root(&by_links).unwrap_err().to_string();
    fs::set_permissions(&middle, Permissions::from_mode(0o757)).unwrap();
    assert_eq!(refused(), format!("{}: belongs to root, but everybody can write it too", middle.display()));
    fs::set_permissions(&middle, Permissions::from_mode(0o1757)).unwrap();
    assert!(open_of_root(&by_links).is_ok(), "sticky");
    assert!(give_away(&middle));
    assert_eq!(refused(), format!("{}: belongs to uid 54321, and must belong to root", middle.display()));
    chown(&middle, Some(0), Some(0)).unwrap();
    assert!(give_away(&link));
    assert_eq!(refused(), format!("{}: belongs to uid 54321, and must belong to root", link.display()));
    chown(link.parent().unwrap(), Some(0), Some(0)).unwrap();
    assert!(open_of_root(&config).is_ok());
    fs::set_permissions(&config, Permissions::from_mode(0o664)).unwrap();
    assert!(
        open_of_root(&config).unwrap_err().to_string().contains("group root can write it too"),
        "though it is root's"
    );
    chown(&config, Some(STRANGER), None).unwrap();
    assert!(open_of_root(&config).unwrap_err().to_string().contains("must belong to root"));
    fs::remove_file(&config).unwrap();
    mkfifo(&config, Mode::S_IRWXU).unwrap();
    assert!(open_of_root(&config).unwrap_err().to_string().contains("is a fifo"));
}

/// An image that was found in a directory: whose directory, whose image, who could write to the directory.
fn found(mode: u32, directory: u32, owner: u32) -> Option<String> {
    let (dir, path) = place();
    fs::write(&path, [0; 4096]).unwrap();
    let mut image = crate::image::identify(Path::new("/")).unwrap();
    (image.path, image.uid) = (path.clone(), owner);
    chown(&path, Some(owner), None).unwrap();
    chown(dir.path(), Some(directory), None).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
    stranger(&image)
}

#[test]
fn what_was_found_where_everybody_can_put_files() {
    if !Uid::effective().is_root() {
        return;
    }
    for mode in [0o777, 0o1777, 0o707] {
        let said = found(mode, 0, STRANGER).unwrap();
        assert!(said.contains("/file: belongs to uid 54321, and lies where everybody can put files"), "{said}");
        assert_eq!(found(mode, STRANGER, STRANGER), None, "the directory's owner");
        assert_eq!(found(mode, STRANGER, 0), None, "root");
    }
    // A group's directory is shared by whoever named it.
    for mode in [0o755, 0o775, 0o2775] {
        assert_eq!(found(mode, 0, STRANGER), None, "{mode:o}");
    }
}

/// A link of a stranger's to a file of root's: he would choose what is run.
#[test]
fn a_strangers_link_is_the_strangers() {
    let (dir, path) = file(0o644);
    let link = dir.path().join("link.sqf");
    symlink(&path, &link).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o1777)).unwrap();
    let mut image = crate::image::identify(Path::new("/")).unwrap();
    image.path = link.clone();
    assert_eq!(stranger(&image), None);
    if give_away(&link) {
        assert!(stranger(&image).unwrap().contains("belongs to uid 54321"));
    }
}
