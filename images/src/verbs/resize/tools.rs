//! e2fsck and resize2fs at work on one open file.

use std::fs::File;
use std::io;
use std::process::Output;

use crate::acquire::LockedImage;
use crate::acquire::automatic_repair::automatic_repair;
use crate::system::stop::Stop;
use crate::temporary::Draft;
use crate::tools::e2fsck::{self, Answer, CORRECTED, Work};
use crate::tools::open_file::GIVEN_FILE;
use crate::tools::run::Tool;
use crate::tools::{ToolError, e2fsprogs};

/// The file, and when to give up.
pub(super) struct Tools<'a> {
    file: File,
    /// The image, if it is the file.
    image: Option<&'a LockedImage>,
    stop: Option<&'a Stop>,
}

impl<'a> Tools<'a> {
    /// For a copy, which may be given up at any time.
    pub(super) fn on_copy(draft: &Draft, stop: &'a Stop) -> io::Result<Self> {
        Ok(Self { file: draft.reopen()?, image: None, stop: Some(stop) })
    }

    /// For the image itself: the tool shares the description that is locked, so that the lock holds until it has ended, and is
    /// never killed by us.
    pub(super) fn on_image(locked: &'a LockedImage) -> io::Result<Self> {
        Ok(Self { file: locked.file.try_clone()?, image: Some(locked), stop: None })
    }

    /// A whole check with the repairs that lose nothing; resize2fs wants a fresh one. True when there was something to repair.
    ///
    /// A copy that is cut off is thrown away. The image itself must survive that, and not lose the names of a directory which
    /// e2fsck is just giving an index.
    pub(super) fn check_and_repair(&self) -> Result<bool, ToolError> {
        let run = || self.e2fsck(Answer::Automatic, CORRECTED);
        let output = match self.image {
            Some(locked) => automatic_repair(locked, run)?,
            None => run()?,
        };
        Ok(output.status.code() == Some(CORRECTED))
    }

    /// A whole check that changes nothing.
    pub(super) fn check(&self) -> Result<(), ToolError> {
        self.e2fsck(Answer::Look, 0).map(drop)
    }

    /// Changes the file system's size; the file must be long enough, or resize2fs would lengthen it by writing a character.
    pub(super) fn resize(&self, blocks: u64) -> Result<(), ToolError> {
        self.resize2fs(&[GIVEN_FILE, &blocks.to_string()]).map(drop)
    }

    /// The least number of blocks to which resize2fs would shrink the file system, as it estimates.
    pub(super) fn least(&self) -> Result<u64, ToolError> {
        let output = self.resize2fs(&["-P", GIVEN_FILE])?;
        let text = String::from_utf8_lossy(&output.stdout);
        let number = text.rsplit(':').next().and_then(|number| number.trim().parse().ok());
        number.ok_or_else(|| ToolError::Failed { tool: "resize2fs", said: format!("no least size in {text:?}") })
    }

    fn e2fsck(&self, answer: Answer, worst: i32) -> Result<Output, ToolError> {
        self.run(&mut e2fsck::on(&self.file, GIVEN_FILE, Work::Whole(answer))?, worst)
    }

    fn resize2fs(&self, arguments: &[&str]) -> Result<Output, ToolError> {
        self.run(e2fsprogs::tool("resize2fs")?.on(&self.file)?.args(arguments), 0)
    }

    fn run(&self, tool: &mut Tool, worst: i32) -> Result<Output, ToolError> {
        tool.run_unless(&|| self.stop.is_some_and(Stop::is_asked), worst)
    }
}
