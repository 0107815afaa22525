//! The disk under the image is full. What has no room there is refused where a program asks for it; what was accepted is made to last, and
//! the image is in order. So it is where the file system of the host reserves room, and where it does not.

// Tests and their helpers: what does not hold, fails the test.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use condatainer_formats::ext::raw::ROOT_INO;
use condatainer_formats::ext::{FileType, Ids, Window};
use condatainer_writer::device::FileDevice;
use condatainer_writer::{Error, New, Volume};
use nix::errno::Errno;

/// A small file system in memory.
struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { directory: tempfile::tempdir().unwrap() };
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(host.directory.path()));
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Fills it but for so many KiB.
    fn fill(&self, left: u64) {
        let ballast = File::create(self.path("ballast")).unwrap();
        let free = rustix::fs::statvfs(self.directory.path()).unwrap();
        let length = (free.f_bavail * free.f_bsize - (left << 10)) as usize;
        ballast.write_all_at(&vec![1; length], 0).unwrap();
    }

    /// A process that another test is just starting may have the file open, too: taken away, it would keep its room for a moment.
    fn empty(&self) {
        File::create(self.path("ballast")).unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.directory.path()).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&words));
}

/// Longer than what it lies on.
fn image(host: &Host, block_size: &str) -> PathBuf {
    let path = host.path("image");
    File::create(&path).unwrap().set_len(96 << 20).unwrap();
    let words = ["-q", "-F", "-t", "ext3", "-m", "0", "-N", "4096", "-J", "size=4", "-E", "lazy_journal_init=1"];
    run(Command::new("mke2fs").args(words).args(["-b", block_size]).arg(&path));
    path
}

fn open(path: &Path, by_writing: bool) -> Result<Volume, Error> {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let device = FileDevice::new(file, Window::whole(size));
    Volume::open(Arc::new(if by_writing { device.by_writing() } else { device }))
}

fn make(volume: &Volume, directory: u32, name: &str, kind: FileType) -> Result<u32, Error> {
    let new = New { kind, mode: 0o755, ids: Ids::ROOT, device: (0, 0), target: &[], xattrs: &[] };
    volume.make(directory, name.as_bytes(), &new).map(|named| named.ino)
}

/// What a file has.
fn content(number: usize) -> Vec<u8> {
    format!("{number};").bytes().cycle().take(number * 997 % 30_000).collect()
}

/// Directories and files until there is no room. Returns the files by their directory and name, and how much of each was accepted.
fn work(volume: &Volume) -> Vec<(String, String, usize, usize)> {
    let (mut done, mut directory, mut refused) = (Vec::new(), (ROOT_INO, String::new()), 0);
    for number in 0.. {
        if refused == 5 {
            break;
        }
        let name = format!("d{number}");
        let attempt = || {
            if number % 7 == 0 {
                directory = (make(volume, ROOT_INO, &name, FileType::Directory)?, name);
                return Ok(());
            }
            let name = format!("f{number}-{}", "x".repeat(number % 200));
            let ino = make(volume, directory.0, &name, FileType::Regular)?;
            let data = content(number);
            done.push((directory.1.clone(), name, number, 0));
            while let Some((.., written)) = done.last_mut().filter(|(.., written)| *written < data.len()) {
                *written += volume.write(ino, *written as u64, &data[*written..], false)?;
            }
            Ok(())
        };
        if let Err(error) = attempt() {
            assert_eq!(Error::errno(&error), Errno::ENOSPC, "{error}");
            refused += 1;
        }
        if number % 50 == 0 {
            volume.commit().unwrap();
        }
    }
    done
}

fn check(volume: &Volume, files: &[(String, String, usize, usize)]) {
    for (directory, name, number, written) in files {
        let directory = match directory.as_str() {
            "" => ROOT_INO,
            directory => volume.lookup(ROOT_INO, directory.as_bytes()).unwrap().ino,
        };
        let ino = volume.lookup(directory, name.as_bytes()).unwrap().ino;
        let mut held = vec![0; content(*number).len() + 1];
        let length = volume.read(ino, 0, &mut held).unwrap();
        assert!(held[..length] == content(*number)[..*written], "{name}");
    }
}

fn tried(block_size: &str, by_writing: bool, left: u64) {
    let host = Host::new();
    let path = image(&host, block_size);
    let volume = open(&path, by_writing).unwrap();
    host.fill(left);
    let done = work(&volume);
    // Nothing has failed but what was told; what was accepted lasts.
    volume.commit().unwrap();
    check(&volume, &done);
    // What is there can be changed, and removed.
    let removed = done.iter().filter(|(directory, ..)| directory.is_empty()).take(2);
    removed.for_each(|(_, name, ..)| volume.remove(ROOT_INO, name.as_bytes(), false).unwrap());
    volume.commit().unwrap();
    host.empty();
    let again = make(&volume, ROOT_INO, "again", FileType::Directory).unwrap();
    make(&volume, again, "file", FileType::Regular).unwrap();
    volume.end().unwrap();
    run(Command::new("e2fsck").arg("-fn").arg(&path));
    let volume = open(&path, by_writing).unwrap();
    check(&volume, &done.iter().filter(|(directory, ..)| !directory.is_empty()).cloned().collect::<Vec<_>>());
    volume.close().unwrap();
}

#[test]
fn where_the_host_reserves_room() {
    for (block_size, left) in [("1024", 0), ("1024", 100), ("4096", 40), ("4096", 700)] {
        tried(block_size, false, left);
    }
}

#[test]
fn where_the_host_reserves_nothing() {
    for (block_size, left) in [("1024", 0), ("1024", 100), ("4096", 40), ("4096", 700)] {
        tried(block_size, true, left);
    }
}

/// Better than to find out in the middle.
#[test]
fn an_image_whose_journal_has_no_room_is_not_opened() {
    for by_writing in [false, true] {
        let host = Host::new();
        let path = image(&host, "1024");
        host.fill(1000);
        let error = open(&path, by_writing).err().unwrap();
        assert!(matches!(&error, Error::Device(error) if error.kind() == ErrorKind::StorageFull), "{error}");
        run(Command::new("e2fsck").arg("-fn").arg(&path));
    }
}
