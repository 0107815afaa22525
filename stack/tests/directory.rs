//! A directory of the host as a layer: whatever its owner or somebody else does in it meanwhile, and however it leads out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use condatainer_formats::ext::FileType;
use condatainer_stack::layer::directory::{DirectoryLayer, Sight};
use condatainer_stack::layer::{Entry, Key, Layer};
use condatainer_stack::merge::{Merged, Node, Stacked};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount, umount};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::mkfifo;

fn layer(path: &Path) -> DirectoryLayer {
    DirectoryLayer::new(File::open(path).unwrap(), Sight::AsItIs)
}

/// As a look-up of the kernel's: the listing, and then the node itself.
fn at(layer: &DirectoryLayer, path: &str) -> io::Result<Key> {
    path.split('/').try_fold(layer.root(), |directory, name| {
        let mut found = None;
        layer.entries(directory, &mut |entry| {
            found = (entry.name == name.as_bytes()).then_some(entry.key);
            found.is_none()
        })?;
        layer.inode(found.ok_or(Errno::ENOENT)?)
    })
}

/// A key that was listed and never looked at, as of a part of a directory that layers share.
fn listed(layer: &DirectoryLayer, directory: Key, wanted: &str) -> Key {
    let mut found = None;
    let find = &mut |entry: Entry<'_>| {
        found = found.or((entry.name == wanted.as_bytes()).then_some(entry.key));
        true
    };
    layer.entries(directory, find).unwrap();
    found.unwrap()
}

