//! Features for which Apptainer refuses an image, and how far they can be taken away again.

use std::path::Path;

use super::probe::probe;
use crate::acquire::LockedImage;
use crate::verbs::check::error::CheckError;
use crate::verbs::check::finding::{Code, Finding, fix, quoted};
use condatainer_formats::ext::Features;

const MIB: u64 = 1 << 20;

/// What tune2fs 1.47 takes away from an unmounted image, tried one by one.
///
/// All others (extent, flex_bg, inline_data, ea_inode, bigalloc, encrypt, verity, large_dir) shape the files themselves and stay:
/// tune2fs refuses each by name. resize2fs -s would take away 64bit, but that never comes without extent.
const BY_TUNE2FS: &[&str] = &[
    "metadata_csum",
    "metadata_csum_seed",
    "uninit_bg",
    "dir_nlink",
    "extra_isize",
    "huge_file",
    "orphan_present",
    "quota",
    "project",
    "mmp",
    "casefold",
];

/// What Apptainer refuses the image for.
pub(crate) fn findings(path: &Path, features: Features) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !features.has_journal() {
        let message = "there is no journal, and Apptainer takes no image without (has_journal)";
        findings.push(Finding::error(Code::NoJournal, message, fix(path)));
    }
    let newer = features.newer_than_ext3();
    if !newer.is_empty() {
        let cure = if are_removable(&newer) { fix(path) } else { move_out(path) };
        let message = format!("Apptainer refuses features newer than ext3 ({})", newer.join(", "));
        findings.push(Finding { count: newer.len() as u64, ..Finding::error(Code::NewerFeatures, message, cure) });
    }
    findings
}

fn are_removable(names: &[String]) -> bool {
    names.iter().all(|name| BY_TUNE2FS.contains(&name.as_str()))
}

fn move_out(path: &Path) -> String {
    let image = quoted(path);
    format!(
        "not all of them can be removed: make a new image and copy the files (condatainer o -s SIZE NEW.img; debugfs -R 'rdump /upper DIR' {image}; condatainer exec -w -o NEW.img --bind DIR:/mnt -- cp -a /mnt/upper/. /)"
    )
}

/// Whether [`convert`] has something to do that it can do.
pub(crate) fn is_convertible(features: Features) -> bool {
    let newer = features.newer_than_ext3();
    are_removable(&newer) && (!newer.is_empty() || !features.has_journal())
}

/// Takes away from a copy what is newer than ext3, and gives it a journal.
pub(crate) fn convert(draft: &LockedImage, features: Features) -> Result<(), CheckError> {
    // One at a time, looking again: some go with others, and instead of metadata_csum tune2fs sets uninit_bg.
    for name in BY_TUNE2FS {
        if has(draft, name)? {
            run(draft, "tune2fs", &["-O", &format!("^{}", feature_of(name))])?;
        }
    }
    if features.has_journal() {
        return Ok(());
    }
    let size = if draft.window.size >= 256 * MIB { "size=16" } else { "size=4" };
    run(draft, "tune2fs", &["-j", "-J", size])
}

fn has(draft: &LockedImage, name: &str) -> Result<bool, CheckError> {
    Ok(probe(draft)?.features.newer_than_ext3().iter().any(|newer| newer == name))
}

/// The mark of an orphan file that is in use goes with the file.
fn feature_of(name: &str) -> &str {
    if name == "orphan_present" { "orphan_file" } else { name }
}

fn run(draft: &LockedImage, name: &'static str, arguments: &[&str]) -> Result<(), CheckError> {
    let tool = |error| CheckError::tool(&draft.image.path, error);
    let mut command = draft.tool(name).map_err(tool)?;
    command.args(arguments).arg(draft.tools_name()).run(0).map(drop).map_err(tool)
}
