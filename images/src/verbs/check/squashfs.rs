//! A squashfs, read from end to end. Its superblock was checked when it was opened.

use std::fs::File;
use std::path::Path;

use super::error::CheckError;
use super::finding::{Code, Finding};
use crate::tools::ToolError;
use crate::tools::open_file::GIVEN_FILE;
use crate::tools::run::Tool;
use condatainer_formats::ext::Window;

/// Unpacks everything into nothing: what an extraction would complain about, without writing a file.
///
/// gzip and xz carry checksums, so that any wrong byte is found. zstd and lz4 do not: of single blocks overwritten with noise
/// about a third and two thirds are noticed, the same as when the files are read.
pub(crate) fn findings(path: &Path, file: &File, window: Window) -> Result<Vec<Finding>, CheckError> {
    let read = || {
        let offset = window.offset.to_string();
        let mut unsquashfs = Tool::new("unsquashfs", "squashfs-tools")?;
        unsquashfs.args(["-q", "-n", "-o", &offset, "-pf", "/dev/null", GIVEN_FILE]).on(file)?.run(0)
    };
    let said = match read() {
        Ok(_) => return Ok(Vec::new()),
        Err(ToolError::Failed { said, .. }) => said,
        Err(error) => return Err(CheckError::tool(path, error)),
    };
    Ok(vec![Finding::error(
        Code::DamagedSquashfs,
        format!("cannot be read from end to end: {said}"),
        "copy or make it again",
    )])
}
