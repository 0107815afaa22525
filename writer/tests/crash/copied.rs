//! What an overlay does is one change, however many commits are in the middle of it: a file is copied whole or not at all, and what is below a name shows
//! at no time.

use std::sync::Arc;

use condatainer_formats::ext::{FileType, Ids, Time, raw::ROOT_INO};
use condatainer_writer::device::Device;
use condatainer_writer::{Copied, New, Renaming, Volume, replay};

use super::record::{Overlay, Recorder, apply, each_cut};
use super::{image, seen};

const OLD: Time = Time { seconds: 1234, nanoseconds: 0 };

fn copied<'a>(kind: FileType, xattrs: &'a [(&'a [u8], &'a [u8])]) -> Copied<'a> {
    let ids = Ids { uid: 1000, gid: 70_000 };
    Copied {
        new: New { kind, mode: 0o4711, ids, device: (0, 0), target: b"target", xattrs },
        accessed: OLD,
        modified: OLD,
    }
}

/// In any state: of what is there, everything is there.
fn check(overlay: &Overlay<'_>, content: &[u8], counts: &mut [usize; 4]) {
    let (tree, contents) = seen::of(overlay, overlay.size());
    if let Some(file) = tree.get("/d/copy") {
        let whole = (file.stat.size, file.stat.mode, file.stat.links, file.stat.modified.seconds);
        assert_eq!(whole, (content.len() as u64, 0o4711, 3, OLD.seconds));
        assert_eq!(file.xattrs, [(b"user.note".to_vec(), b"value".to_vec())]);
        assert!(contents[&file.ino] == content);
        // All its names, or none.
        assert!(["/d/name", "/third"].iter().all(|name| tree.get(*name).is_some_and(|other| other.ino == file.ino)));
        let is_first = !tree.contains_key("/d/hidden");
        assert!(!is_first || tree["/d"].stat.modified.seconds == OLD.seconds, "nothing is new in the directory");
        counts[0] += 1;
    }
    assert_eq!(tree.contains_key("/d/copy"), tree.contains_key("/third"));
    let Some(hidden) = tree.get("/d/hidden") else { return };
    counts[match hidden.stat.kind {
        FileType::Regular => 1,
        FileType::CharDevice => 2,
        FileType::Directory => {
            assert!(hidden.xattrs.contains(&(b"user.overlay.opaque".to_vec(), b"y".to_vec())));
            3
        }
        kind => panic!("{kind:?}"),
    }] += 1;
}

#[test]
fn what_an_overlay_does_is_done_whole_or_not_at_all() {
    let recorder = Arc::new(Recorder::new(image(&["-b", "1024", "-I", "128", "-J", "size=1"], 8)));
    let device: Arc<dyn Device> = recorder.clone();
    let volume = Volume::open(device).unwrap();
    let xattrs: [(&[u8], &[u8]); 1] = [(b"user.note", b"value")];
    let file = copied(FileType::Regular, &xattrs);
    let directory = volume.copy(ROOT_INO, b"d", &copied(FileType::Directory, &[])).unwrap().ino;
    volume.commit().unwrap();
    let content: Vec<u8> = (0..1_200_000_u32).map(|at| (at / 7 + 1) as u8).collect();
    let ino = volume.make_nameless(directory, &New { xattrs: &[], ..file.new }).unwrap().ino;
    for (piece, bytes) in content.chunks(200_000).enumerate() {
        assert_eq!(volume.write(ino, piece as u64 * 200_000, bytes, false).unwrap(), bytes.len());
        volume.commit().unwrap();
    }
    volume.finish(ino, &[(directory, b"copy"), (directory, b"name"), (ROOT_INO, b"third")], &file).unwrap();
    volume.commit().unwrap();
    let copied_by = recorder.len();
    // A name that hides something below is never missing.
    let old = New { kind: FileType::Regular, xattrs: &[], ..file.new };
    volume.make(directory, b"hidden", &old).unwrap();
    volume.commit().unwrap();
    let begun = recorder.len();
    let hides = volume.hide(directory, b"hidden", false, 0).unwrap();
    volume.commit().unwrap();
    let opaque: [(&[u8], &[u8]); 1] = [(b"user.overlay.opaque", b"y")];
    let new = New { kind: FileType::Directory, mode: 0o755, xattrs: &opaque, ..file.new };
    volume.make_over(directory, b"hidden", &new).unwrap();
    volume.commit().unwrap();
    let hides = volume.hide(directory, b"hidden", true, hides).unwrap();
    assert_eq!(volume.hide(directory, b"other", false, hides).unwrap(), hides, "one more name");
    volume.commit().unwrap();
    volume.make(ROOT_INO, b"moved", &new).unwrap();
    let over = Renaming { over_whiteout: true, ..Renaming::default() };
    volume.rename((ROOT_INO, b"moved"), (directory, b"hidden"), over).unwrap();
    volume.end().unwrap();
    let mut counts = [0; 4];
    let events = recorder.events();
    let mut image = recorder.base.clone();
    for end in 0..=events.len() {
        apply(&mut image, &events[end.saturating_sub(1)..end]);
        let overlay = Overlay::new(&image);
        replay(&overlay).unwrap();
        let before = counts;
        check(&overlay, &content, &mut counts);
        assert!(
            end < copied_by || counts[0] > before[0],
            "it was copied after {copied_by} events, and is missing after {end}"
        );
        assert!(end < begun || counts[1..] != before[1..], "after {end} events what is below shows");
    }
    each_cut(&recorder, 7, 300, |overlay, _| {
        replay(overlay).unwrap();
        check(overlay, &content, &mut counts);
    });
    assert!(counts.iter().all(|count| *count > 2), "{counts:?}");
}
