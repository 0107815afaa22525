//! Trees for tests: directories of the machine as layers, mounts, and walks.
// Every test binary uses its own part of this, and a failing preparation is a failing test.
#![allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(clippy::duplicate_mod)]
pub mod chance;
pub mod counted;
pub mod host;
pub mod mount;
#[path = "../../../images/tests/support/overlay.rs"]
pub mod overlay;
#[path = "../../../images/tests/support/tool.rs"]
pub mod tool;
pub mod walk;

use std::fs::File;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use condatainer_stack::layer::directory::{DirectoryLayer, Sight};
use condatainer_stack::merge::Stacked;

pub use host::HostLayer;
pub use mount::Mount;
pub use tool::tool;
pub use walk::{Seen, walk, walk_overlay};

pub fn ok(output: Output, what: &str) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}\n{text}\n{errors}", output.status);
    text
}

/// A directory of the machine as a layer of a stack.
pub fn stacked(directory: &Path) -> Stacked {
    Stacked {
        path: directory.into(),
        bytes: 1 << 20,
        layer: Arc::new(DirectoryLayer::new(File::open(directory).unwrap(), Sight::AsItIs)),
    }
}
