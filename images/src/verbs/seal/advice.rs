//! When an image would be better sealed: said once, after work in it.

use std::path::{Path, PathBuf};

use xattr::FileExt;

use crate::image;
use crate::image::attributes::SEAL_ADVISED;
use crate::system::escape::shell_words;

/// Files and directories from which on the difference is felt: fuse2fs and fuse-overlayfs answer for each of them when a program
/// starts from the image, squashfuse reads them compressed and from far fewer blocks (docs/benchmarks.md).
const MANY: u32 = 10_000;

/// The line to say now that work in `image` has ended; `below` are the layers that it was used on, `base` the base where it is not
/// the configured one. `None` where the image is small, or where it was said before, or where that cannot be remembered.
#[must_use]
pub fn advice(image: &Path, base: Option<&Path>, below: &[PathBuf]) -> Option<String> {
    let opened = image::open(image).ok()?;
    let probe = opened.probe().ok()??;
    let files = probe.inodes_total.saturating_sub(probe.inodes_free);
    if files < MANY
        || opened.file.get_xattr(SEAL_ADVISED).ok()?.is_some()
        || opened.file.set_xattr(SEAL_ADVISED, b"1").is_err()
    {
        return None;
    }
    let command = command(image, base, below);
    Some(format!("{}: holds {files} files: once it is finished, it starts faster sealed: {command}", image.display()))
}

fn command(image: &Path, base: Option<&Path>, below: &[PathBuf]) -> String {
    let words = ["condatainer", "overlay", "seal"].into_iter().map(String::from);
    let base = base.into_iter().flat_map(|base| ["-b".into(), base.display().to_string()]);
    let below = below.iter().flat_map(|layer| ["-o".into(), layer.display().to_string()]);
    let words: Vec<String> = words.chain(base).chain(below).chain([image.display().to_string()]).collect();
    shell_words(&words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_what_the_image_was_used_on() {
        let below = ["/a.sqf".into(), "/b c.sqf".into()];
        let told = command(Path::new("/w/env.img"), Some(Path::new("/base.sif")), &below);
        assert_eq!(told, "condatainer overlay seal -b /base.sif -o /a.sqf -o '/b c.sqf' /w/env.img");
    }
}
