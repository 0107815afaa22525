//! What programs do in there.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;

use super::mapping::Mapping;
use super::model::{Allowed, compare, tree};

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// What random runs do; the kernel's overlay does not count the directories in one.
const ALLOWED: Allowed =
    Allowed { root: false, overlay: true, allocates: false, keeps: false, numbers: true, links: true };

/// One of the functions below.
pub(crate) fn run(name: &str, words: &[&str]) {
    let d = PathBuf::from(std::env::var_os("D").unwrap());
    let place = PathBuf::from(std::env::var_os("PLACE").unwrap());
    match name {
        "compare" => {
            compare(
                &d,
                &place.join("oracle"),
                words[0].parse().unwrap(),
                Allowed { keeps: words.len() > 1, ..ALLOWED },
            );
        }
        "same" => {
            let allowed = Allowed { numbers: words.len() < 2, links: false, ..ALLOWED };
            for number in 1..=words[0].parse::<u64>().unwrap() {
                let run = format!("run{number}");
                let [ours, oracle] = [&d, &place.join("oracle")].map(|root| tree(&root.join(&run), allowed));
                assert_eq!(ours, oracle, "{run}");
            }
        }
        "ground" => super::ground::make(&d, words[0]),
        "one" => println!("{}", super::ground::one(words[0])),
        "messages" => super::messages::work(&d),
        "map" => map_more_than_fits(&d),
        "several" => several_names(&d),
        "lists" => set_lists(&d),
        "listed" => read_lists(&d),
        "unlisted" => use_what_has_lists(&d),
        "fsx" => super::fsx::run(&d.join("f"), words[0].parse().unwrap(), words[1].parse().unwrap()),
        "work" => super::killed::work(&d, &place.join("oracle"), words[0].parse().unwrap()),
        "threads" => super::layers::threads(&d),
        "layers" => super::layers::inside(&d),
        other => panic!("no such function: {other}"),
    }
}

/// write(2) would say so at once; the kernel gives the server what a mapping has changed much later.
fn map_more_than_fits(d: &Path) {
    let room = nix::sys::statvfs::statvfs(d).unwrap();
    let length = (room.blocks_available() * room.block_size()) as usize;
    let filler = File::create(d.join("filler")).unwrap();
    filler.write_all_at(&vec![1; length - (1 << 20)], 0).unwrap();
    let file = File::options().create_new(true).read(true).write(true).open(d.join("f")).unwrap();
    file.set_len(2 << 20).unwrap();
    let mut mapping = Mapping::new(&file, 2 << 20).unwrap();
    mapping.bytes().fill(7);
    let told = [mapping.sync(), file.sync_all()];
    let codes = told.map(|told| told.err().and_then(|error| error.raw_os_error()));
    assert!(codes.contains(&Some(libc::ENOSPC)), "{codes:?}");
    // What is there is still right.
    assert_eq!(fs::read(d.join("filler")).unwrap(), vec![1; length - (1 << 20)]);
}

/// Each name of a file is a file of its own for the kernel.
fn several_names(d: &Path) {
    let [a, b] = ["a", "b"].map(|name| d.join(name));
    fs::write(&a, "first").unwrap();
    fs::hard_link(&a, &b).unwrap();
    for turn in 0..200 {
        let text = format!("{turn:05}");
        let (one, other) = if turn % 2 == 0 { (&a, &b) } else { (&b, &a) };
        File::options().write(true).open(one).unwrap().write_all_at(text.as_bytes(), 0).unwrap();
        assert_eq!(fs::read_to_string(other).unwrap(), text);
    }
    // Not only regular files have several.
    let [p, q] = ["p", "q"].map(|name| d.join(name));
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &p, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    fs::hard_link(&p, &q).unwrap();
    assert_eq!(fs::read_dir(d).unwrap().filter(|entry| entry.as_ref().unwrap().metadata().is_ok()).count(), 4);
    fs::remove_file(&p).unwrap();
    fs::remove_file(&q).unwrap();
    // One that was opened by a name that is gone.
    let held = File::options().append(true).open(&b).unwrap();
    fs::remove_file(&b).unwrap();
    assert_eq!(fs::metadata(&a).unwrap().nlink(), 1);
    for length in 6..30_u64 {
        std::io::Write::write_all(&mut &held, b"+").unwrap();
        assert_eq!(fs::metadata(&a).unwrap().len(), length);
        assert_eq!(fs::read(&a).unwrap().len() as u64, length);
    }
}

fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let entry =
        |(tag, bits, id): &(u16, u16, u32)| [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat();
    [2_u32.to_le_bytes().to_vec(), entries.iter().flat_map(entry).collect()].concat()
}

fn list() -> Vec<u8> {
    acl(&[(1, 7, !0), (2, 5, 33), (4, 5, !0), (8, 4, 34), (16, 7, !0), (32, 0, !0)])
}

fn list_of(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 200];
    getxattr(path, name, &mut value).map(|length| value[..length].to_vec())
}

fn set_lists(d: &Path) {
    fs::create_dir(d.join("d")).unwrap();
    fs::write(d.join("f"), "content").unwrap();
    for (name, which) in [("d", ACCESS), ("d", DEFAULT), ("f", ACCESS)] {
        setxattr(d.join(name), which, &list(), XattrFlags::empty()).unwrap();
    }
    read_lists(d);
}

fn read_lists(d: &Path) {
    for (name, which) in [("d", ACCESS), ("d", DEFAULT), ("f", ACCESS)] {
        assert_eq!(list_of(&d.join(name), which), Ok(list()), "{name} {which}");
    }
    if d.join("d/new").exists() {
        assert_eq!(list_of(&d.join("d/new"), DEFAULT), Ok(list()));
    }
}

/// Nobody but the user exists.
fn use_what_has_lists(d: &Path) {
    assert_eq!(fs::read_to_string(d.join("f")).unwrap(), "content");
    fs::create_dir(d.join("d/new")).unwrap();
    fs::write(d.join("d/new/f"), "x").unwrap();
    let shown = acl(&[(1, 7, !0), (4, 5, !0), (16, 7, !0), (32, 0, !0)]);
    assert_eq!(list_of(&d.join("f"), ACCESS), Ok(shown));
    // His own list keeps whom he does not see.
    let own = nix::unistd::geteuid().as_raw();
    let named = acl(&[(1, 6, !0), (2, 7, own), (4, 5, !0), (16, 7, !0), (32, 0, !0)]);
    let path = d.join("d/new/f");
    setxattr(&path, ACCESS, &named, XattrFlags::empty()).unwrap();
    assert_eq!(list_of(&path, ACCESS), Ok(named));
}
