//! A directory as a layer: with an `upper` it is an overlay, without one it is shown as it is.

use std::fs;
use std::io;
use std::path::Path;

use super::finding::{Code, Finding, quoted};

/// What is wrong with the two directories inside.
pub(crate) fn findings(path: &Path) -> Vec<Finding> {
    let [upper, work] = ["upper", "work"].map(|name| fs::symlink_metadata(path.join(name)));
    let mut findings = Vec::new();
    match &upper {
        Ok(meta) if !meta.is_dir() => findings.push(not_a_directory(path, "upper", Code::UpperNotDirectory)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            findings.push(unreadable(path, "upper", Code::UpperUnreadable, error));
        }
        _ => {}
    }
    match &work {
        Ok(meta) if !meta.is_dir() => findings.push(not_a_directory(path, "work", Code::WorkNotDirectory)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            findings.push(unreadable(path, "work", Code::WorkUnreadable, error));
        }
        _ => {}
    }
    findings
}

fn not_a_directory(path: &Path, name: &str, code: Code) -> Finding {
    let entry = quoted(&path.join(name));
    Finding::error(code, format!("{name} is not a directory"), format!("mv {entry} {entry}.saved"))
}

fn unreadable(path: &Path, name: &str, code: Code, error: &io::Error) -> Finding {
    let cure = format!("ls -ld {}", quoted(path));
    Finding::error(code, format!("{name}/ cannot be looked at: {error}"), cure)
}
