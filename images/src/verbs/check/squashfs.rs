//! A squashfs, read from end to end. Its superblock was checked when it was opened.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::CheckError;
use super::finding::{Code, Finding};
use crate::tools::e2fsprogs::ToolError;
use crate::tools::programs;
use condatainer_formats::ext::Window;

const TOOL: &str = "unsquashfs";

/// Unpacks everything into nothing: what an extraction would complain about, without writing a file.
///
/// gzip and xz carry checksums, so that any wrong byte is found. zstd and lz4 do not: of single blocks overwritten with noise
/// about a third and two thirds are noticed, the same as when the files are read.
pub(crate) fn findings(path: &Path, file: &File, window: Window) -> Result<Vec<Finding>, CheckError> {
    let tool = |error| CheckError::tool(path, error);
    let file = file.try_clone().map_err(|error| tool(ToolError::Start { tool: TOOL, error }))?;
    let program =
        programs::find(TOOL).ok_or_else(|| tool(ToolError::Missing { tool: TOOL, package: "squashfs-tools" }))?;
    let mut command = Command::new(program);
    command.args(["-q", "-n", "-o", &window.offset.to_string(), "-pf", "/dev/null", "/proc/self/fd/0"]);
    let output = command.env("LC_ALL", "C").stdin(Stdio::from(file)).output();
    let output = output.map_err(|error| tool(ToolError::Start { tool: TOOL, error }))?;
    if output.status.success() {
        return Ok(Vec::new());
    }
    let text = [output.stdout, output.stderr].concat();
    let said = essence(&String::from_utf8_lossy(&text));
    Ok(vec![Finding::error(
        Code::DamagedSquashfs,
        format!("cannot be read from end to end: {said}"),
        "copy or make it again",
    )])
}

pub(super) fn essence(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let fatal = lines().find_map(|line| line.strip_prefix("FATAL ERROR:"));
    let line = fatal.or_else(|| lines().next_back()).unwrap_or("unsquashfs failed");
    line.trim().chars().filter(|c| !c.is_control()).collect()
}
