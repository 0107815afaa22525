//! What other users can do to alice: bob and carol put files where she finds them, and get in the way of what she runs.

mod configuration;
mod found;
mod images;
mod keys;
mod notes;
mod places;
mod sidecars;
mod words;

use anyhow::Result;

use crate::support::{Desk, Test};

/// One file for each subject.
pub(crate) fn tests() -> Vec<Test> {
    [
        configuration::tests(),
        found::tests(),
        images::tests(),
        keys::tests(),
        notes::tests(),
        places::tests(),
        sidecars::tests(),
        words::tests(),
    ]
    .concat()
}

/// A directory of root's with this mode, for this test alone, where all nodes and users see it.
fn place(desk: &Desk, mode: &str) -> Result<String> {
    let path = format!("/home/of-{}", desk.dir.rsplit('/').next().unwrap_or_default());
    desk.as_root(&format!("rm -rf {path}; mkdir {path}; chmod {mode} {path}"))?.success()?;
    Ok(path)
}
