//! The mount points that the engine needs are in what is served, whatever the images have there.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use condatainer_formats::ext::Ids;
use condatainer_stack::ids::Show;
use condatainer_stack::layer::Time;
use condatainer_stack::merge::{Mounted, Point, with_points};

use super::names;
use super::support::overlay::{Tmpfs, put, whiteout};
use super::support::{Mount, stacked};

#[test]
fn mount_points_are_made_where_the_images_lead() {
    let memory = Tmpfs::new();
    let [base, module] = ["base", "module"].map(|name| memory.at.path().join(name));
    put(&base, "run/there", "");
    put(&base, "etc/passwd", "of the image");
    fs::create_dir_all(base.join("var")).unwrap();
    symlink("/run", base.join("var/run")).unwrap();
    symlink("data/home", base.join("home")).unwrap();
    symlink("../../run/systemd/stub", base.join("etc/resolv.conf")).unwrap();
    symlink("loop", base.join("loop")).unwrap();
    put(&base, "zones/here", "of the image");
    symlink("../zones/here", base.join("etc/localtime")).unwrap();
    symlink("../zones/here", base.join("etc/zone")).unwrap();
    put(&base, "gone/old", "");
    put(&base, "opt/old", "");
    put(&module, "run/module", "");
    whiteout(&module.join("gone"));
    put(&module, "opt/.wh..wh..opq", "");
    let user = Ids { uid: 1234, gid: 99 };
    let of = |path: &'static str, mounted, mode| Point { path: path.as_bytes(), mounted, mode, ids: user };
    let point = |path, file, mode| of(path, if file { Mounted::File } else { Mounted::Directory }, mode);
    let wanted = [
        point("/proc", false, 0o555),
        point("/tmp", false, 0o1777),
        point("/var/run/user/7", false, 0o700),
        point("/home/alice", false, 0o700),
        point("/etc/passwd", true, 0o644),
        point("/etc/resolv.conf", true, 0o644),
        point("/etc/group", true, 0o644),
        point("/gone", false, 0o755),
        point("/opt/new", false, 0o755),
        point("/etc/passwd/below", false, 0o755),
        point("/run/there", false, 0o755),
        point("/loop/x", false, 0o755),
        point("/etc/../etc/./hosts", true, 0o644),
        of("/etc/localtime", Mounted::FileForLink, 0o644),
        of("/etc/zone", Mounted::File, 0o644),
    ];
    let (merged, unmade) =
        with_points(vec![stacked(&base), stacked(&module)], &wanted, Ids::ROOT, Time::default()).unwrap();
    let unmade: Vec<_> = unmade.iter().map(|one| format!("{}: {}", one.path.escape_ascii(), one.why)).collect();
    assert_eq!(
        unmade,
        [
            "/etc/passwd/below: the image has a regular file on the way to it",
            "/run/there: the image has a regular file there",
            "/loop/x: leads through too many symbolic links of the image",
        ]
    );
    let mount = Mount::of(merged, Show::everything());
    let at = mount.path();
    assert_eq!(names(&at), ["data", "etc", "gone", "home", "loop", "opt", "proc", "run", "tmp", "var", "zones"]);
    assert_eq!(names(&at.join("run")), ["module", "systemd", "there", "user"]);
    assert_eq!(names(&at.join("etc")), ["group", "hosts", "localtime", "passwd", "resolv.conf", "zone"]);
    assert_eq!((names(&at.join("gone")).len(), names(&at.join("opt"))), (0, vec!["new".into()]));
    let says = at.join("data/home/alice").metadata().unwrap();
    assert_eq!((says.mode() & 0o7777, says.uid(), says.gid()), (0o700, 1234, 99));
    assert_eq!(at.join("tmp").metadata().unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(fs::read_to_string(at.join("etc/passwd")).unwrap(), "of the image");
    assert!(at.join("run/systemd/stub").is_file());
    // A mount there covers nothing else.
    let says = at.join("etc/localtime").symlink_metadata().unwrap();
    assert!(says.is_file() && says.len() == 0 && at.join("etc/zone").is_symlink());
    assert_eq!(fs::read_to_string(at.join("zones/here")).unwrap(), "of the image");
}
