//! Paths in JSON: a name is any bytes, JSON has only text, and a report must not fail after its work is done. What is no UTF-8 is
//! shown as `U+FFFD`. To be used as `#[serde(serialize_with = …)]`.

use std::path::Path;

use serde::Serializer;

/// One path.
///
/// # Errors
/// Those of the serializer.
pub fn path<S: Serializer>(path: &impl AsRef<Path>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.as_ref().to_string_lossy())
}

/// One path, where there is one.
///
/// # Errors
/// Those of the serializer.
pub fn maybe<S: Serializer>(path: &Option<impl AsRef<Path>>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => serializer.serialize_some(&path.as_ref().to_string_lossy()),
        None => serializer.serialize_none(),
    }
}

/// A list of paths.
///
/// # Errors
/// Those of the serializer.
pub fn paths<S: Serializer>(
    paths: &(impl AsRef<[std::path::PathBuf]> + ?Sized),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.as_ref().iter().map(|path| path.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::path::PathBuf;

    #[derive(serde::Serialize)]
    struct Report {
        #[serde(serialize_with = "super::path")]
        one: PathBuf,
        #[serde(serialize_with = "super::maybe")]
        other: Option<PathBuf>,
        #[serde(serialize_with = "super::paths")]
        all: Vec<PathBuf>,
    }

    #[test]
    fn any_name_can_be_told() {
        let odd = PathBuf::from(OsStr::from_bytes(b"bad\xff.img"));
        let report = Report { one: odd.clone(), other: None, all: vec![odd] };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(text, "{\"one\":\"bad\u{fffd}.img\",\"other\":null,\"all\":[\"bad\u{fffd}.img\"]}");
    }
}
