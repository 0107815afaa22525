//! Attributes against e2fsck and the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nix::errno::Errno;
use proptest::prelude::*;

use crate::error::Result;
use crate::testing::{Image, Opened};
use crate::xattr::{self, How, acl};

const FILES: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 8] = [
    "user.a",
    "user.b",
    "user.a-rather-long-name-of-an-attribute",
    "trusted.overlay.opaque",
    "security.something",
    "user.nämé",
    "user.overlay.origin",
    "trusted.a",
];

/// The forms of images: block size and inode size.
const FORMS: [[&str; 4]; 4] = [
    ["-b", "1024", "-I", "128"],
    ["-b", "1024", "-I", "256"],
    ["-b", "4096", "-I", "128"],
    ["-b", "4096", "-I", "256"],
];

fn set(opened: &mut Opened, ino: u32, name: &str, value: &[u8], how: How) -> Result<()> {
    let mut node = opened.node(ino);
    opened.change(|handle| {
        xattr::set(handle, &mut node, name.as_bytes(), value, how)?;
        node.write(handle)
    })
}

fn remove(opened: &mut Opened, ino: u32, name: &str) -> Result<bool> {
    let mut node = opened.node(ino);
    opened.change(|handle| {
        let found = xattr::remove(handle, &mut node, name.as_bytes())?;
        node.write(handle)?;
        Ok(found)
    })
}

type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

fn ours(opened: &mut Opened, ino: u32) -> Attributes {
    let node = opened.node(ino);
    let names = opened.change(|handle| xattr::names(handle, &node)).unwrap();
    let all: Attributes = names
        .iter()
        .map(|name| (name.clone(), opened.change(|handle| xattr::get(handle, &node, name)).unwrap().unwrap()))
        .collect();
    assert_eq!(all.len(), names.len(), "a name was listed twice");
    assert!(all.is_empty() || xattr::may_have(&node).unwrap());
    all
}

fn theirs(path: &Path) -> Attributes {
    use std::os::unix::ffi::OsStrExt;
    let names = ::xattr::list(path).unwrap();
    names.map(|name| (name.as_bytes().to_vec(), ::xattr::get(path, &name).unwrap().unwrap())).collect()
}

/// A value of a class's own: any bytes.
fn value(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + seed) as u8).collect()
}

/// Sets or removes one attribute of a file: which, a length or none, and a seed for the value.
type Step = (usize, usize, Option<usize>, usize);

fn step() -> impl Strategy<Value = Step> {
    let lengths = prop_oneof![Just(0), Just(1), 2..40_usize, 40..300_usize, 300..1200_usize, 1000..4100_usize];
    (0..FILES.len(), 0..NAMES.len(), proptest::option::weighted(0.75, lengths), 0..3_usize)
}

fn side_by_side(form: &[&str], steps: &[Step]) {
    let [image, kernel] = [(); 2].map(|()| Image::new(4096, form, &FILES));
    let mount = kernel.mount();
    let mut opened = image.open();
    let inos = FILES.map(|file| image.inode(file));
    for (file, name, length, seed) in steps {
        let (path, ino, name) = (mount.join(FILES[*file]), inos[*file], NAMES[*name]);
        let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap());
        if let Some(length) = length {
            let value = value(*length, *seed);
            let result = set(&mut opened, ino, name, &value, How::Any).map_err(|error| error.errno());
            assert_eq!(result, ::xattr::set(&path, name, &value).map_err(errno), "{name} of {length}");
        } else {
            let found = remove(&mut opened, ino, name).unwrap();
            let result = if found { Ok(()) } else { Err(Errno::ENODATA) };
            assert_eq!(result, ::xattr::remove(&path, name).map_err(errno));
        }
    }
    let all = FILES.map(|file| theirs(&mount.join(file)));
    for (ino, theirs) in inos.iter().zip(&all) {
        assert!(&ours(&mut opened, *ino) == theirs, "other attributes");
    }
    drop(mount);
    opened.close();
    image.assert_sound();
    let mount = image.mount();
    for (file, expected) in FILES.iter().zip(&all) {
        assert!(&theirs(&mount.join(file)) == expected, "other attributes");
    }
    // The kernel's, with blocks that it shares, are read and changed too.
    drop(mount);
    let mut opened = kernel.open();
    for (ino, theirs) in inos.iter().zip(&all) {
        assert!(&ours(&mut opened, *ino) == theirs, "other attributes");
        set(&mut opened, *ino, "user.new", b"1", How::Any).or_else(no_room).unwrap();
        for name in theirs.keys().take(3) {
            assert!(remove(&mut opened, *ino, std::str::from_utf8(name).unwrap()).unwrap());
        }
    }
    opened.close();
    kernel.assert_sound();
}