fn content(layer: &DirectoryLayer, key: Key) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 64];
    let length = layer.read(key, 0, &mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn code<T: std::fmt::Debug>(result: io::Result<T>) -> Errno {
    Errno::from_raw(result.unwrap_err().raw_os_error().unwrap())
}

#[test]
fn it_says_what_the_host_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir_all(path("a/b")).unwrap();
    fs::write(path("a/b/file"), "text").unwrap();
    fs::set_permissions(path("a/b/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(path("a/b/file"), path("other")).unwrap();
    symlink("/etc/passwd", path("link")).unwrap();
    mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
    mknod(&path("hidden"), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
    xattr::set(path("a/b/file"), "user.note", b"kept").unwrap();
    let sparse = File::create(path("sparse")).unwrap();
    sparse.write_at(b"end", 1 << 20).unwrap();

    let layer = layer(dir.path());
    for name in ["a", "a/b", "a/b/file", "link", "fifo", "hidden", "sparse"] {
        let (says, host) =
            (layer.attributes(at(&layer, name).unwrap()).unwrap(), fs::symlink_metadata(path(name)).unwrap());
        let own = (u32::from(says.mode), says.ids.uid, says.ids.gid, says.size, says.blocks, u64::from(says.links));
        assert_eq!(
            own,
            (host.mode() & 0o7777, host.uid(), host.gid(), host.size(), host.blocks(), host.nlink()),
            "{name}"
        );
        assert_eq!((says.modified.seconds, says.device), (host.mtime(), (0, 0)), "{name}");
        assert_eq!(says.kind, FileType::from_mode((host.mode() & 0xFFFF) as u16), "{name}");
    }
    let file = at(&layer, "a/b/file").unwrap();
    assert_eq!(at(&layer, "other").unwrap(), file, "two names of one file are one");
    assert_eq!(content(&layer, file).unwrap(), b"text");
    let xattrs = layer.xattrs(file).unwrap();
    assert_eq!(
        xattrs.iter().map(|xattr| (&xattr.name[..], &xattr.value[..])).collect::<Vec<_>>(),
        [(&b"user.note"[..], &b"kept"[..])]
    );
    assert!(layer.xattrs(at(&layer, "fifo").unwrap()).unwrap().is_empty());
    let sparse = at(&layer, "sparse").unwrap();
    assert_eq!([layer.seek(sparse, 0, true).unwrap(), layer.seek(sparse, 2 << 20, false).unwrap()], [Some(0), None]);
    // It is told and not followed.
    let link = at(&layer, "link").unwrap();
    assert_eq!(layer.target(link).unwrap(), b"/etc/passwd");
    assert_eq!([code(content(&layer, link)), code(at(&layer, "link/x"))], [Errno::ESTALE, Errno::ENOTDIR]);
}

#[test]
fn what_takes_a_name_is_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("d")).unwrap();
    fs::write(path("d/file"), "old").unwrap();
    fs::write(path("outside"), "secret").unwrap();
    let layer = layer(dir.path());
    let (directory, old) = (at(&layer, "d").unwrap(), at(&layer, "d/file").unwrap());
    fs::write(path("new"), "new").unwrap();
    fs::rename(path("new"), path("d/file")).unwrap();
    assert_eq!([code(content(&layer, old)), code(layer.attributes(old))], [Errno::ESTALE; 2]);
    let new = at(&layer, "d/file").unwrap();
    assert_ne!(old, new);
    assert_eq!(content(&layer, new).unwrap(), b"new");
    // What is open stays the same file, as in any process.
    fs::remove_file(path("d/file")).unwrap();
    assert_eq!(content(&layer, new).unwrap(), b"new");
    assert_eq!(code(at(&layer, "d/file")), Errno::ENOENT);
    // A directory that becomes a link leads nowhere, and one that becomes a fifo keeps nobody waiting.
    symlink("../outside", path("d/file")).unwrap();
    assert_eq!(code(content(&layer, at(&layer, "d/file").unwrap())), Errno::ESTALE);
    let fresh = DirectoryLayer::new(File::open(dir.path()).unwrap(), Sight::AsItIs);
    let (_, inner) = (at(&fresh, "d").unwrap(), at(&fresh, "d/file").unwrap());
    fs::rename(path("d"), path("moved")).unwrap();
    symlink("moved", path("d")).unwrap();
    let again = DirectoryLayer::new(File::open(dir.path()).unwrap(), Sight::AsItIs);
    assert_eq!(code(at(&again, "d/file")), Errno::ENOTDIR);
    assert!(fresh.attributes(inner).is_ok() && layer.attributes(directory).is_err());
}

#[test]
fn many_names_keep_few_files_open() {
    let dir = tempfile::tempdir().unwrap();
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for number in 0..300 {
        fs::create_dir(dir.path().join(format!("d{number}"))).unwrap();
        fs::write(dir.path().join(format!("d{number}/file")), number.to_string()).unwrap();
    }
    let layer = layer(dir.path());
    for _ in 0..2 {
        for number in 0..300 {
            let key = at(&layer, &format!("d{number}/file")).unwrap();
            assert_eq!(content(&layer, key).unwrap(), number.to_string().as_bytes());
        }
    }
    assert!(open() <= before + 150, "{} {before}", open());
}

#[test]
fn marks_of_both_overlays_count_and_what_is_mounted_in_it_does_not_show() {
    let (below, above) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in ["deleted", "marked", "kept", "opaque/below", "opaque.too/below", "mounted"] {
        let path = below.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if name == "mounted" { fs::create_dir(path).unwrap() } else { fs::write(path, name).unwrap() }
    }
    mknod(&above.path().join("deleted"), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
    fs::write(above.path().join(".wh.marked"), "").unwrap();
    fs::create_dir(above.path().join("opaque")).unwrap();
    xattr::set(above.path().join("opaque"), "user.overlay.opaque", b"y").unwrap();
    fs::create_dir(above.path().join("opaque.too")).unwrap();
    fs::write(above.path().join("opaque.too/.wh..wh..opq"), "").unwrap();
    let mounted = below.path().join("mounted");
    mount(Some("x"), &mounted, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    fs::write(mounted.join("inside"), "").unwrap();

    let stacked =
        |dir: &tempfile::TempDir| Stacked { path: dir.path().into(), bytes: 0, layer: Arc::new(layer(dir.path())) };
    let merged = Merged::new(vec![stacked(&below), stacked(&above)]).unwrap();
    let names = |node: &Node| -> Vec<String> {
        let listing = merged.list(node).unwrap();
        listing.iter().map(|named| String::from_utf8(named.name.to_vec()).unwrap()).collect()
    };
    let shown = names(merged.root());
    let inside: Vec<_> = ["opaque", "opaque.too", "mounted"]
        .iter()
        .flat_map(|name| names(&merged.lookup(merged.root(), name.as_bytes()).unwrap().unwrap()))
        .collect();
    umount(&mounted).unwrap();
    assert_eq!(shown, ["kept", "mounted", "opaque", "opaque.too"]);
    assert!(inside.is_empty(), "{inside:?}");
}

/// A file system gives a number again as soon as it is free.
#[test]
fn a_number_that_is_used_again_is_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for _ in 0..20 {
        fs::write(&path, "old").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        let layer = layer(dir.path());
        let old = at(&layer, "file").unwrap();
        // Times are counted in ticks.
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "new").unwrap();
        assert_eq!([code(layer.attributes(old).map(drop)), code(content(&layer, old).map(drop))], [Errno::ESTALE; 2]);
        let new = at(&layer, "file").unwrap();
        assert_eq!((content(&layer, new).unwrap(), old == new), (b"new".to_vec(), false));
        if fs::metadata(&path).unwrap().ino() == inode {
            break;
        }
    }
}

#[test]
fn a_file_lives_on_under_its_other_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("first"), "text").unwrap();
    fs::hard_link(path("first"), path("second")).unwrap();
    fs::hard_link(path("first"), path("third")).unwrap();
    let layer = layer(dir.path());
    let file = at(&layer, "first").unwrap();
    assert_eq!([at(&layer, "second").unwrap(), at(&layer, "third").unwrap()], [file; 2]);
    fs::remove_file(path("first")).unwrap();
    fs::write(path("first"), "another").unwrap();
    assert_eq!((content(&layer, file).unwrap(), layer.attributes(file).unwrap().links), (b"text".to_vec(), 2));
    fs::remove_file(path("second")).unwrap();
    assert_eq!((at(&layer, "third").unwrap(), layer.attributes(file).unwrap().links), (file, 1));
    assert_ne!(at(&layer, "first").unwrap(), file);
}

