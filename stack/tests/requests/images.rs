//! Images that were sound before some of their bytes were changed.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;

use condatainer_formats::source::Window;
use condatainer_formats::squashfs::Budget;
use condatainer_stack::layer::Layer;
use condatainer_stack::layer::ext::{ExtLayer, Start};
use condatainer_stack::layer::squashfs::SquashfsLayer;
use fastrand::Rng;

use crate::tool::tool;

/// Whether it is a squashfs, and all of it.
pub(crate) type Image = (bool, Vec<u8>);

/// Small images of every kind.
pub(crate) fn sound() -> [Image; 4] {
    let bench = tempfile::tempdir().unwrap();
    let tree = bench.path().join("tree");
    for path in ["a/a/a", "a/b/.wh.a", "a/c", "b/a/.wh..wh..opq", "b/b", "c/.wh.b", "c/a/a/a/b"] {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, path.as_os_str().as_encoded_bytes().repeat(path.as_os_str().len() % 9)).unwrap();
    }
    std::os::unix::fs::symlink("target", tree.join("c/c")).unwrap();
    let image = bench.path().join("image");
    let made = |program: &str, words: &[&str]| {
        let mut command = tool(program);
        let words = words.iter().map(|word| match *word {
            "TREE" => tree.as_os_str(),
            "IMAGE" => image.as_os_str(),
            word => word.as_ref(),
        });
        command.args(words).stdout(Stdio::null());
        assert!(command.status().unwrap().success(), "{program}");
        let bytes = fs::read(&image).unwrap();
        fs::remove_file(&image).unwrap();
        (program == "mksquashfs", bytes)
    };
    [
        made("mksquashfs", &["TREE", "IMAGE", "-quiet", "-no-progress", "-comp", "zstd"]),
        made("mksquashfs", &["TREE", "IMAGE", "-quiet", "-no-progress", "-noI", "-noD", "-noF"]),
        made("mke2fs", &["-q", "-t", "ext4", "-O", "^has_journal", "-N", "32", "-d", "TREE", "IMAGE", "128K"]),
        made(
            "mke2fs",
            &["-q", "-t", "ext3", "-O", "^resize_inode", "-N", "32", "-b", "1024", "-d", "TREE", "IMAGE", "2M"],
        ),
    ]
}

/// One of them whose bytes were changed here and there, if it can be opened all the same.
pub(crate) fn mutated(sound: &[Image], random: &mut Rng) -> Option<Arc<dyn Layer>> {
    let (is_squashfs, bytes) = &sound[random.usize(..sound.len())];
    let mut bytes = bytes.clone();
    for _ in 0..random.usize(0..6) {
        // Where there is something, mostly.
        let mut at = random.usize(..bytes.len());
        while bytes[at] == 0 && random.u8(..) != 0 {
            at = random.usize(..bytes.len());
        }
        bytes[at] = if random.bool() { random.u8(..) } else { bytes[at] ^ 1 << random.u8(0..8) };
    }
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let window = Window::whole(bytes.len() as u64);
    if *is_squashfs {
        Some(Arc::new(SquashfsLayer::open(file, window, Budget { metadata: 64 << 10, data: 64 << 10 }).ok()?))
    } else {
        Some(Arc::new(ExtLayer::open(file, window, Start::Root, 64 << 10).ok()?))
    }
}
