//! The tools of e2fsprogs: mke2fs, e2fsck, resize2fs, tune2fs, debugfs.

use super::error::ToolError;
use super::run::Tool;

/// The tool of this name. e2fsck is had from [`super::e2fsck`], which configures it.
pub(crate) fn tool(name: &'static str) -> Result<Tool, ToolError> {
    Tool::new(name, "e2fsprogs")
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
