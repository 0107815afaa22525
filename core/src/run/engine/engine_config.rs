//! The engine's configuration for read-only stacks: the site's own file with `enable overlay = driver`.
//!
//! With it Apptainer uses fuse-overlayfs also where nothing is written, and that honours the whiteouts which fuse-overlayfs
//! itself has left in an image: what a writer deleted stays deleted for a reader. Everything else of the site's file stays.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::plan::Plan;
use crate::run::engine::descriptors;
use crate::run::error::{RunError, system};

const KEY: &str = "enable overlay";

/// The configuration to start the engine with; `None` where its own is right.
pub(crate) fn for_plan(plan: &Plan) -> Result<Option<OwnedFd>, RunError> {
    if !plan.overlay_driver {
        return Ok(None);
    }
    let site = plan.engine.config.as_deref().unwrap_or(Path::new("/etc/apptainer/apptainer.conf"));
    let text = std::fs::read_to_string(site)
        .map_err(system(format!("{}: cannot read Apptainer's configuration", site.display())))?;
    descriptors::memory_file(c"apptainer.conf", with_overlay_driver(&text).as_bytes()).map(Some)
}

fn with_overlay_driver(text: &str) -> String {
    let others = text.lines().filter(|line| !sets_overlay(line));
    others.chain(["enable overlay = driver"]).flat_map(|line| [line, "\n"]).collect()
}

fn sets_overlay(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| key.trim() == KEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_key_changes() {
        let site = "# enable overlay = no\nallow setuid = yes\nenable overlay = yes\nbind path = /etc/hosts\n";
        let ours = "# enable overlay = no\nallow setuid = yes\nbind path = /etc/hosts\nenable overlay = driver\n";
        assert_eq!(with_overlay_driver(site), ours);
    }
}