#[test]
fn an_open_file_stays_when_its_name_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("file"), "text").unwrap();
    for number in 0..100 {
        fs::write(path(&format!("{number}")), "").unwrap();
    }
    let layer = layer(dir.path());
    let file = at(&layer, "file").unwrap();
    [(); 2].iter().for_each(|()| layer.hold(file).unwrap());
    fs::write(path("next"), "another").unwrap();
    fs::rename(path("next"), path("file")).unwrap();
    let others =
        || (0..100).for_each(|number| assert!(content(&layer, at(&layer, &format!("{number}")).unwrap()).is_ok()));
    others();
    layer.release(file);
    assert_eq!((content(&layer, file).unwrap(), layer.attributes(file).unwrap().size), (b"text".to_vec(), 4));
    assert!(layer.xattrs(file).unwrap().is_empty() && layer.seek(file, 0, true).unwrap() == Some(4));
    assert_eq!(content(&layer, at(&layer, "file").unwrap()).unwrap(), b"another");
    layer.release(file);
    others();
    assert_eq!([code(content(&layer, file).map(drop)), code(layer.attributes(file).map(drop))], [Errno::ESTALE; 2]);
}

/// Of what was only listed nothing but the flags of open(2) keeps a link from being followed, and a fifo from waiting.
#[test]
fn no_link_is_followed_and_no_fifo_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir_all(path("d")).unwrap();
    fs::create_dir_all(path("beside")).unwrap();
    for name in ["d/inner", "beside/inner", "linked", "waiting"] {
        fs::write(path(name), "secret").unwrap();
    }
    for number in 0..100 {
        fs::create_dir(path(&format!("{number}"))).unwrap();
    }
    let layer = Arc::new(layer(dir.path()));
    let key = |name: &str| listed(&layer, layer.root(), name);
    let (directory, linked, waiting) = (key("d"), key("linked"), key("waiting"));
    let inner = listed(&layer, directory, "inner");
    // Few directories are kept open.
    (0..100).for_each(|number| layer.entries(key(&format!("{number}")), &mut |_| true).unwrap());
    fs::rename(path("d"), path("moved")).unwrap();
    symlink("beside", path("d")).unwrap();
    assert_eq!([code(layer.attributes(inner).map(drop)), code(content(&layer, inner).map(drop))], [Errno::ESTALE; 2]);
    fs::remove_file(path("linked")).unwrap();
    symlink("beside/inner", path("linked")).unwrap();
    assert_eq!(code(content(&layer, linked).map(drop)), Errno::ESTALE);
    fs::remove_file(path("waiting")).unwrap();
    mkfifo(&path("waiting"), Mode::S_IRWXU).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let reader = Arc::clone(&layer);
    std::thread::spawn(move || tell.send(content(&reader, waiting).map(drop)));
    let answer = told.recv_timeout(std::time::Duration::from_secs(60)).expect("an answer");
    assert_eq!(code(answer), Errno::ESTALE);
}

