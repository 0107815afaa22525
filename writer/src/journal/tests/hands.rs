//! The kernel and e2fsprogs replay what we wrote to the same bytes as we do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::workload::{LARGE, Plan, SMALL, Worked, file_of, mke2fs, run, work};
use crate::journal::replay;
use crate::record::{Overlay, Recorder, apply};

const USUAL: Plan = Plan { changes: 60, commits: 4, largest: 12, close: true };

/// What crashes left, each in a file, with how many events were done.
fn crashed(seed: u64, directory: &Path) -> Vec<(Worked, Vec<(usize, PathBuf)>)> {
    let mut all = Vec::new();
    for make in [SMALL, LARGE] {
        let worked = work(make, Recorder::new(make.image()), seed, USUAL);
        let events = worked.recorder.events();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut images = Vec::new();
        for _ in 0..5 {
            let end = random.usize(0..=events.len());
            let mut image = worked.recorder.base.clone();
            apply(&mut image, &events[..end]);
            images.push((end, file_of(&image, directory, &format!("{}-{end}", make.block_size))));
        }
        all.push((worked, images));
    }
    all
}

/// Ours and theirs are alike, but for the superblocks.
fn assert_alike(worked: &Worked, ours: &[u8], theirs: &[u8]) {
    let block_size = worked.make.block_size;
    let differs = ours.chunks(block_size).zip(theirs.chunks(block_size)).enumerate().filter(|(_, (a, b))| a != b);
    let differs: Vec<usize> = differs.map(|(block, _)| block).collect();
    // That of the file system, and that of the journal: other times, and another number for the next transaction.
    assert!(differs.len() <= 2, "{differs:?}");
    assert!(differs.iter().all(|block| !worked.make.free().contains(&(*block as u64))), "{differs:?}");
}

/// Has the kernel mount an image for a script in it. The mount is in nobody else's sight, so that it is gone afterwards.
fn mounted(image: &Path, point: &Path, script: &str) {
    let all = r#"mount -o loop "$0" "$1"; (cd "$1"; eval "$2") && umount "$1""#;
    run(Command::new("unshare").args(["-m", "sh", "-ec", all]).args([image, point]).arg(script));
}

#[test]
fn e2fsck_replays_to_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    for (worked, images) in crashed(11, directory.path()) {
        for (end, path) in images {
            let before = fs::read(&path).unwrap();
            let overlay = Overlay::new(&before);
            let state = worked.check(&overlay, end);
            let output = Command::new("e2fsck").args(["-y", "-E", "journal_only"]).arg(&path).output().unwrap();
            assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stdout));
            let theirs = fs::read(&path).unwrap();
            assert_eq!(worked.check_replayed(&Overlay::new(&theirs), end), state);
            assert_alike(&worked, &overlay.image(), &theirs);
            run(Command::new("e2fsck").arg("-fn").arg(file_of(&overlay.image(), directory.path(), "ours")));
            run(Command::new("e2fsck").arg("-fn").arg(path));
        }
    }
}

#[test]
fn the_kernel_replays_to_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let point = directory.path().join("mounted");
    fs::create_dir(&point).unwrap();
    for (worked, images) in crashed(12, directory.path()) {
        for (end, path) in images {
            let before = fs::read(&path).unwrap();
            let overlay = Overlay::new(&before);
            let state = worked.check(&overlay, end);
            mounted(&path, &point, "true");
            let theirs = fs::read(&path).unwrap();
            assert_eq!(worked.check_replayed(&Overlay::new(&theirs), end), state);
            assert_alike(&worked, &overlay.image(), &theirs);
        }
    }
}

#[test]
fn what_is_closed_is_clean() {
    for (make, seed) in [(SMALL, 13), (LARGE, 14)] {
        let worked = work(make, Recorder::new(make.image()), seed, USUAL);
        let directory = tempfile::tempdir().unwrap();
        let path = file_of(&worked.recorder.image(), directory.path(), "image");
        let text = run(Command::new("e2fsck").arg("-n").arg(&path));
        assert!(text.contains("clean"), "{text}");
        run(Command::new("e2fsck").arg("-fn").arg(&path));
        let text = run(Command::new("dumpe2fs").arg("-h").arg(&path));
        assert!(text.contains("Mount count:              1") && !text.contains("needs_recovery"), "{text}");
    }
}

/// The kernel is stopped while it has an image mounted: we replay what e2fsck does.
#[test]
fn we_replay_what_the_kernel_wrote() {
    let ext3 = ["-t", "ext3", "-O", "none,has_journal,ext_attr,dir_index,filetype,sparse_super,large_file"];
    for (words, size) in
        [(&ext3[..], 16 << 10), (&["-t", "ext4"], 16 << 10), (&["-t", "ext4", "-O", "^metadata_csum,^64bit"], 8 << 10)]
    {
        let directory = tempfile::tempdir().unwrap();
        let (path, point) = (directory.path().join("image"), directory.path().join("mounted"));
        fs::write(&path, mke2fs(size, words)).unwrap();
        fs::create_dir(&point).unwrap();
        let copy = directory.path().join("copy");
        let script = "for round in 1 2 3; do
            mkdir d$round
            for i in $(seq 60); do echo $i > d$round/$i; done
            sync -f .
            rm -r d$round/1*
            done; sync -f .";
        mounted(&path, &point, &format!("{script}; cp --sparse=always {} {}", path.display(), copy.display()));
        let image = fs::read(copy).unwrap();
        let overlay = Overlay::new(&image);
        let replayed = replay(&overlay).unwrap();
        assert!(replayed.was_needed && replayed.transactions > 1, "{replayed:?}");
        let ours = file_of(&overlay.image(), directory.path(), "ours");
        let theirs = file_of(&image, directory.path(), "theirs");
        let output = Command::new("e2fsck").args(["-y", "-E", "journal_only"]).arg(&theirs).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)));
        run(Command::new("e2fsck").arg("-fn").arg(&ours));
        let (ours, theirs) = (fs::read(ours).unwrap(), fs::read(theirs).unwrap());
        let differs = ours.chunks(1024).zip(theirs.chunks(1024)).filter(|(ours, theirs)| ours != theirs).count();
        assert!(differs <= 2, "the superblocks only");
    }
}