fn no_room(error: crate::Error) -> Result<()> {
    if error.errno() == Errno::ENOSPC { Ok(()) } else { Err(error) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn they_are_set_and_removed_as_the_kernel_does_it(form in 0..FORMS.len(), steps in proptest::collection::vec(step(), 1..60)) {
        side_by_side(&FORMS[form], &steps);
    }
}

#[test]
fn a_block_that_two_files_share_is_copied_before_a_change() {
    for form in FORMS {
        let image = Image::new(4096, &form, &FILES);
        let mount = image.mount();
        let long = value(700, 1);
        for file in FILES {
            ::xattr::set(mount.join(file), "user.long", &long).unwrap();
        }
        drop(mount);
        let mut opened = image.open();
        let inos = FILES.map(|file| image.inode(file));
        let blocks = inos.map(|ino| opened.node(ino).inode().unwrap().file_acl());
        assert!(blocks[0] != 0 && blocks.iter().all(|block| *block == blocks[0]), "the kernel shares no block");
        set(&mut opened, inos[0], "user.long", &value(700, 2), How::Replace).unwrap();
        let own = opened.node(inos[0]).inode().unwrap().file_acl();
        assert!(own != 0 && own != blocks[0]);
        // Freed once, and once more by the last one.
        for ino in [inos[1], inos[2]] {
            assert_eq!(ours(&mut opened, ino)[b"user.long".as_slice()], long);
            let mut node = opened.node(ino);
            opened
                .change(|handle| {
                    xattr::free_block(handle, &mut node)?;
                    node.write(handle)
                })
                .unwrap();
        }
        opened.close();
        image.assert_sound();
        let mount = image.mount();
        let all = FILES.map(|file| theirs(&mount.join(file)).len());
        assert_eq!(all, [1, 0, 0]);
        assert_eq!(theirs(&mount.join("a"))[b"user.long".as_slice()], value(700, 2));
    }
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let image = Image::new(4096, &FORMS[3], &FILES);
    let mut opened = image.open();
    let ino = image.inode("a");
    let errno = |result: Result<()>| result.unwrap_err().errno();
    assert_eq!(errno(set(&mut opened, ino, "user.a", b"1", How::Replace)), Errno::ENODATA);
    set(&mut opened, ino, "user.a", b"1", How::Create).unwrap();
    assert_eq!(errno(set(&mut opened, ino, "user.a", b"2", How::Create)), Errno::EEXIST);
    set(&mut opened, ino, "user.a", b"2", How::Replace).unwrap();
    assert_eq!(errno(set(&mut opened, ino, "other.a", b"2", How::Any)), Errno::EOPNOTSUPP);
    assert_eq!(errno(set(&mut opened, ino, "user.", b"2", How::Any)), Errno::EINVAL);
    assert_eq!(errno(set(&mut opened, ino, "user.b", &[0; 4096], How::Any)), Errno::ENOSPC);
    assert_eq!(errno(set(&mut opened, ino, "system.posix_acl_access", b"2", How::Any)), Errno::EINVAL);
    assert!(!remove(&mut opened, ino, "user.b").unwrap());
    assert_eq!(ours(&mut opened, ino), [(b"user.a".to_vec(), b"2".to_vec())].into());
    opened.close();
    image.assert_sound();
}

#[test]
fn access_control_lists_are_the_kernels() {
    let none = u32::MAX;
    let list = acl::value(&[(1, 6, none), (2, 4, 70_001), (4, 4, none), (8, 7, 12), (16, 6, none), (32, 4, none)]);
    let name = "system.posix_acl_access";
    for form in FORMS {
        let image = Image::new(4096, &form, &FILES);
        let mount = image.mount();
        ::xattr::set(mount.join("a"), name, &list).unwrap();
        drop(mount);
        let mut opened = image.open();
        let inos = FILES.map(|file| image.inode(file));
        assert_eq!(ours(&mut opened, inos[0])[name.as_bytes()], list);
        set(&mut opened, inos[1], name, &list, How::Any).unwrap();
        // One without entries takes it away.
        set(&mut opened, inos[0], name, &2_u32.to_le_bytes(), How::Any).unwrap();
        opened.close();
        image.assert_sound();
        let mount = image.mount();
        assert_eq!(theirs(&mount.join("b")), [(name.as_bytes().to_vec(), list.clone())].into());
        assert!(theirs(&mount.join("a")).is_empty());
    }
}

#[test]
fn what_is_no_access_control_list_is_refused_as_by_the_kernel() {
    let none = u32::MAX;
    let (owner, group, others) = ((1, 7, none), (4, 5, none), (32, 1, none));
    let values = [
        vec![],
        vec![2, 0, 0],
        vec![1, 0, 0, 0],
        acl::value(&[owner, group, others])[..27].to_vec(),
        acl::value(&[owner, group]),
        acl::value(&[owner, (2, 5, 1), group, others]),
        acl::value(&[owner, (2, 5, none), group, (16, 7, none), others]),
        acl::value(&[owner, (2, 5, 2), (2, 5, 1), group, (16, 7, none), others]),
        acl::value(&[owner, group, (16, 7, 5), others]),
        acl::value(&[(1, 8, none), group, others]),
        acl::value(&[group, owner, others]),
        acl::value(&[owner, owner, group, others]),
        acl::value(&[owner, group, others, (64, 1, none)]),
    ];
    let image = Image::new(4096, &FORMS[3], &FILES);
    let mount = image.mount();
    let kernel = values.clone().map(|value| {
        let result = ::xattr::set(mount.join("a"), "system.posix_acl_access", &value);
        result.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap()))
    });
    drop(mount);
    let (mut opened, ino) = (image.open(), image.inode("a"));
    for (value, kernel) in values.iter().zip(kernel) {
        let result = set(&mut opened, ino, "system.posix_acl_access", value, How::Any);
        assert_eq!(result.map_err(|error| error.errno()), kernel, "{value:?}");
    }
}

