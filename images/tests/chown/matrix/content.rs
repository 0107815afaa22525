//! What an image is filled with: everything that a chown can meet and must leave as it is.

use std::fs;
use std::path::{Path, PathBuf};

use condatainer_formats::ext::Ids;

use crate::support::{self, Bench, debugfs, populate, rich_tree};

/// An image with `upper` and `work` of `owner`, full of oddities, made by mke2fs with `options`.
pub fn rich(bench: &Bench, name: &str, options: &[&str], megabytes: u64, owner: Ids) -> PathBuf {
    let tree = bench.path("rich");
    if !tree.exists() {
        rich_tree(&tree);
        // One inode with names in both of the directories that a chown is about.
        fs::hard_link(tree.join("upper/plain"), tree.join("work/hard")).unwrap();
        fs::write(tree.join("upper/var/.wh..wh..opq"), "").unwrap();
    }
    let image = bench.image_of(name, options, megabytes, &tree);
    populate(&image, owner);
    attributes(&image);
    index(&image);
    assert_eq!(support::fsck(&image), Ok(()), "{name}: the image is bad to begin with");
    image
}

/// Beside those of [`populate`]: fuse-overlayfs's mark, a capability, and one value of each further class.
fn attributes(image: &Path) {
    let capability = image.with_extension("capability");
    // Revision 2, effective, CAP_NET_RAW permitted.
    fs::write(&capability, [&[1, 0, 0, 2, 0, 0x20, 0, 0][..], &[0; 12]].concat()).unwrap();
    let script = format!(
        "ea_set /upper/var user.fuseoverlayfs.opaque y\nea_set -f {} /upper/usr/bin/sudo security.capability\n",
        capability.display()
    );
    support::debugfs_script(image, &script);
    fs::remove_file(capability).unwrap();
}

/// mke2fs does not index directories; e2fsck does, where the image has that feature.
fn index(image: &Path) {
    let output = support::tool("e2fsck").args(["-fyD"]).arg(image).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let wanted = support::superblock_field(image, "Filesystem features").contains("dir_index");
    assert_eq!(is_indexed(image, "/upper/many"), wanted);
}

fn is_indexed(image: &Path, path: &str) -> bool {
    let text = debugfs(image, &format!("stat {path}"));
    let flags = text.split_once("Flags: 0x").map(|(_, rest)| rest.split_whitespace().next().unwrap());
    flags.is_some_and(|flags| u32::from_str_radix(flags, 16).unwrap() & 0x1000 != 0)
}

/// The content is what it is said to be, by the kernel's own word.
#[test]
fn it_has_all_that_it_should() {
    let bench = Bench::new();
    let image = crate::view::Image::whole(rich(&bench, "image", &["-t", "ext4"], 48, crate::USER));
    let view = image.view();
    let text = |path: &str| format!("{:?}", view[Path::new(path)]);
    assert_eq!(view[Path::new("upper/plain")], view[Path::new("work/hard")]);
    let byte = |text: &str| format!("{:?}", text.as_bytes());
    for (path, attribute) in [
        ("upper/opt", "trusted.overlay.opaque"),
        ("upper/var", "user.fuseoverlayfs.opaque"),
        ("upper/foreign", "system.posix_acl_access"),
        ("upper/usr/bin/sudo", "security.capability"),
        ("upper/plain", "user.note"),
    ] {
        assert!(text(path).contains(&byte(attribute)), "{path}: {attribute}");
    }
    for path in ["upper/whiteout", "upper/.wh.deleted", "upper/var/.wh..wh..opq", "upper/fifo", "upper/dangling"] {
        assert!(view.contains_key(Path::new(path)), "{path}");
    }
    assert_eq!(support::stat(&image.path, "/upper/usr/bin/sudo").1, 0o4755);
    assert_eq!(support::stat(&image.path, "/upper/foreign").0, Ids { uid: 100_042, gid: 131_072 });
}
