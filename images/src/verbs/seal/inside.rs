//! Paths inside the image, which may hold any bytes, as messages show them.

/// With a slash in front and without control characters.
pub(super) fn display(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path).escape_debug())
}
