//! Which images are opened, and what that needs.

use std::sync::Arc;

use condatainer_formats::ext::raw::SUPERBLOCK_OFFSET;
use condatainer_writer::device::Device;

use super::workload::{LARGE, SMALL, file_of, mke2fs, run};
use crate::journal::replay;
use crate::record::{Overlay, Recorder};
use crate::{Error, Volume};

fn open(image: Vec<u8>) -> Result<(Arc<Recorder>, Volume), String> {
    let recorder = Arc::new(Recorder::new(image));
    let device: Arc<dyn Device> = recorder.clone();
    Volume::open(device).map(|volume| (recorder, volume)).map_err(|error| error.to_string())
}

fn change(volume: &Volume, block: u64, byte: u8) -> crate::Result<()> {
    volume.change(|handle| handle.change(block).map(|bytes| bytes.fill(byte)))
}

#[test]
fn what_is_not_written_is_refused_by_name() {
    let refused = |words: &[&str]| open(mke2fs(8 << 10, words)).err().unwrap();
    let ext4 = refused(&["-t", "ext4", "-b", "1024"]);
    for name in ["extent", "64bit", "metadata_csum", "flex_bg", "huge_file", "dir_nlink", "extra_isize"] {
        assert!(ext4.contains(name), "{ext4}");
    }
    let without = refused(&["-t", "ext2", "-b", "1024"]);
    assert!(without.contains("no journal"), "{without}");
    let inodes = refused(&["-t", "ext3", "-O", "none,has_journal,filetype", "-b", "1024", "-I", "512"]);
    assert!(inodes.contains("inodes of 512 bytes"), "{inodes}");
    assert!(
        refused(&["-t", "ext3", "-O", "none,has_journal,filetype,extent", "-b", "1024"]).contains("feature extent")
    );

    let state = |bits: u16| {
        let mut image = SMALL.image();
        image[SUPERBLOCK_OFFSET as usize + 0x3A..][..2].copy_from_slice(&bits.to_le_bytes());
        open(image).err().unwrap()
    };
    assert!(state(0).contains("not unmounted") && state(3).contains("with errors"));
}

#[test]
fn a_journal_of_the_first_version_becomes_one_of_the_second() {
    let mut image = SMALL.image();
    let journal = image.chunks(1024).position(|block| block.starts_with(&[0xC0, 0x3B, 0x39, 0x98])).unwrap() * 1024;
    image[journal + 7] = 3;
    image[journal + 0x24..journal + 1024].fill(0xEE);
    let (recorder, volume) = open(image).unwrap();
    let block = SMALL.free()[0];
    change(&volume, block, 1).unwrap();
    volume.change(|handle| Ok(handle.forget(SMALL.free()[1]))).unwrap();
    volume.commit().unwrap();
    let image = recorder.image();
    assert_eq!((image[journal + 7], image[journal + 0x2B]), (4, 1));
    let overlay = Overlay::new(&image);
    assert_eq!(replay(&overlay).unwrap().transactions, 1);
    let directory = tempfile::tempdir().unwrap();
    let path = file_of(&image, directory.path(), "image");
    let output = std::process::Command::new("e2fsck").arg("-fy").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(std::fs::read(path).unwrap()[block as usize * 1024], 1);
}

