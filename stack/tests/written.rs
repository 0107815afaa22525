//! The kernel's overlay above our mount, in which its lower, its upper and its work directory lie, beside one that lies on directories of
//! the machine: whatever a program does, it gets the same answer and leaves the same tree.

// A failing preparation is a failing test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use condatainer_stack::merge::Merged;
use fastrand::Rng;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use support::overlay::{Tmpfs, put};
use support::{Mount, Seen, chance, stacked, walk};
use tempfile::TempDir;

/// A kernel overlay as a user mounts it.
struct Overlay(TempDir);

impl Overlay {
    fn new(lower: &[&Path], upper: &Path, work: &Path) -> Self {
        let at = tempfile::tempdir().unwrap();
        let lower: Vec<_> = lower.iter().map(|path| path.to_str().unwrap()).collect();
        let options =
            format!("userxattr,lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
        mount(Some("overlay"), at.path(), Some("overlay"), MsFlags::empty(), Some(&*options)).unwrap();
        Self(at)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Directories, files, links and second names, without any mark.
fn fill(random: &mut Rng, at: &Path, depth: usize) {
    for name in NAMES {
        let path = at.join(name);
        match random.u8(0..8) {
            0..=1 => put(at, name, &name.repeat(random.usize(0..9000))),
            2 => symlink("a/b", &path).unwrap(),
            3 if at.join("a").is_file() && name != "a" => fs::hard_link(at.join("a"), &path).unwrap(),
            4..=6 if depth > 0 => {
                fs::create_dir(&path).unwrap();
                fill(random, &path, depth - 1);
            }
            _ => {}
        }
    }
}

fn place(random: &mut Rng) -> PathBuf {
    (0..random.usize(1..4)).map(|_| NAMES[random.usize(..NAMES.len())]).collect()
}

/// One thing that a program may do. Both trees see the same one, since chance begins anew from `seed`.
fn act(seed: u64, root: &Path) -> io::Result<()> {
    let mut random = Rng::with_seed(seed);
    let (one, other) = (root.join(place(&mut random)), root.join(place(&mut random)));
    let text = "text ".repeat(random.usize(0..4000));
    match random.u8(0..18) {
        0..=1 => fs::write(&one, text),
        2..=3 => OpenOptions::new().append(true).open(&one)?.write_all(text.as_bytes()),
        4 => OpenOptions::new().write(true).open(&one)?.set_len(random.u64(0..50_000)),
        5..=6 => fs::create_dir(&one),
        7..=8 => fs::remove_file(&one),
        9 => fs::remove_dir(&one),
        10 => fs::remove_dir_all(&one),
        11..=12 => fs::rename(&one, &other),
        13 => fs::hard_link(&one, &other),
        14 => symlink(&text[..text.len().min(50)], &one),
        15 => {
            // Not through a link: it leads out of one of the trees.
            let mode = [0o600, 0o644, 0o755, 0o750][random.usize(..4)];
            if one.symlink_metadata()?.is_symlink() {
                return Ok(());
            }
            fs::set_permissions(&one, PermissionsExt::from_mode(mode))
        }
        16 => lchown(&one, Some(random.u32(0..3)), Some(random.u32(0..3))),
        _ => {
            if one.symlink_metadata()?.is_symlink() {
                return Ok(());
            }
            xattr::set(&one, "user.note", text.as_bytes().get(..random.usize(0..200)).unwrap_or_default())
        }
    }
}

fn without_times(root: &Path) -> Vec<(Vec<u8>, Seen)> {
    let all = walk(root).into_iter();
    all.map(|(path, mut seen)| {
        seen.times = Default::default();
        // The name by which a lower file was copied up shows the lower one's number, its second names the upper one's.
        seen.inode.clear();
        if seen.mode & 0o170_000 == 0o040_000 {
            // Each file system says something else of its directories.
            (seen.size, seen.links) = (0, 1);
        }
        (path, seen)
    })
    .collect()
}

#[test]
fn what_is_written_is_what_the_kernel_makes_of_it_elsewhere() {
    let (start, rounds) = (chance::seed(), chance::runs(6) as usize);
    let mut random = Rng::with_seed(start);
    let mut done = 0;
    for round in 0..rounds {
        let memory = Tmpfs::new();
        let [low, high] = ["low", "high"].map(|name| memory.at.path().join(name));
        [&low, &high].iter().for_each(|layer| fs::create_dir(layer).unwrap());
        [&low, &high].iter().for_each(|layer| fill(&mut random, layer, 3));
        let mount = Mount::writable(Merged::new(vec![stacked(&low), stacked(&high)]).unwrap());
        let at = mount.root();
        let ours = Overlay::new(&[&mount.path()], &at.join("upper"), &at.join("work"));
        let [upper, work] = ["upper", "work"].map(|name| memory.at.path().join(name));
        let theirs = Overlay::new(&[&high, &low], &upper, &work);
        for step in 0..150 {
            let seed = random.u64(..);
            let [one, two] = [&ours, &theirs].map(|overlay| act(seed, overlay.0.path()));
            done += usize::from(one.is_ok());
            let codes = [one, two].map(|answer| answer.map_err(|error| error.raw_os_error()));
            assert_eq!(codes[0], codes[1], "seed {start}, round {round}, step {step}: act({seed})");
        }
        let [found, expected] = [&ours, &theirs].map(|overlay| without_times(overlay.0.path()));
        for (one, two) in found.iter().zip(&expected) {
            assert_eq!(
                one.0.escape_ascii().to_string(),
                two.0.escape_ascii().to_string(),
                "seed {start}, round {round}"
            );
            let short = |seen: &Seen| Seen { content: Vec::new(), xattrs: Vec::new(), ..seen.clone() };
            assert_eq!(short(&one.1), short(&two.1), "seed {start}, round {round}: {}", one.0.escape_ascii());
            assert!(one == two, "seed {start}, round {round}: {} differs", one.0.escape_ascii());
        }
        assert_eq!(found.len(), expected.len(), "seed {start}, round {round}");
        drop(ours);
        assert_eq!(*mount.told.lock().unwrap(), [""; 0]);
    }
    assert!(done > rounds * 10, "{done} things done are too few");
}

#[test]
fn a_second_name_of_a_lower_file_is_read_at_once_and_after_the_first_is_gone() {
    let memory = Tmpfs::new();
    let low = memory.at.path().join("low");
    put(&low, "d/file", "of the image");
    let mount = Mount::writable(Merged::new(vec![stacked(&low)]).unwrap());
    let overlay = Overlay::new(&[&mount.path()], &mount.root().join("upper"), &mount.root().join("work"));
    let [first, second] = ["d/file", "second"].map(|name| overlay.0.path().join(name));
    fs::hard_link(&first, &second).unwrap();
    assert_eq!(fs::read_to_string(&second).unwrap(), "of the image");
    assert_eq!(fs::read_to_string(&first).unwrap(), "of the image");
    fs::remove_file(&first).unwrap();
    assert_eq!(fs::read_to_string(&second).unwrap(), "of the image");
}
