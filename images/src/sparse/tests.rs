//! Copies of sparse files, and what is given back of them.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use nix::fcntl::{FallocateFlags, fallocate};

use super::copy::{copy, copy_data, read_and_write};
use super::dig::dig;

/// A file of 8 MiB with data at the start, in the middle and at the end.
fn sparse() -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(8 << 20).unwrap();
    for at in [0, (4 << 20) + 512, (8 << 20) - 700] {
        file.write_all_at(&[7; 700], at).unwrap();
    }
    file
}

fn content(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn every_byte_is_copied() {
    let (from, to) = (sparse(), tempfile::tempfile().unwrap());
    let mut told = Vec::new();
    let mut tell = |done, total| {
        told.push((done, total));
        Ok(())
    };
    copy_data(&from, &to, &mut tell).unwrap();
    assert!(content(&from) == content(&to));
    assert!(to.metadata().unwrap().blocks() <= from.metadata().unwrap().blocks());
    assert!(told.is_sorted() && told.last().is_some_and(|(done, total)| done == total), "{told:?}");
}

#[test]
fn reading_and_writing_copies_the_same() {
    let (from, to) = (sparse(), tempfile::tempfile().unwrap());
    read_and_write(&from, &to, 0..8 << 20).unwrap();
    assert!(content(&from) == content(&to));
}

#[test]
fn a_copy_can_be_stopped() {
    let (from, to) = (sparse(), tempfile::tempfile().unwrap());
    let error = copy_data(&from, &to, &mut |_, _| Err(io::ErrorKind::Interrupted.into())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
}

#[test]
fn holes_stay_holes() {
    let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    from.set_len(1 << 30).unwrap();
    let data: Vec<u8> = (0..100_000_u32).map(|i| i as u8).collect();
    for at in [0, (20 << 20) + 4096, (1 << 30) - 100_000] {
        from.write_all_at(&data, at).unwrap();
    }
    let mut told = Vec::new();
    let mut tell = |done, total| {
        told.push((done, total));
        Ok(())
    };
    copy(&from, &to, &mut tell).unwrap();
    let meta = to.metadata().unwrap();
    assert!(meta.len() == 1 << 30 && meta.blocks() * 512 < 1 << 20, "{meta:?}");
    for at in [0, (20 << 20) + 4096, (1 << 30) - 100_000] {
        let mut back = vec![0; data.len()];
        to.read_exact_at(&mut back, at).unwrap();
        assert!(back == data, "at {at}");
    }
    assert!(told.is_sorted() && told.iter().all(|(done, total)| done <= total), "{told:?}");
}

#[test]
fn nothing_but_a_hole() {
    let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    from.set_len(12_345).unwrap();
    copy(&from, &to, &mut |_, _| Ok(())).unwrap();
    assert_eq!(to.metadata().unwrap().len(), 12_345);
}

#[test]
fn zeroes_are_given_back() {
    let file = sparse();
    file.write_all_at(&vec![0; 1 << 20], 1 << 20).unwrap();
    fallocate(file.as_fd(), FallocateFlags::empty(), 5 << 20, 1 << 20).unwrap();
    let (before, blocks) = (content(&file), file.metadata().unwrap().blocks());
    dig(&file, 0..8 << 20);
    assert!(content(&file) == before);
    let now = file.metadata().unwrap().blocks();
    // Two MiB, but for what the file system needs to remember more pieces.
    assert!(now + 4000 <= blocks, "{blocks} blocks before, {now} now");
}
