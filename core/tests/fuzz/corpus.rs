//! What the changes start from: real files made at test time, and the committed findings of earlier runs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{self, Bench, Part};
use crate::targets::Sparse;

/// Small file systems, each with other structures.
const IMAGES: [&[&str]; 7] = [
    &["-t", "ext3", "-b", "1024", "-N", "64"],
    &["-t", "ext4", "-b", "1024", "-N", "64"],
    &["-t", "ext4", "-b", "4096", "-N", "64", "-O", "^metadata_csum,^64bit"],
    &["-t", "ext3", "-b", "1024", "-I", "128", "-N", "64", "-O", "meta_bg,^resize_inode"],
    &["-t", "ext4", "-b", "1024", "-N", "64", "-O", "ea_inode,^metadata_csum"],
    &["-t", "ext4", "-b", "1024", "-N", "64", "-O", "inline_data"],
    &["-t", "ext2", "-b", "2048", "-N", "64", "-O", "^filetype,sparse_super2,^resize_inode"],
];

/// The directory with the committed inputs of one target.
pub fn committed(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

/// All inputs of one target, with names.
pub fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut all = made(target);
    let entries = fs::read_dir(committed(target)).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    all.extend(paths.iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())));
    all
}

/// The inputs that are made here and now.
pub fn made(target: &str) -> Vec<(String, Vec<u8>)> {
    let inputs = match target {
        "ext" => images(Sparse::encode),
        "volume" => [journals(), images(Sparse::encode)].concat(),
        "kinds" => [sifs(), squashfs(), images(|image| image[..4096].to_vec())].concat(),
        "sif" => sifs(),
        "squashfs" => squashfs(),
        "layers" => LAYERS.iter().map(|text| text.as_bytes().to_vec()).collect(),
        "request" => REQUESTS.iter().map(|text| text.as_bytes().to_vec()).collect(),
        other => panic!("no target {other}"),
    };
    (0..).map(|i: u32| format!("made-{i}")).zip(inputs).collect()
}

const LAYERS: [&str; 6] = [
    "a.sqf,env.img:rw",
    r"./b\,c.sqf:ro,~/env.img:tmp",
    "samtools/1.21,build-essential",
    r"/a:/b:ro,c:/d:rw",
    r"/x\:y:/z,~/q",
    "../\u{e9}\u{1F600}.img:ro",
];

const REQUESTS: [&str; 5] = [
    r#"{"v":1,"request":{"layers":[{"path":"/d/env.img","mode":"rw"},{"path":"/a,b.sqf"}],"write":true,"base":"/b.sqf"}}"#,
    r#"{"v":1,"request":{"fakeroot":false,"bind":[{"source":"/a","destination":"/b","read_only":true}],"scope":"steps"}}"#,
    r#"{"v":1,"request":{"env":[["A","$(x) 'y'\n\u0000"]],"workdir":"/w"}}"#,
    r#"["srun","--flag","\ud83d\ude00"]"#,
    "NAME=VALUE=more",
];