#[test]
fn it_is_left_and_used_again() {
    let (recorder, volume) = open(LARGE.image()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    for round in 1..4_u8 {
        change(&volume, LARGE.free()[0], round).unwrap();
        volume.close().unwrap();
        let path = file_of(&recorder.image(), directory.path(), "image");
        run(std::process::Command::new("e2fsck").arg("-fn").arg(&path));
        let text = run(std::process::Command::new("dumpe2fs").arg("-h").arg(&path));
        assert!(text.contains(&format!("Mount count:              {round}\n")), "{text}");
    }
    drop(volume);
    let (recorder, volume) = open(recorder.image()).unwrap();
    change(&volume, LARGE.free()[0], 9).unwrap();
    volume.commit().unwrap();
    // Killed: the next one replays.
    let (recorder, volume) = open(recorder.image()).unwrap();
    assert_eq!(recorder.image()[LARGE.free()[0] as usize * 4096], 9);
    change(&volume, LARGE.free()[0], 10).unwrap();
    volume.close().unwrap();
    let text = run(std::process::Command::new("dumpe2fs").arg("-h").arg(file_of(
        &recorder.image(),
        directory.path(),
        "image",
    )));
    assert!(text.contains("Mount count:              5\n"), "{text}");
}

#[test]
fn a_change_that_no_journal_could_take_has_never_been() {
    let (recorder, volume) = open(SMALL.image()).unwrap();
    let all: Vec<u64> = (SMALL.last() - 600..SMALL.last()).collect();
    let change = |blocks: &[u64]| {
        volume.change(|handle| blocks.iter().try_for_each(|block| handle.change(*block).map(|bytes| bytes.fill(7))))
    };
    assert!(matches!(change(&all), Err(Error::Device(_))));
    volume.close().unwrap();
    assert_eq!(recorder.len(), 0);
    for some in all.chunks(150) {
        change(some).unwrap();
    }
    volume.close().unwrap();
    assert!(recorder.image()[all[0] as usize * 1024..][..600 * 1024].iter().all(|byte| *byte == 7));
}

#[test]
fn counts_that_somebody_left_behind_are_made_right() {
    let mut image = SMALL.image();
    let counts = SUPERBLOCK_OFFSET as usize + 0x0C..SUPERBLOCK_OFFSET as usize + 0x14;
    let right = image[counts.clone()].to_vec();
    image[counts.clone()].fill(1);
    let (recorder, volume) = open(image).unwrap();
    assert_eq!(recorder.len(), 0);
    volume.close().unwrap();
    assert_eq!(recorder.image()[counts], right);
}

/// Whatever an image says of itself: nothing outside of it is written, and nobody panics.
#[test]
fn images_that_lie_are_refused_or_written() {
    let image = {
        let (recorder, volume) = open(SMALL.image()).unwrap();
        for byte in 1..5 {
            change(&volume, SMALL.free()[usize::from(byte)], byte).unwrap();
            volume.commit().unwrap();
        }
        recorder.image()
    };
    let journal = image.chunks(1024).position(|block| block.starts_with(&[0xC0, 0x3B, 0x39, 0x98])).unwrap() * 1024;
    // The record of inode 8: the table of inodes is found where the group says.
    let table = u32::from_le_bytes(image[2048 + 8..2048 + 12].try_into().unwrap()) as usize * 1024;
    let size = usize::from(u16::from_le_bytes(image[1024 + 0x58..1024 + 0x5A].try_into().unwrap()));
    let inode = table + 7 * size;
    let places = [
        1024..1024 + 0x160,
        2048..2048 + 32,
        inode..inode + 128,
        journal..journal + 64,
        journal + 1024..journal + 12_000,
    ];
    let mut random = fastrand::Rng::with_seed(1);
    let mut opened = 0;
    for _ in 0..400 {
        let mut image = image.clone();
        for _ in 0..random.usize(1..4) {
            let place = random.choice(&places).unwrap().clone();
            let any = random.u8(..);
            image[random.usize(place)] = *random.choice(&[0, 1, 0x7F, 0x80, 0xFF, any]).unwrap();
        }
        let Ok((_, volume)) = open(image) else { continue };
        opened += 1;
        let _ = change(&volume, SMALL.free()[0], 7);
        let _ = volume.commit();
        let _ = volume.close();
    }
    assert!(opened > 50, "{opened}");
}

#[test]
fn a_journal_that_the_kernel_gave_up_is_refused() {
    let mut image = SMALL.image();
    let journal = image.chunks(1024).position(|block| block.starts_with(&[0xC0, 0x3B, 0x39, 0x98])).unwrap() * 1024;
    image[journal + 0x20 + 3] = 5;
    assert!(open(image).err().unwrap().contains("whose journal could not be written"));
}
