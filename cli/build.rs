//! Tells the command which commit it is made from: that of a source archive (packaging/commit), else that of this repository.

use std::fs;
use std::path::Path;
use std::process::Command;

/// `make dist` writes it; a repository does not have it.
const OF_ARCHIVE: &str = "../packaging/commit";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let commit = of_archive().or_else(of_repository);
    println!("cargo::rustc-env=CONDATAINER_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

fn of_archive() -> Option<String> {
    let commit = fs::read_to_string(OF_ARCHIVE).ok()?;
    println!("cargo::rerun-if-changed={OF_ARCHIVE}");
    Some(commit.trim().to_owned())
}

/// An archive may be unpacked inside somebody's repository, whose commits are not ours.
fn of_repository() -> Option<String> {
    let top = git(&["rev-parse", "--show-toplevel"])?;
    (fs::canonicalize("..").ok()? == Path::new(&top)).then_some(())?;
    for file in ["HEAD", "logs/HEAD"] {
        // cargo takes a file that is not there for one that has changed.
        let changes = git(&["rev-parse", "--git-path", file]).filter(|path| Path::new(path).exists());
        if let Some(path) = changes {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
