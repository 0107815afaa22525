//! The engine's own configuration (apptainer.conf, singularity.conf): where it lies, and its lines `KEY = VALUE`.

use std::path::{Path, PathBuf};

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
