//! The tools of e2fsprogs: mke2fs, e2fsck, resize2fs, tune2fs, debugfs.

use std::os::fd::AsRawFd;

use super::error::ToolError;
use super::memfd;
use super::run::Tool;

/// An exit code of e2fsck up to this one: errors were corrected.
pub(crate) const CORRECTED: i32 = 1;

/// What e2fsck is told in the place of `/etc/e2fsck.conf`, which is for the disks of the machine.
///
/// Problem 0x010047 is a directory that has an index although the file system lacks the feature `dir_index`. By itself e2fsck takes
/// the index away; here that is no problem at all, because [`crate::acquire::automatic_repair`] hides the feature while e2fsck works.
const CONFIG: &[u8] =
    b"[problems]\n0x010047 = {\nforce_no = true\nno_ok = true\nno_nomsg = true\npreen_nomessage = true\n}\n";

/// The tool of this name.
pub(crate) fn tool(name: &'static str) -> Result<Tool, ToolError> {
    let mut tool = Tool::new(name, "e2fsprogs")?;
    if name == "e2fsck" {
        // In memory, and inherited: e2fsck reads it also when we are killed meanwhile.
        let config = memfd::data(c"condatainer-e2fsck.conf", CONFIG, memfd::Flags::empty())
            .map_err(|error| ToolError::Start { tool: name, error })?;
        tool.env("E2FSCK_CONFIG", format!("/proc/self/fd/{}", config.as_raw_fd())).inherit(config);
    }
    Ok(tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_carry_the_tools_own_words() {
        let error = tool("mke2fs").unwrap().args(["-q", "-F", "/nowhere/at/all", "8M"]).run(0).unwrap_err();
        assert!(error.to_string().starts_with("mke2fs failed: "), "{error}");
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
