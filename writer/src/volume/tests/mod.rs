//! What a program sees at the edges: links that are as many as can be, whiteouts that it does not see.

use std::sync::Arc;

use condatainer_formats::ext::{FileType, Ids, raw::ROOT_INO};
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

/// What only hides is gone without a trace, and takes no inode of its own.
#[test]
fn whiteouts_share_an_inode_and_go_without_a_trace() {
    let (image, volume) = opened(&["-I", "256"]);
    let directory = make(&volume, ROOT_INO, "d", FileType::Directory);
    let like = volume.hide(directory, b"0", false, 0).unwrap();
    for number in 1..200 {
        assert_eq!(volume.hide(directory, number.to_string().as_bytes(), false, like).unwrap(), like);
    }
    make(&volume, directory, "moved", FileType::Regular);
    let how = Renaming { whiteout: true, like, ..Renaming::default() };
    volume.rename((directory, b"moved"), (directory, b"file"), how).unwrap();
    assert_eq!(volume.stat(like).unwrap().links, 201);
    let old = condatainer_formats::ext::Time { seconds: 77, nanoseconds: 5 };
    volume.alter(directory, &Changes { modified: Some(old), ..Changes::default() }).unwrap();
    volume.clear_whiteouts(directory).unwrap();
    let mut names = Vec::new();
    volume
        .list(directory, 0, &mut |listed| {
            names.push(listed.name.clone());
            true
        })
        .unwrap();
    assert_eq!((names, volume.stat(directory).unwrap().modified), (vec![b"file".to_vec()], old));
    assert_eq!(volume.stat(like).unwrap().links, 0);
    volume.close().unwrap();
    image.assert_sound();
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