const SOMEBODY: u32 = 12_345;
const THERE: &str = "CONDATAINER_TEST_DIRECTORY";

/// The inner half of the next test, as a user who is not root.
#[test]
fn as_somebody() {
    let Some(there) = std::env::var_os(THERE) else { return };
    let own = File::open(&there).unwrap();
    let sees = |sight| DirectoryLayer::new(own.try_clone().unwrap(), sight);
    let mode = |layer: &DirectoryLayer, name| layer.attributes(at(layer, name).unwrap()).unwrap().mode;
    let (callers, it) = (sees(Sight::AsCallers), sees(Sight::AsItIs));
    // Whose a file is does not show there, so the owner's bits say what the caller may.
    let modes = |layer: &DirectoryLayer| ["closed", "open", "groups", "tool", "own"].map(|name| mode(layer, name));
    assert_eq!(modes(&it), [0o600, 0o644, 0o640, 0o711, 0o200]);
    assert_eq!(modes(&callers), [0o200, 0o644, 0o640, 0o311, 0o200]);
    assert_eq!(code(content(&callers, at(&callers, "closed").unwrap()).map(drop)), Errno::EACCES);
    assert!(callers.xattrs(at(&callers, "closed").unwrap()).unwrap().is_empty());

    // A directory that can be entered and not listed: who knows a name gets it.
    let stacked = Stacked { path: there.into(), bytes: 0, layer: Arc::new(callers) };
    let merged = Merged::new(vec![stacked]).unwrap();
    let inner = merged.lookup(merged.root(), b"known").unwrap().unwrap();
    let inner = merged.inode(&inner).unwrap();
    assert_eq!(code(merged.list(&inner).map(drop)), Errno::EACCES);
    let file = merged.inode(&merged.lookup(&inner, b"file").unwrap().unwrap()).unwrap();
    let mut buffer = [0; 4];
    assert_eq!((merged.read(&file, 0, &mut buffer).unwrap(), &buffer), (4, b"text"));
    assert!(merged.lookup(&inner, b"none").unwrap().is_none() && merged.lookup(&inner, b".wh.x").unwrap().is_none());
}

#[test]
fn modes_say_what_the_caller_may() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(path("known")).unwrap();
    for (name, mode) in
        [("closed", 0o600), ("open", 0o644), ("groups", 0o640), ("tool", 0o711), ("own", 0o200), ("known/file", 0o644)]
    {
        fs::write(path(name), "text").unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(path("known"), fs::Permissions::from_mode(0o711)).unwrap();
    chown(path("groups"), None, Some(SOMEBODY)).unwrap();
    chown(path("own"), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    let program = path("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut inner = Command::new(&program);
    inner.args(["--exact", "as_somebody"]).env(THERE, dir.path()).current_dir(dir.path()).uid(SOMEBODY).gid(SOMEBODY);
    let inner = inner.output().unwrap();
    assert!(inner.status.success(), "{}", String::from_utf8_lossy(&inner.stdout));
}
