//! What chattr(1) forbids, the kernel's mount and our writer refuse alike.

use std::process::Command;

use super::image::{Image, Mounted};
use super::kernel::Kernel;
use super::ops::{NAMES, Op, Side};
use super::ours::Ours;
use super::tree;

/// Places in [`NAMES`].
const A: usize = 0;
const B: usize = 1;
const DIR: usize = 2;
const WH: usize = 3;
const OTHER: usize = 4;

/// Everything that can be done to what has a flag, in it and beside it; what is allowed changes little.
fn tried() -> Vec<Op> {
    let mut ops = vec![
        Op::Write(vec![A], 1, 1),
        Op::Write(vec![A], 10, 3),
        Op::Truncate(vec![A], 5),
        Op::Truncate(vec![A], 100_000),
        Op::Punch(vec![A], 0, 5),
        Op::SetXattr(vec![A], 1, 30),
        Op::RemoveXattr(vec![A], 1),
        Op::Link(vec![A], vec![WH]),
        Op::Rename(vec![A], vec![WH], 0),
        Op::Rename(vec![B], vec![A], 0),
        Op::Rename(vec![A], vec![B], 2),
        Op::Rename(vec![B], vec![A], 2),
        Op::Rename(vec![A], vec![DIR, WH], 0),
        Op::Unlink(vec![A]),
    ];
    ops.extend([
        Op::Create(vec![DIR, A], 0o644),
        Op::Create(vec![DIR, OTHER], 0o644),
        Op::Directory(vec![DIR, WH], 0o755),
        Op::Symlink(vec![DIR, B], 10),
        Op::Link(vec![B], vec![DIR, OTHER]),
        Op::Link(vec![B], vec![DIR, B]),
        Op::Rename(vec![DIR, A], vec![DIR, B], 0),
        Op::Rename(vec![DIR, A], vec![B], 0),
        Op::Rename(vec![DIR, A], vec![B], 2),
        Op::Rename(vec![B], vec![DIR, A], 0),
        Op::Rename(vec![DIR, A], vec![DIR, A], 0),
        Op::Write(vec![DIR, A], 0, 3),
        Op::Unlink(vec![DIR, WH]),
        Op::Unlink(vec![DIR, A]),
        Op::RemoveDirectory(vec![DIR]),
        Op::SetXattr(vec![DIR], 1, 30),
        Op::List(vec![DIR]),
    ]);
    for path in [vec![A], vec![DIR]] {
        ops.extend([Op::Mode(path.clone(), 0o700), Op::Owner(path, 1, 1)]);
    }
    ops
}

#[test]
fn flags_forbid_what_they_forbid_in_the_kernel() {
    for (file, directory) in [("+i", "+i"), ("+a", "+a"), ("+i", "+a"), ("-i", "-i")] {
        let (theirs, own) = (Image::make(&[]), Image::make(&[]));
        for image in [&theirs, &own] {
            let mounted = Mounted::new(image);
            let path = |place: usize| mounted.path().join(NAMES[place]);
            std::fs::create_dir(path(DIR)).unwrap();
            for place in [path(A), path(B), path(DIR).join(NAMES[A])] {
                std::fs::write(place, "0123456789").unwrap();
            }
            for (flag, of) in [(file, path(A)), (directory, path(DIR))] {
                assert!(Command::new("chattr").arg(flag).arg(of).status().unwrap().success());
            }
        }
        let mounted = Mounted::new(&theirs);
        let (mut kernel, mut ours) = (Kernel::at(mounted.path()), Ours::open(&own));
        let mut refused = 0;
        for op in tried() {
            let (expected, got) = (kernel.apply(&op), ours.apply(&op));
            // The kernel wants to know of a file that only grows that it is opened for that. Who has opened it is not known here.
            let is_append = file == "+a" && matches!(&op, Op::Write(path, 10, _) if *path == [A]);
            if !is_append {
                assert_eq!(got, expected, "{file} {directory} {op:?}");
            }
            refused += u32::from(expected == Err(nix::errno::Errno::EPERM));
        }
        assert!((file == "-i") == (refused == 0), "{refused}");
        let grows = file == "+a";
        if !grows {
            assert_eq!(ours.tree(), tree::of(mounted.path()));
        }
        ours.close();
        own.check().unwrap();
    }
}
