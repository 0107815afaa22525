//! e2fsck and resize2fs at work on one open file.

use std::fs::File;
use std::io;
use std::process::Output;

use crate::system::stop::Stop;
use crate::temporary::Draft;
use crate::tools::ToolError;
use crate::tools::e2fsprogs::{self, CORRECTED};
use crate::tools::given::GIVEN_FILE;

/// The file, and when to give up.
pub(super) struct Tools<'a> {
    file: File,
    stop: Option<&'a Stop>,
}

impl<'a> Tools<'a> {
    /// For a copy, which may be given up at any time.
    pub(super) fn on_copy(draft: &Draft, stop: &'a Stop) -> io::Result<Self> {
        Ok(Self { file: draft.reopen()?, stop: Some(stop) })
    }

    /// For the image itself: the tool shares the description that is locked, so that the lock holds until it has ended, and is
    /// never killed by us.
    pub(super) fn on_image(file: &File) -> io::Result<Self> {
        Ok(Self { file: file.try_clone()?, stop: None })
    }

    /// A whole check with the repairs that lose nothing; resize2fs wants a fresh one. True when there was something to repair.
    pub(super) fn check_and_repair(&self) -> Result<bool, ToolError> {
        self.run("e2fsck", &["-f", "-p", GIVEN_FILE], CORRECTED).map(|output| output.status.code() == Some(CORRECTED))
    }

    /// A whole check that changes nothing.
    pub(super) fn check(&self) -> Result<(), ToolError> {
        self.run("e2fsck", &["-f", "-n", GIVEN_FILE], 0).map(drop)
    }

    /// Changes the file system's size; the file must be long enough, or resize2fs would lengthen it by writing a character.
    pub(super) fn resize(&self, blocks: u64) -> Result<(), ToolError> {
        self.run("resize2fs", &[GIVEN_FILE, &blocks.to_string()], 0).map(drop)
    }

    /// The least number of blocks to which resize2fs would shrink the file system, as it estimates.
    pub(super) fn least(&self) -> Result<u64, ToolError> {
        let output = self.run("resize2fs", &["-P", GIVEN_FILE], 0)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let number = text.rsplit(':').next().and_then(|number| number.trim().parse().ok());
        number.ok_or_else(|| ToolError::Failed { tool: "resize2fs", said: format!("no least size in {text:?}") })
    }

    fn run(&self, tool: &'static str, arguments: &[&str], worst: i32) -> Result<Output, ToolError> {
        let stop = || self.stop.is_some_and(Stop::is_asked);
        e2fsprogs::tool(tool)?.on(&self.file)?.args(arguments).run_unless(&stop, worst)
    }
}
