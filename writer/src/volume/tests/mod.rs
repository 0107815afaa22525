//! What a program sees at the edges: links that are as many as can be, times that must be told apart.

use std::sync::Arc;

use condatainer_formats::ext::{FileType, Ids, Stat, raw::ROOT_INO};
use nix::errno::Errno;

use crate::inode::Node;
use crate::testing::{FEATURES, Image};
use crate::volume::names::MOST_LINKS;
use crate::{Changes, New, Renaming, Volume};

fn opened(words: &[&str]) -> (Image, Volume) {
    let features = format!("{FEATURES},has_journal");
    let image = Image::new(8 << 10, &[words, &["-b", "1024", "-O", &features]].concat(), &[]);
    let volume = Volume::open(Arc::new(image.device())).unwrap();
    (image, volume)
}

fn make(volume: &Volume, directory: u32, name: &str, kind: FileType) -> u32 {
    let new = New { kind, mode: 0o755, ids: Ids::ROOT, device: (0, 0), target: &[], xattrs: &[] };
    volume.make(directory, name.as_bytes(), &new).unwrap().ino
}

fn set_links(volume: &Volume, ino: u32, links: u16) {
    let set = volume.change(|handle| {
        let mut node = Node::read(handle, ino)?;
        node.set_links(links)?;
        node.write(handle)
    });
    set.unwrap();
}

#[test]
fn a_directory_has_no_more_directories_than_it_can_count() {
    let (image, volume) = opened(&[]);
    let [full, other] = ["full", "other"].map(|name| make(&volume, ROOT_INO, name, FileType::Directory));
    make(&volume, full, "file", FileType::Regular);
    make(&volume, full, "dir", FileType::Directory);
    make(&volume, other, "dir", FileType::Directory);
    let links = volume.stat(full).unwrap().links;
    set_links(&volume, full, MOST_LINKS);
    let exchange = Renaming { exchange: true, ..Renaming::default() };
    let rename = |from: (u32, &str), to: (u32, &str), how| {
        volume.rename((from.0, from.1.as_bytes()), (to.0, to.1.as_bytes()), how).map_err(|error| error.errno())
    };
    // A directory comes where a file was.
    assert_eq!(rename((other, "dir"), (full, "file"), exchange), Err(Errno::EMLINK));
    assert_eq!(rename((full, "file"), (other, "dir"), exchange), Err(Errno::EMLINK));
    assert_eq!(rename((other, "dir"), (full, "new"), Renaming::default()), Err(Errno::EMLINK));
    assert_eq!((volume.stat(full).unwrap().links, volume.stat(other).unwrap().links), (MOST_LINKS, 3));
    // Nothing is added there.
    assert_eq!(rename((other, "dir"), (full, "dir"), exchange), Ok(()));
    assert_eq!(rename((full, "dir"), (full, "file"), exchange), Ok(()));
    set_links(&volume, full, MOST_LINKS - 1);
    assert_eq!(rename((other, "dir"), (full, "dir"), exchange), Ok(()));
    assert_eq!(volume.stat(full).unwrap().links, MOST_LINKS);
    set_links(&volume, full, links + 1);
    volume.close().unwrap();
    image.assert_sound();
}

/// The kernel keeps the content of each name for itself, and looks at the time.
#[test]
fn each_write_to_a_file_of_several_names_is_seen_by_its_time() {
    let (_image, volume) = opened(&["-I", "256"]);
    let times = |stat: &Stat| (stat.modified.seconds, stat.modified.nanoseconds, stat.changed);
    let writes = |ino: u32| {
        let written = (0..200).map(|_| {
            volume.write(ino, 0, b"same length", false).unwrap();
            times(&volume.stat(ino).unwrap())
        });
        let written: Vec<_> = written.collect();
        assert!(written.is_sorted_by_key(|(seconds, nanoseconds, _)| (*seconds, *nanoseconds)));
        assert!(written.iter().all(|(seconds, nanoseconds, changed)| {
            (changed.seconds, changed.nanoseconds) == (*seconds, *nanoseconds) && *nanoseconds < 1_000_000_000
        }));
        let mut different = written.clone();
        different.dedup();
        different.len()
    };
    let ino = make(&volume, ROOT_INO, "a", FileType::Regular);
    assert!(writes(ino) < 200, "the clock has so many ticks?");
    volume.link(ino, ROOT_INO, b"b").unwrap();
    assert_eq!(writes(ino), 200);
    // Who was given it under one of several names has it still.
    volume.remove(ROOT_INO, b"b", false).unwrap();
    assert_eq!(writes(ino), 200);
    volume.release(ino, 2).unwrap();
    volume.lookup(ROOT_INO, b"a").unwrap();
    assert!(writes(ino) < 200);
    // Times that a program sets stay where they are not of now.
    volume.link(ino, ROOT_INO, b"b").unwrap();
    let later = condatainer_formats::ext::Time { seconds: 5_000_000_000, nanoseconds: 999_999_999 };
    volume.alter(ino, &Changes { modified: Some(later), ..Changes::default() }).unwrap();
    volume.write(ino, 0, b"same length", false).unwrap();
    assert!(volume.stat(ino).unwrap().modified.seconds < later.seconds);
}

/// Who has CAP_FSETID keeps the bits, as on a disk; what a file may do holds for its content, whoever changes that.
#[test]
fn who_may_keep_set_user_id_keeps_it_whatever_changes_the_content() {
    let (_image, volume) = opened(&["-I", "256"]);
    let ino = make(&volume, ROOT_INO, "a", FileType::Regular);
    let ways: [(&str, &dyn Fn(bool)); 4] = [
        ("write", &|strips| assert_eq!(volume.write(ino, 0, &[7; 5000], strips).unwrap(), 5000)),
        ("truncate", &|strips| assert_eq!(volume.truncate(ino, 4000, strips).unwrap().size, 4000)),
        ("punch", &|strips| volume.punch(ino, 1000..3000, strips).unwrap()),
        ("allocate", &|strips| volume.allocate(ino, 0..6000, strips).unwrap()),
    ];
    for (name, change) in ways {
        for (strips, mode, left) in [(false, 0o6775, 0o6775), (true, 0o6775, 0o775), (true, 0o6764, 0o2764)] {
            volume.alter(ino, &Changes { mode: Some(mode), ..Changes::default() }).unwrap();
            volume.set_xattr(ino, b"security.capability", b"value", crate::How::Any).unwrap();
            change(strips);
            assert_eq!(volume.stat(ino).unwrap().mode, left, "{name} {strips}");
            assert_eq!(volume.xattr(ino, b"security.capability").unwrap_err().errno(), Errno::ENODATA, "{name}");
        }
    }
}
