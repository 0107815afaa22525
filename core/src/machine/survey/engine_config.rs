//! The engine's own configuration (apptainer.conf, singularity.conf): where it lies, and its lines `KEY = VALUE`.

use std::path::{Path, PathBuf};

/// Where the file does not say otherwise.
pub(crate) const BINARY_PATH: &str = "$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What Apptainer replaces, by its own directory and the caller's PATH.
pub(crate) const CALLERS: &str = "$PATH:";

/// An engine's build knows its configuration's place; this is where its packages and `make install` put it.
pub(super) fn find(prefix: &Path, name: &str) -> Option<PathBuf> {
    let packaged = (prefix == Path::new("/usr")).then(|| Path::new("/etc").join(name));
    packaged.into_iter().chain([prefix.join("etc").join(name)]).find(|path| path.is_file())
}

/// All values of a key that may be repeated.
pub(super) fn directives<'a>(text: &'a str, key: &str) -> impl DoubleEndedIterator<Item = &'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.filter(move |(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// The value of a key; the last line counts.
pub(crate) fn directive<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    directives(text, key).next_back()
}

/// In these directories Apptainer looks for programs before it looks into the caller's PATH; `libexec` is its own. It puts that one in
/// front of PATH, or, where the site leaves PATH out, in front of everything.
pub(crate) fn before_path(binary_path: Option<&str>, libexec: &Path) -> Vec<PathBuf> {
    let value = binary_path.unwrap_or(BINARY_PATH);
    let paths = |text: &str| text.split(':').filter(|dir| dir.starts_with('/')).map(PathBuf::from).collect::<Vec<_>>();
    match value.split_once(CALLERS) {
        Some((before, _)) => [paths(before), vec![libexec.into()]].concat(),
        None => [vec![libexec.into()], paths(value)].concat(),
    }
}
