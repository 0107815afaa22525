//! What is handed to others, as others meet it: packages on clusters of every release, the archive in the home of somebody who is
//! not root, the source without a network. 'make packages-test' makes all of it before.

// Tests and their helpers: what does not hold, fails the test.
#![allow(clippy::unwrap_used, clippy::panic)]
#![forbid(unsafe_code)]

mod archive;
mod content;
mod debian;
mod rpm;
mod source;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the packages are.
fn packages() -> PathBuf {
    std::env::var_os("CONDATAINER_PACKAGES").expect("make packages-test says where the packages are").into()
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The version of this workspace, as packages and archives have it in their names.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The newest file whose name begins and ends so.
fn file(begin: &str, end: &str) -> PathBuf {
    let names = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(begin) && name.ends_with(end)
    };
    let all = fs::read_dir(packages()).unwrap().flatten().map(|entry| entry.path()).filter(names);
    all.max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap())
        .unwrap_or_else(|| panic!("{}: there is no {begin}*{end}", packages().display()))
}

/// Runs a command of this machine; what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a bash text on this machine, with arguments `$1`, `$2`…
fn script(text: &str, arguments: &[&Path]) -> String {
    run(Command::new("bash").args(["-euo", "pipefail", "-c", text, "bash"]).args(arguments))
}