#[test]
fn foreign_bytes_are_refused_or_read() {
    for form in FORMS {
        let image = Image::new(4096, &form, &FILES);
        let mut opened = image.open();
        let ino = image.inode("a");
        for (number, name) in NAMES.iter().enumerate() {
            set(&mut opened, ino, name, &value(number * 9, 3), How::Any).unwrap();
        }
        let before = opened.node(ino);
        let block = before.inode().unwrap().file_acl();
        assert_ne!(block, 0);
        let bytes = opened.change(|handle| handle.block(block)).unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        let mut answers = BTreeSet::new();
        for _ in 0..300 {
            let mut node = before.clone();
            let spoilt: Vec<(usize, u8)> = (0..3).map(|_| (random.usize(0..160), random.u8(..))).collect();
            let at = random.usize(128..256);
            if let Some(byte) = node.record_mut().unwrap().attributes_mut().and_then(|room| room.get_mut(at - 128)) {
                *byte = random.u8(..);
            }
            if random.u8(..8) == 0 {
                node.inode_mut().unwrap().i_file_acl_lo.set(random.u32(..6000));
            }
            let result = opened.change(|handle| -> Result<()> {
                let place = handle.change(block)?;
                for (at, byte) in &spoilt {
                    place[*at] = *byte;
                }
                let names = xattr::names(handle, &node);
                for name in NAMES.iter().chain(&["user.new"]) {
                    let _ = xattr::get(handle, &node, name.as_bytes());
                    let _ = xattr::set(handle, &mut node, name.as_bytes(), &value(30, 1), How::Any);
                    let _ = xattr::remove(handle, &mut node, name.as_bytes());
                }
                let _ = xattr::free_block(handle, &mut node);
                names.and(Err(Errno::ECANCELED.into()))
            });
            answers.insert(result.unwrap_err().errno() as i32);
        }
        assert!(answers.contains(&(Errno::EUCLEAN as i32)) && answers.contains(&(Errno::ECANCELED as i32)));
        assert_eq!(opened.change(|handle| handle.block(block)).unwrap(), bytes);
        opened.close();
        image.assert_sound();
    }
}
