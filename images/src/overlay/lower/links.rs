//! The search for hard links: does a layer have a file with several names?

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::error::LowerError;
use super::layer::{Child, Layer};
use super::open::{self, Wanted};
use condatainer_formats::ext::FileType;

/// The first of these with a regular file that has several names, as far as can be told before `until`; the base comes last. What
/// cannot be read is told by others.
pub fn first_with_hard_links(base: &Path, layers: &[PathBuf], until: Instant) -> Option<PathBuf> {
    let layers = layers.iter().map(|path| (path.as_path(), Wanted::Layer));
    let mut named = layers.chain([(base, Wanted::Base)]);
    named.find(|(path, wanted)| has_any(path, *wanted, until).unwrap_or(false)).map(|(path, _)| path.into())
}

fn has_any(path: &Path, wanted: Wanted, until: Instant) -> Result<bool, LowerError> {
    let mut parts = Vec::new();
    open::layers(path, wanted, &mut parts)?;
    for part in parts {
        if is_in(part.as_ref(), until)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_in(layer: &dyn Layer, until: Instant) -> Result<bool, LowerError> {
    let (mut pending, mut entered, mut found) = (vec![layer.root()], HashSet::new(), false);
    while let Some(directory) = pending.pop() {
        layer.list(&directory, &mut |Child { at, kind, .. }| {
            if found || Instant::now() > until || !matches!(kind, None | Some(FileType::Regular | FileType::Directory))
            {
                return;
            }
            // A name that cannot be read says nothing about the others.
            let Ok(node) = layer.node(&at) else { return };
            found = node.kind == FileType::Regular && node.links > 1;
            if node.kind == FileType::Directory && entered.insert(at.clone()) {
                pending.push(at);
            }
        })?;
        if found || Instant::now() > until {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    #[test]
    fn a_second_name_is_found_and_a_directory_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, linked) = (dir.path().join("plain"), dir.path().join("linked"));
        for layer in [&plain, &linked] {
            fs::create_dir_all(layer.join("a/b/c")).unwrap();
            fs::write(layer.join("a/b/one"), "").unwrap();
        }
        let later = || Instant::now() + Duration::from_secs(600);
        let search = |until| first_with_hard_links(&plain, &[plain.clone(), linked.clone()], until);
        assert_eq!(search(later()), None);
        fs::hard_link(linked.join("a/b/one"), linked.join("a/b/c/other")).unwrap();
        assert_eq!(search(later()), Some(linked.clone()));
        assert_eq!(search(Instant::now()), None, "it stops when the time is over");
        let image = dir.path().join("linked.sqf");
        let made = std::process::Command::new("mksquashfs").args([&linked, &image]).arg("-quiet").status();
        assert!(made.unwrap().success());
        assert_eq!(first_with_hard_links(&plain, std::slice::from_ref(&image), later()), Some(image));
    }
}
