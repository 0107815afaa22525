//! mke2fs and debugfs: what the file system in a new image is made of.

use std::fs::File;
use std::io::{self, PipeReader, Write};

use super::error::CreateError;
use super::spec::Spec;
use crate::tools::open_file::path_of;
use crate::tools::run::Tool;
use crate::tools::{ToolError, e2fsprogs};
use condatainer_formats::ext::Ids;

/// What mke2fs says where blocks or inodes do not suffice.
const TOO_SMALL: &str = "Could not allocate";
const MIB: u64 = 1 << 20;
/// Images from this size on, in bytes, have the larger journal.
const LARGE: u64 = 256 * MIB;
/// Everything Apptainer's check allows, and nothing that it refuses.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file";

/// A journal only has to cover what the kernel writes at once; mke2fs's own choice takes 1 % and more of an image.
fn journal_mib(size: u64) -> u64 {
    if size >= LARGE { 16 } else { 4 }
}

/// What mke2fs writes at once, in bytes: journal, bitmaps, group descriptors with their copies, blocks kept for growing. The inode
/// tables stay holes. It is an upper bound that lies within 30 % of what was measured from 64 MiB to 8 TiB.
pub(super) fn metadata_bytes(size: u64) -> u64 {
    const BLOCK: u64 = 4096;
    let groups = size.div_ceil(128 * MIB);
    let descriptors = (groups * 32).next_multiple_of(BLOCK);
    let reserved = (groups * 8).min(1024) * BLOCK;
    journal_mib(size) * MIB + groups * 2 * BLOCK + 24 * descriptors + reserved + 64 * BLOCK
}

/// Makes the file system in `file`, with an empty `upper` and `work` of the owner's, or with what is given.
///
/// Empty directories could come from `mke2fs -d` too, but that needs a real tree to copy, which a kill leaves in somebody's /tmp.
pub(super) fn format(spec: &Spec, file: &File) -> Result<(), CreateError> {
    let tool = |error| CreateError::Tool { path: spec.path.clone(), error };
    // mke2fs reads a `?` in a name as the start of options; a path through /proc has none.
    let file = path_of(file);
    let mut mke2fs = own_group("mke2fs").map_err(tool)?;
    describe(&mut mke2fs, spec);
    if let Some(contents) = &spec.contents {
        let filled = mke2fs.arg("-d").arg(&contents.directory).arg(&file).run(0).map(drop);
        return filled.map_err(|error| match error.to_string().contains(TOO_SMALL) {
            true => CreateError::ContentsTooLarge { path: spec.path.clone(), size: spec.size_bytes },
            false => tool(error),
        });
    }
    mke2fs.arg(&file).run(0).map_err(tool)?;
    let mut debugfs = own_group("debugfs").map_err(tool)?;
    let script = script(spec.owner).map_err(|error| CreateError::io(&spec.path, error))?;
    debugfs.args(["-w", "-f", "-", &file]).stdin(script).run(0).map(drop).map_err(tool)
}

/// In a process group of its own a Ctrl-C leaves the tool to its end, a few milliseconds away, and the message to us.
fn own_group(name: &'static str) -> Result<Tool, ToolError> {
    let mut tool = e2fsprogs::tool(name)?;
    tool.in_own_group();
    Ok(tool)
}

/// For debugfs; what it makes has mode 0755. Whether it did all this is seen when the image is read back.
fn script(owner: Ids) -> io::Result<PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    for name in ["upper", "work"] {
        let Ids { uid, gid } = owner;
        writer.write_all(format!("mkdir {name}\nsif {name} uid {uid}\nsif {name} gid {gid}\n").as_bytes())?;
    }
    Ok(reader)
}

fn describe(mke2fs: &mut Tool, spec: &Spec) {
    let (journal, ratio) = (journal_mib(spec.size_bytes), spec.profile.bytes_per_inode());
    mke2fs.args(["-q", "-F", "-t", "ext3", "-b", "4096", "-I", "256", "-m", "0"]);
    mke2fs.args(["-i", &ratio.to_string(), "-J", &format!("size={journal}")]);
    mke2fs.args(["-O", FEATURES, "-E", "root_owner=0:0"]);
    if let Some(label) = &spec.label {
        mke2fs.args(["-L", label]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What du says, in KiB, after the recipe above (e2fsprogs 1.47).
    #[test]
    fn the_bound_lies_above_what_was_measured() {
        for (gib, measured) in [(10, 19_776), (200, 34_212), (1024, 90_924), (8192, 590_820)] {
            let bound = metadata_bytes(gib << 30) / 1024;
            assert!((measured..measured * 13 / 10).contains(&bound), "{gib} GiB: {bound} KiB for {measured}");
        }
        assert!((4232..6000).contains(&(metadata_bytes(64 * MIB) / 1024)), "{}", metadata_bytes(64 * MIB));
    }
}
