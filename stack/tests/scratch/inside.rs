//! What runs in the namespaces: `d` is the directory that is tested.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with, seek};
use rustix::io::Errno;

use super::model::{Allowed, compare};
use super::{How, Test, chance};

const NOTHING: fn(&Path) = |_| {};

const fn test(name: &'static str, how: How) -> Test {
    Test { name, how, limit: None, disk: None, lower: NOTHING, script: None }
}

const fn script(name: &'static str, lower: fn(&Path), script: &'static str) -> Test {
    Test { name, how: How::UserOverlay, limit: None, disk: None, lower, script: Some(script) }
}

pub(crate) const TESTS: &[Test] = &[
    test("nothing_differs_from_the_kernels_own", How::RootBare),
    test("nothing_differs_from_the_kernels_own", How::UserBare),
    test("nothing_differs_from_the_kernels_own", How::UserOverlay),
    test("names_come_and_go_while_they_are_listed", How::UserBare),
    test("names_come_and_go_while_they_are_listed", How::UserOverlay),
    test("many_write_in_one_directory", How::UserBare),
    test("many_write_in_one_directory", How::UserOverlay),
    test("many_names", How::UserBare),
    test("holes_are_found", How::UserBare),
    test("access_control_lists", How::UserBare),
    Test { disk: Some(1 << 20), ..test("what_does_not_fit_is_said_at_once", How::UserBare) },
    Test { limit: Some(1 << 20), ..test("what_does_not_fit_is_said_at_once", How::UserOverlay) },
    test("a_file_without_a_name_lives_on", How::UserOverlay),
    script("lower_directories_are_removed_and_made_again", some, REMOVE),
    script("lower_files_are_changed", some, CHANGE),
    script("trees_are_copied_and_packed", some, COPY),
    script("git_works", NOTHING, GIT),
    test("all_names_show_what_is_written_to_one", How::UserBare),
    test("all_names_show_what_is_written_to_one", How::UserOverlay),
];

pub(crate) fn run(name: &str, d: &Path) {
    let overlay = std::env::var_os("BARE").is_none();
    let place = PathBuf::from(std::env::var_os("PLACE").unwrap());
    match name {
        "nothing_differs_from_the_kernels_own" => {
            let root = nix::unistd::geteuid().is_root();
            compare(
                d,
                &place.join("oracle"),
                chance::runs(24) as u32,
                Allowed { root, overlay, allocates: true, keeps: false, numbers: true, links: true },
            );
        }
        "names_come_and_go_while_they_are_listed" => names_come_and_go_while_they_are_listed(d),
        "all_names_show_what_is_written_to_one" => all_names_show_what_is_written_to_one(d),
        "many_write_in_one_directory" => many_write_in_one_directory(d),
        "many_names" => many_names(d),
        "holes_are_found" => holes_are_found(d),
        "access_control_lists" => access_control_lists(d),
        "what_does_not_fit_is_said_at_once" => what_does_not_fit_is_said_at_once(d),
        "a_file_without_a_name_lives_on" => a_file_without_a_name_lives_on(d),
        other => panic!("no such test: {other}"),
    }
}

fn names_of(d: &Path) -> BTreeSet<String> {
    fs::read_dir(d).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// What is neither made nor removed is listed exactly once, whatever else happens, and renaming what is listed comes to an end.
fn names_come_and_go_while_they_are_listed(d: &Path) {
    let stay: BTreeSet<_> = (0..3000).map(|n| format!("stays-{n}")).collect();
    for name in &stay {
        File::create(d.join(name)).unwrap();
        File::create(d.join(format!("goes-{name}"))).unwrap();
    }
    let mut seen = Vec::new();
    for (n, entry) in fs::read_dir(d).unwrap().enumerate() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with("goes") {
            fs::remove_file(d.join(&name)).unwrap();
        } else {
            seen.push(name);
        }
        File::create(d.join(format!("new-{n}"))).unwrap();
        assert!(n < 100_000, "a listing without an end");
    }
    seen.retain(|name| name.starts_with("stays"));
    assert_eq!(seen.len(), stay.len());
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), stay);
    for (n, entry) in fs::read_dir(d).unwrap().enumerate() {
        fs::rename(entry.unwrap().path(), d.join(format!("renamed-{n}"))).unwrap();
        assert!(n < 200_000, "a listing without an end");
    }
    assert!(names_of(d).iter().all(|name| name.starts_with("renamed-")));
}

