//! plugstack.conf, as Slurm reads it (spank(8)): `required|optional|include PATH ARGUMENT...`.

use std::fs;
use std::path::{Path, PathBuf};

/// Files that include each other must come to an end.
const DEPTH: u32 = 8;
/// By this our line is known, wherever the file lies.
const PLUGIN: &str = "spank_condatainer.so";

/// One line that loads a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub file: PathBuf,
    pub(super) required: bool,
    pub(super) plugin: PathBuf,
    pub(super) arguments: Vec<String>,
}

/// Our line in a file, or in those that it includes.
pub(super) fn find(path: &Path) -> Option<Entry> {
    search(path, DEPTH)
}

fn search(path: &Path, depth: u32) -> Option<Entry> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().map(words).find_map(|words| match words.as_slice() {
        ["include", pattern] if depth > 0 => included(path, pattern).iter().find_map(|file| search(file, depth - 1)),
        words => entry(path, words),
    })
}

fn words(line: &str) -> Vec<&str> {
    line.split('#').next().unwrap_or_default().split_ascii_whitespace().collect()
}

fn entry(file: &Path, words: &[&str]) -> Option<Entry> {
    let (word, plugin, arguments) = match words {
        [word @ ("required" | "optional"), plugin, arguments @ ..] => (word, plugin, arguments),
        _ => return None,
    };
    plugin.ends_with(PLUGIN).then(|| Entry {
        file: file.into(),
        required: *word == "required",
        plugin: PathBuf::from(plugin),
        arguments: arguments.iter().map(|argument| (*argument).into()).collect(),
    })
}

/// The files of an include; a `*` stands for anything in the last part of the path, as in `plugstack.conf.d/*`.
fn included(from: &Path, pattern: &str) -> Vec<PathBuf> {
    let path = from.parent().unwrap_or(Path::new("/")).join(pattern);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some((before, after)) = name.split_once('*') else { return vec![path] };
    let entries = path.parent().map(fs::read_dir).into_iter().flatten().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.strip_prefix(before).is_some_and(|rest| rest.ends_with(after)) && !name.starts_with('.')
        })
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_line_is_found_through_includes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("plugstack.conf"), "# required /x/spank_condatainer.so\noptional other.so\ninclude d/*.conf\n")
            .unwrap();
        fs::write(at("d/a.conf"), "include a.conf # itself\n").unwrap();
        fs::write(at("d/b.conf.off"), "optional /wrong/spank_condatainer.so\n").unwrap();
        assert_eq!(find(&at("plugstack.conf")), None);
        fs::write(at("d/b.conf"), "required /l/spank_condatainer.so condatainer=/b config=/c\n").unwrap();
        let entry = find(&at("plugstack.conf")).unwrap();
        assert!(entry.required && entry.file == at("d/b.conf") && entry.plugin == Path::new("/l/spank_condatainer.so"));
        assert_eq!(entry.arguments, ["condatainer=/b", "config=/c"]);
        assert_eq!(find(&at("none")), None);
    }
}
