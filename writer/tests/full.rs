//! Images that are full: of blocks, of inodes, by several threads at once. What has no room is refused, what was accepted is there, and
//! nothing is damaged.

// Tests and their helpers: what does not hold, fails the test.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "oracle/image.rs"]
mod image;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use condatainer_formats::ext::raw::ROOT_INO;
use condatainer_formats::ext::{FileType, Ids, Window};
use condatainer_writer::device::FileDevice;
use condatainer_writer::{Named, New, Volume};
use image::{Image, Mounted};
use nix::errno::Errno;

const SHAPES: [&[&str]; 3] =
    [&["-b", "1024", "-I", "128", "-g", "2048"], &["-b", "2048"], &["-b", "4096", "-I", "256", "-g", "1024"]];

fn open(image: &Image) -> Volume {
    let file = File::options().read(true).write(true).open(image.path()).unwrap();
    let size = file.metadata().unwrap().len();
    Volume::open(Arc::new(FileDevice::new(file, Window::whole(size)))).unwrap()
}

fn make(volume: &Volume, directory: u32, name: &str, kind: FileType) -> Result<Named, Errno> {
    let new = New { kind, mode: 0o755, ids: Ids::ROOT, device: (0, 0), target: &[b'x'; 500], xattrs: &[] };
    volume.make(directory, name.as_bytes(), &new).map_err(|error| error.errno())
}

/// What the file of a thread has in a piece.
fn content(thread: u32, file: u32) -> Vec<u8> {
    format!("{thread} {file};").bytes().cycle().take(33 << 10).collect()
}

/// Makes files until there is no room; returns how many are whole, and how much of the next one was accepted.
fn fill(volume: &Volume, thread: u32) -> (u32, usize) {
    let directory = make(volume, ROOT_INO, &format!("d{thread}"), FileType::Directory).unwrap().ino;
    let mut file = 0;
    loop {
        let made = make(volume, directory, &format!("f{file}"), FileType::Regular);
        let ino = match made {
            Ok(named) => named.ino,
            Err(error) => {
                assert_eq!(error, Errno::ENOSPC);
                return (file, 0);
            }
        };
        let data = content(thread, file);
        let mut done = 0;
        while done < data.len() {
            match volume.write(ino, done as u64, &data[done..], false) {
                Ok(bytes) => done += bytes,
                Err(error) => {
                    assert_eq!(error.errno(), Errno::ENOSPC);
                    return (file, done);
                }
            }
        }
        volume.release(ino, 1).unwrap();
        file += 1;
    }
}

/// The kernel sees what was accepted.
fn check(image: &Image, threads: &[(u32, usize)]) {
    image.check().unwrap();
    let mounted = Mounted::new(image);
    for (thread, (files, rest)) in (0..).zip(threads) {
        let path = |file| mounted.path().join(format!("d{thread}/f{file}"));
        for file in 0..*files {
            assert!(std::fs::read(path(file)).unwrap() == content(thread, file), "{thread} {file}");
        }
        if *rest > 0 {
            assert!(std::fs::read(path(*files)).unwrap() == content(thread, *files)[..*rest]);
        }
    }
}

fn empty(volume: &Volume, threads: u32) {
    for thread in 0..threads {
        let name = format!("d{thread}");
        let directory = volume.lookup(ROOT_INO, name.as_bytes()).unwrap().ino;
        let mut names = Vec::new();
        volume
            .list(directory, 0, &mut |listed| {
                names.push(listed.name.clone());
                true
            })
            .unwrap();
        for name in names {
            volume.remove(directory, &name, false).unwrap();
        }
        volume.release(directory, 2).unwrap();
        volume.remove(ROOT_INO, name.as_bytes(), true).unwrap();
    }
}

#[test]
fn what_has_no_room_is_refused_and_what_was_accepted_is_there() {
    for shape in SHAPES {
        let image = Image::make(shape);
        let volume = open(&image);
        let room = volume.room().unwrap();
        for round in 0..2 {
            let full = fill(&volume, 0);
            let left = volume.room().unwrap();
            assert!(left.free <= 16 || left.free_inodes == 0, "{shape:?} {left:?}");
            if left.free == 0 {
                // A directory and a long link need a block.
                assert_eq!(make(&volume, ROOT_INO, "dir", FileType::Directory).err(), Some(Errno::ENOSPC));
                assert_eq!(make(&volume, ROOT_INO, "link", FileType::Symlink).err(), Some(Errno::ENOSPC));
            }
            volume.commit().unwrap();
            assert!(full.0 > 300, "{full:?}");
            if round == 0 {
                volume.close().unwrap();
                check(&image, &[full]);
            }
            let last = format!("f{}", full.0);
            let directory = volume.lookup(ROOT_INO, b"d0").unwrap().ino;
            if let Ok(named) = volume.lookup(directory, last.as_bytes()) {
                // Made once, looked for once.
                volume.release(named.ino, 2).unwrap();
            }
            volume.release(directory, 1).unwrap();
            empty(&volume, 1);
            assert_eq!(volume.room().unwrap(), room, "{shape:?}");
        }
        volume.close().unwrap();
        image.check().unwrap();
    }
}

#[test]
fn inodes_end_before_blocks() {
    let image = Image::make(&["-b", "1024", "-N", "200"]);
    let volume = open(&image);
    let room = volume.room().unwrap();
    let mut made = 0;
    let error = loop {
        match make(
            &volume,
            ROOT_INO,
            &format!("n{made}"),
            if made % 3 == 0 { FileType::Fifo } else { FileType::Regular },
        ) {
            Ok(named) => volume.release(named.ino, 1).unwrap(),
            Err(error) => break error,
        }
        made += 1;
    };
    assert_eq!((error, made, volume.room().unwrap().free_inodes), (Errno::ENOSPC, room.free_inodes, 0));
    assert_eq!(make(&volume, ROOT_INO, "dir", FileType::Directory).err(), Some(Errno::ENOSPC));
    // What is removed can be had at once.
    volume.remove(ROOT_INO, b"n0", false).unwrap();
    let named = make(&volume, ROOT_INO, "dir", FileType::Directory).unwrap();
    volume.release(named.ino, 1).unwrap();
    volume.close().unwrap();
    image.check().unwrap();
}

#[test]
fn several_threads_fill_it_together() {
    for shape in SHAPES {
        let image = Image::make(shape);
        let volume = open(&image);
        let next = AtomicU32::new(0);
        let mut full = vec![(0, 0); 4];
        std::thread::scope(|scope| {
            let work = || {
                let thread = next.fetch_add(1, Ordering::Relaxed);
                (thread, fill(&volume, thread))
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                let (thread, done) = thread.join().unwrap();
                full[thread as usize] = done;
            }
        });
        volume.close().unwrap();
        check(&image, &full);
    }
}
