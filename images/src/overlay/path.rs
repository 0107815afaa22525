//! Paths in a tree: bytes, without a slash in front; the root is the empty one.

/// A path's directory and last name; the root has none.
pub(crate) fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    let path = path.get(..end).unwrap_or_default();
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..)),
        None => (b"", Some(path).filter(|path| !path.is_empty())),
    }
}

/// `name` in the directory at `path`.
pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, name].join(&b'/') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_at_their_last_name() {
        assert_eq!(split(b""), (&b""[..], None));
        assert_eq!(split(b"/"), (&b""[..], None));
        assert_eq!(split(b"usr"), (&b""[..], Some(&b"usr"[..])));
        assert_eq!(split(b"usr/bin/"), (&b"usr"[..], Some(&b"bin"[..])));
    }
}