/// One after the other, so that no more than one is held.
fn images(keep: fn(&[u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
    let bench = Bench::new();
    let tree = bench.path("small");
    plant(&tree);
    IMAGES.iter().map(|options| keep(&fs::read(image(&bench, options, &tree)).unwrap())).collect()
}

/// Few files, but a directory with an index, files with holes and indirect blocks, links, whiteouts.
fn plant(tree: &Path) {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    use std::os::unix::fs::{FileExt, symlink};
    let upper = tree.join("upper");
    fs::create_dir_all(upper.join("ext3/env/bin")).unwrap();
    fs::create_dir_all(upper.join("many")).unwrap();
    fs::create_dir_all(tree.join("work/work")).unwrap();
    fs::write(upper.join("ext3/env/bin/python"), "#!/bin/sh\n").unwrap();
    for i in 0..100 {
        let name = format!("many/a-name-that-takes-some-room-{i:03}");
        fs::hard_link(upper.join("ext3/env/bin/python"), upper.join(name)).unwrap();
    }
    let sparse = fs::File::create(upper.join("sparse")).unwrap();
    for kilobyte in [0, 13, 14, 300] {
        sparse.write_all_at(b"not a hole", kilobyte << 10).unwrap();
    }
    symlink("/nowhere", upper.join("short")).unwrap();
    symlink("x".repeat(100), upper.join("long")).unwrap();
    let mode = Mode::from_bits_truncate(0o644);
    mknod(&upper.join("gone"), SFlag::S_IFCHR, mode, makedev(0, 0)).unwrap();
    fs::write(upper.join(".wh.deleted"), "").unwrap();
}

/// Images that need their journal, with each kind of checksum, and narrow and wide block numbers.
fn journals() -> Vec<Vec<u8>> {
    let bench = Bench::new();
    let tree = bench.path("small");
    plant(&tree);
    let kinds = [
        ("^metadata_csum,^64bit", ""),
        ("^metadata_csum,64bit", "-c -v 1"),
        ("metadata_csum,^64bit", "-c -v 2"),
        ("metadata_csum,64bit", "-c -v 3"),
    ];
    let image = |(features, checksums): (&str, &str)| {
        let image = image(&bench, &["-t", "ext4", "-b", "1024", "-N", "64", "-O", features, "-J", "size=1"], &tree);
        let blocks = support::debugfs(&image, "blocks /upper/sparse");
        let [zero, one, two, ..] = blocks.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{blocks}") };
        let (content, magic) = (bench.path("content"), bench.path("magic"));
        fs::write(&content, [b'c'; 2048]).unwrap();
        fs::write(&magic, [0xC0, 0x3B, 0x39, 0x98].repeat(256)).unwrap();
        let (content, magic) = (content.display(), magic.display());
        // Of this kind of checksum debugfs writes a wrong one there.
        let revoke = if checksums.ends_with('1') { String::new() } else { format!("jw -r {one}\n") };
        support::debugfs_script(
            &image,
            &format!(
                "jo {checksums}\njw -b {zero},{one} {content}\n{revoke}jw -b {two} {magic}\njw -c -b {zero} {magic}\njc\n"
            ),
        );
        Sparse::encode(&fs::read(&image).unwrap())
    };
    kinds.map(image).into()
}

fn image(bench: &Bench, options: &[&str], tree: &Path) -> PathBuf {
    let image = bench.image_of("image", options, 4, tree);
    let large = bench.path("large-value");
    fs::write(&large, "v".repeat(3000)).unwrap();
    let mut script =
        String::from("ea_set /upper/ext3 user.fuseoverlayfs.opaque y\nea_set /upper/sparse user.note kept\n");
    if options.join(" ").contains("ea_inode") {
        script += &format!("ea_set -f {} /upper/sparse user.large\n", large.display());
    }
    support::debugfs_script(&image, &script);
    let index = support::tool("e2fsck").args(["-fyD"]).arg(&image).output().unwrap();
    assert!(matches!(index.status.code(), Some(0 | 1)), "{index:?}");
    image
}

/// The header and some descriptors; the rest of the table and the partitions read as zeros.
fn sifs() -> Vec<Vec<u8>> {
    let parts = [(1, 2, 1), (2, 4, 1), (2, 4, 9), (4, 3, 0)];
    let parts = parts.map(|(fs, role, group)| Part { fs, role, group, content: &[1; 5000] });
    let mut whole = support::sif(&parts);
    whole.truncate(4096 + parts.len() * 585);
    // The table right behind the header, as short as it may be.
    let mut compact = [&whole[..128], &whole[4096..]].concat();
    for (at, value) in [(88, 4_u64), (96, 128), (104, 4 * 585)] {
        compact[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    [whole, compact].map(|sif| [sif, vec![255, 16]].concat()).into()
}

fn squashfs() -> Vec<Vec<u8>> {
    let bench = Bench::new();
    let whole = support::squashfs(&bench, &bench.tree());
    vec![[&whole[..96], &[255, 16]].concat(), whole]
}
