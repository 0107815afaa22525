//! What we have to know of an `environment.yml`: that it is one, that it names packages, and its channels. The rest is the tool's.

use std::path::Path;

use saphyr::{LoadableYamlNode, Yaml};

use super::error::CondaError;

/// The channels of an environment file, once it has proven to be one.
pub(super) fn channels(path: &Path, text: &str) -> Result<Vec<String>, CondaError> {
    let flawed = |what: String| CondaError::Yaml { path: path.into(), what };
    let documents = Yaml::load_from_str(text).map_err(|error| flawed(error.to_string()))?;
    let Some(root) = documents.first().filter(|root| root.as_mapping().is_some()) else {
        return Err(flawed("has no 'dependencies:' at its first level".into()));
    };
    if is_lock_file(path) {
        return Ok(Vec::new());
    }
    match root.as_mapping_get("dependencies") {
        None => Err(flawed("has no 'dependencies:' at its first level".into())),
        Some(list) if list.as_sequence().is_some_and(|list| !list.is_empty()) => Ok(texts(root, "channels")),
        Some(_) => Err(CondaError::Empty { path: path.into() }),
    }
}

/// `NAME-lock.yml` is a file of conda-lock, which micromamba tells by its name too.
pub(super) fn is_lock_file(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("-lock"))
}

fn texts(root: &Yaml<'_>, key: &str) -> Vec<String> {
    let list = root.as_mapping_get(key).and_then(Yaml::as_sequence);
    list.into_iter().flatten().filter_map(|item| item.as_str().map(String::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        channels(Path::new("/e.yml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn environments() {
        let text = "name: x\nchannels:\n  - conda-forge\n  - file:///c\ndependencies:\n  - a=1\n  - pip:\n    - b\n";
        assert_eq!(read(text).unwrap(), ["conda-forge", "file:///c"]);
        assert_eq!(read("dependencies: [a]").unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_none_is_said() {
        for text in ["", "- a\n", "just words", "name: x\n"] {
            assert!(read(text).unwrap_err().contains("has no 'dependencies:'"), "{text}");
        }
        for text in ["dependencies:\n", "dependencies: []", "dependencies: a"] {
            assert!(read(text).unwrap_err().contains("names no package"), "{text}");
        }
        let flaw = read("a: [1\nb: 2").unwrap_err();
        assert!(flaw.starts_with("/e.yml: ") && flaw.contains("line"), "{flaw}");
    }

    #[test]
    fn lock_files_are_the_tools_business() {
        assert!(channels(Path::new("/conda-lock.yml"), "package: []").is_ok());
    }
}
