//! Looks for the programs, and asks the first of each package for its version.

use super::facts::{Facts, Tool};
use crate::machine::ask::ask;
use crate::machine::version;
use condatainer_images::tools::programs;

pub(crate) fn read() -> Facts {
    Facts {
        e2fsprogs: vec![asked("mke2fs", "-V"), found("debugfs"), found("e2fsck"), found("resize2fs")],
        mksquashfs: asked("mksquashfs", "-version"),
    }
}

fn found(name: &'static str) -> Tool {
    Tool { name, path: programs::find(name), version: None }
}

fn asked(name: &'static str, question: &str) -> Tool {
    let tool = found(name);
    let answer = tool.path.as_deref().and_then(|path| ask(path, &[question]).ok());
    Tool { version: answer.and_then(|answer| version::of(name, &answer.both())), ..tool }
}