/// Eight threads make, write, rename, link and remove in one directory, while another one lists it.
fn many_write_in_one_directory(d: &Path) {
    fs::create_dir(d.join("other")).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8_u8)
            .map(|thread| {
                scope.spawn(move || {
                    for n in 0..150_u32 {
                        let [made, named, linked] =
                            ["made", "other/named", "linked"].map(|name| d.join(format!("{name}-{thread}-{n}")));
                        fs::write(&made, vec![thread; 3000 + n as usize]).unwrap();
                        fs::rename(&made, &named).unwrap();
                        fs::hard_link(&named, &linked).unwrap();
                        File::options().append(true).open(&linked).unwrap().write_all(&[thread; 5000]).unwrap();
                        let content = fs::read(&named).unwrap();
                        assert_eq!(content, vec![thread; 8000 + n as usize]);
                        fs::remove_file(&named).unwrap();
                        if n % 3 > 0 {
                            fs::remove_file(&linked).unwrap();
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(names_of(d).contains("other"));
            }
        });
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    assert_eq!((names_of(&d.join("other")).len(), names_of(d).len()), (0, 1 + 8 * 50));
    for thread in 0..8_u8 {
        let content = fs::read(d.join(format!("linked-{thread}-3"))).unwrap();
        assert!(content.len() == 8003 && content.iter().all(|byte| *byte == thread));
    }
}

fn many_names(d: &Path) {
    for n in 0..20_000 {
        rustix::fs::mknodat(CWD, d.join(n.to_string()), rustix::fs::FileType::RegularFile, 0o600.into(), 0).unwrap();
    }
    assert_eq!(names_of(d).len(), 20_000);
    assert!(d.join("17777").exists() && !d.join("20000").exists());
    fs::remove_dir_all(d).unwrap_err();
    assert!(names_of(d).is_empty());
}

fn holes_are_found(d: &Path) {
    let file = File::options().create_new(true).read(true).write(true).open(d.join("f")).unwrap();
    file.write_at(b"x", 1 << 20).unwrap();
    file.write_at(b"y", 5 << 30).unwrap();
    let data = |from| seek(&file, rustix::fs::SeekFrom::Data(from));
    let hole = |from| seek(&file, rustix::fs::SeekFrom::Hole(from));
    assert_eq!((data(0), hole(0)), (Ok(1 << 20), Ok(0)));
    assert_eq!((hole(1 << 20), data((1 << 20) + 4096)), (Ok((1 << 20) + 4096), Ok(5 << 30)));
    assert_eq!((hole(5 << 30), data((5 << 30) + 1)), (Ok((5 << 30) + 1), Err(Errno::NXIO)));
    assert_eq!(file.metadata().unwrap().blocks(), 16);
    let mut start = vec![1; 8192];
    (&file).seek(SeekFrom::Start((1 << 20) - 4096)).unwrap();
    (&file).read_exact(&mut start).unwrap();
    assert!(start[..4096].iter().all(|byte| *byte == 0) && start[4096] == b'x' && start[4097] == 0);
}

/// A directory's default list decides in the umask's place; mode and list follow each other.
fn access_control_lists(d: &Path) {
    let acl = |entries: &[(u16, u16, u32)]| {
        let entry = |(tag, bits, id): &(u16, u16, u32)| {
            [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        [2_u32.to_le_bytes().to_vec(), entries.iter().flat_map(entry).collect()].concat()
    };
    let own = nix::unistd::getuid().as_raw();
    let list = acl(&[(1, 7, !0), (2, 7, own), (4, 5, !0), (16, 7, !0), (32, 0, !0)]);
    let (access, default) = ("system.posix_acl_access", "system.posix_acl_default");
    let set = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    let get = |path: &Path, name: &str| {
        let mut value = vec![0; 200];
        rustix::fs::getxattr(path, name, &mut value).map(|len| value[..len].to_vec())
    };
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    let (directory, file, within) = (d.join("d"), d.join("d/f"), d.join("d/d"));
    fs::create_dir(&directory).unwrap();
    set(&directory, default, &list);
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    File::options().create_new(true).write(true).mode(0o666).open(&file).unwrap();
    assert_eq!(mode(&file), 0o660);
    assert_eq!(get(&file, access), Ok(acl(&[(1, 6, !0), (2, 7, own), (4, 5, !0), (16, 6, !0), (32, 0, !0)])));
    fs::create_dir(&within).unwrap();
    assert_eq!((mode(&within), get(&within, default)), (0o770, Ok(list.clone())));
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    assert_eq!(get(&file, access), Ok(acl(&[(1, 6, !0), (2, 7, own), (4, 5, !0), (16, 4, !0), (32, 0, !0)])));
    set(&file, access, &acl(&[(1, 6, !0), (4, 4, !0), (32, 4, !0)]));
    assert_eq!((mode(&file), get(&file, access)), (0o644, Err(Errno::NODATA)));
    File::create(d.join("plain")).unwrap();
    assert_eq!(mode(&d.join("plain")), 0o600);
}

/// write(2) itself says that the disk is full; what it took is there, and room that is freed is used again.
fn what_does_not_fit_is_said_at_once(d: &Path) {
    let mut first = File::create(d.join("first")).unwrap();
    first.write_all(&[1; 300_000]).unwrap();
    let mut second = File::create(d.join("second")).unwrap();
    let mut written = 0;
    let error = loop {
        match second.write(&[2; 20_000]) {
            Ok(len) => written += len,
            Err(error) => break error,
        }
    };
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    assert!(written > 700_000 && second.metadata().unwrap().len() == written as u64, "{written}");
    assert_eq!(fs::read(d.join("second")).unwrap(), vec![2; written]);
    assert_eq!(fs::read(d.join("first")).unwrap(), vec![1; 300_000]);
    fs::remove_file(d.join("first")).unwrap();
    drop(first);
    second.write_all(&[3; 250_000]).unwrap();
    let content = fs::read(d.join("second")).unwrap();
    assert!(content[written..].iter().all(|byte| *byte == 3) && content.len() == written + 250_000);
}

fn a_file_without_a_name_lives_on(d: &Path) {
    let path = d.join("f");
    let mut file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
    file.write_all(b"before").unwrap();
    fs::remove_file(&path).unwrap();
    file.write_all(b" and after").unwrap();
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), file.metadata().unwrap().nlink()), ("before and after", 0));
    // A file takes the place of one that is open, and one of a directory that is removed.
    fs::write(&path, "new").unwrap();
    let opened = File::open(&path).unwrap();
    fs::write(d.join("g"), "newer").unwrap();
    renameat_with(CWD, d.join("g"), CWD, &path, RenameFlags::empty()).unwrap();
    assert_eq!(
        (std::io::read_to_string(opened).unwrap().as_str(), fs::read_to_string(&path).unwrap().as_str()),
        ("new", "newer")
    );
    // O_TMPFILE is not there, as the kernel asks for it only in a newer protocol.
    let nameless = File::options().write(true).custom_flags(libc::O_TMPFILE).open(d);
    assert!(nameless.is_ok() || nameless.unwrap_err().raw_os_error() == Some(libc::EOPNOTSUPP));
}

/// A lower tree with files, links and directories.
fn some(lower: &Path) {
    for directory in ["usr/share/doc", "usr/lib", "etc"] {
        fs::create_dir_all(lower.join(directory)).unwrap();
    }
    for n in 0..40 {
        fs::write(lower.join(format!("usr/share/doc/{n}")), format!("text {n}\n").repeat(n * 50)).unwrap();
    }
    fs::write(lower.join("usr/lib/big"), vec![7; 3 << 20]).unwrap();
    fs::hard_link(lower.join("usr/lib/big"), lower.join("usr/lib/same")).unwrap();
    fs::write(lower.join("etc/issue"), "hello\n").unwrap();
    std::os::unix::fs::symlink("issue", lower.join("etc/link")).unwrap();
}

const REMOVE: &str = r#"cd $D
rm -rf usr/share; test ! -e usr/share; mkdir usr/share; test -z "$(ls -A usr/share)"; echo new > usr/share/doc
rm -rf usr; test ! -e usr; mkdir -p usr/lib/big; rmdir usr/lib/big; echo file > usr/lib/big; test "$(cat usr/lib/big)" = file
rm etc/issue; ! cat etc/link 2>/dev/null; echo again > etc/issue; test "$(cat etc/link)" = again
mv etc/issue etc/old; test ! -e etc/issue; mv etc conf; test ! -e etc; test "$(cat conf/old)" = again
mkdir etc; mv conf/old etc/issue; test "$(ls -A conf)" = link
"#;

const CHANGE: &str = r#"cd $D
chmod 600 etc/issue; test "$(stat -c %a:%s etc/issue)" = 600:6; echo more >> etc/issue; test "$(wc -l < etc/issue)" = 2
printf x | dd of=usr/lib/big bs=1 seek=1000000 conv=notrunc status=none; test "$(stat -c %s usr/lib/big)" = 3145728
test "$(cmp usr/lib/big usr/lib/same | wc -l)" = 1; ln usr/lib/same usr/lib/third; test "$(stat -c %h usr/lib/third)" -ge 2
truncate -s 100 usr/lib/same; test "$(stat -c %s usr/lib/third)" = 100; touch -d @1000 usr/share/doc/7; test "$(stat -c %Y usr/share/doc/7)" = 1000
chmod 2775 usr; mkdir usr/new; test "$(stat -c %a usr/new)" = 2755; mkfifo usr/pipe; test -p usr/pipe; mv usr/share/doc/3 usr/share/doc/4
test ! -e usr/share/doc/3; chmod 4755 usr/lib/same; test -u usr/lib/same; echo x >> usr/lib/same; test ! -u usr/lib/same; mv usr/share usr/moved; test -e usr/moved/doc/5
chmod 755 usr/lib/third; sync usr/lib/third; flock usr/lib/third true; sh -c 'exec 9<>usr/both; echo abc >&9'; test "$(cat usr/both)" = abc
"#;

const COPY: &str = r#"cd $D
cp -a usr copied; diff -r usr copied; tar -cf t.tar copied; rm -rf copied; tar -xf t.tar; diff -r usr copied
test "$(stat -c %h copied/lib/big)" = 2; test "$(stat -c %i copied/lib/big)" = "$(stat -c %i copied/lib/same)"; cp -a copied again
ls -l again/lib > /dev/null; cmp again/lib/big again/lib/same; rm again/lib/big; cmp again/lib/same copied/lib/big; echo x > again/lib/big
test "$(stat -c %h:%s again/lib/same)" = 1:3145728; find again -type f | xargs rm; test -z "$(find again -type f)"; rm -rf again usr copied t.tar; test "$(ls)" = etc
"#;

/// What is written under one name is there under the others, however the kernel has kept them.
fn all_names_show_what_is_written_to_one(d: &Path) {
    let (a, b, c) = (d.join("a"), d.join("b"), d.join("c"));
    fs::write(&a, "0".repeat(10_000)).unwrap();
    fs::hard_link(&a, &b).unwrap();
    fs::hard_link(&b, &c).unwrap();
    for n in 1..200_usize {
        let paths = [&a, &b, &c];
        let text = format!("{n:05}");
        let file = File::options().write(true).open(paths[n % 3]).unwrap();
        file.write_at(text.as_bytes(), (n * 37) as u64).unwrap();
        let contents = paths.map(|path| fs::read(path).unwrap());
        let is_there = |content: &Vec<u8>| *content == contents[0] && content[n * 37..][..5] == *text.as_bytes();
        assert!(contents.iter().all(is_there), "{n}");
    }
    assert_eq!(fs::metadata(&a).unwrap().ino(), fs::metadata(&c).unwrap().ino());
    fs::set_permissions(&b, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    File::options().write(true).open(&c).unwrap().set_len(5000).unwrap();
    let found = fs::metadata(&a).unwrap();
    assert_eq!((found.mode() & 0o777, found.len(), found.nlink()), (0o600, 5000, 3));
    fs::remove_file(&a).unwrap();
    fs::rename(&b, &a).unwrap();
    fs::write(&b, "other").unwrap();
    assert_eq!((fs::read(&a).unwrap(), fs::metadata(&c).unwrap().nlink()), (fs::read(&c).unwrap(), 2));
    fs::rename(&a, &c).unwrap();
    assert!(a.exists() && c.exists());
}

const GIT: &str = r#"cd $D
command -v git > /dev/null || exit 0
export HOME=$D GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q r; cd r; for i in 1 2 3; do seq $i 500 > f$i; git add .; git commit -qm $i; done; git gc -q; git fsck; cd ..
git clone -q r s; cd s; test "$(git log --oneline | wc -l)" = 3; cd ..; ls -lR r s > /dev/null; rm -rf r; cd s; git fsck; git checkout -q HEAD~1; test -z "$(git status --short)"
git repack -adq; cd ..; git clone -q s t; rm -rf s t; test -z "$(ls)"
"#;
