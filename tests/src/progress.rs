//! Lines about what is being done.

/// Says one line of progress on standard error.
pub fn say(line: impl std::fmt::Display) {
    eprintln!("cluster: {line}");
}
