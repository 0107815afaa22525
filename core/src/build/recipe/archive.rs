//! Archives of container images, recognised by the names in them.

use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::fs::FileExt;

/// What a tar archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Archive {
    /// What `docker save` and `podman save` write.
    Docker,
    /// An OCI layout.
    Oci,
    /// Something compressed by gzip, which Apptainer (1.4) gets stuck in.
    Compressed,
    /// Anything else.
    Other,
}

const MAGIC: &[u8] = b"ustar";
const MAGIC_AT: u64 = 257;
const GZIP: &[u8] = b"\x1f\x8b";

/// What kind of archive a file is; nothing if it is none.
pub(super) fn recognise(mut file: &File) -> io::Result<Option<Archive>> {
    file.rewind()?;
    let mut head = [0; 2];
    let mut magic = [0; 5];
    if file.read_at(&mut head, 0)? == 2 && head == *GZIP {
        return Ok(Some(Archive::Compressed));
    }
    match file.read_at(&mut magic, MAGIC_AT)? {
        5 if magic == *MAGIC => kind(file).map(Some),
        _ => Ok(None),
    }
}

/// Recent `docker save` writes both kinds at once; its own is the one that names all of its images.
fn kind(file: &File) -> io::Result<Archive> {
    let mut found = Archive::Other;
    for entry in tar::Archive::new(file).entries_with_seek()? {
        let entry = entry?;
        let name = entry.path_bytes();
        match name.strip_prefix(b"./").unwrap_or(&name) {
            b"manifest.json" => return Ok(Archive::Docker),
            b"oci-layout" | b"index.json" => found = Archive::Oci,
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn archive(names: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = tar::Header::new_ustar();
            header.set_size(2);
            builder.append_data(&mut header, name, &b"{}"[..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn recognised(bytes: &[u8]) -> Option<Archive> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        recognise(&file).unwrap()
    }

    #[test]
    fn kinds() {
        assert_eq!(recognised(&archive(&["blobs/x", "oci-layout", "index.json"])), Some(Archive::Oci));
        assert_eq!(recognised(&archive(&["oci-layout", "manifest.json"])), Some(Archive::Docker));
        assert_eq!(recognised(&archive(&["etc/passwd"])), Some(Archive::Other));
        assert_eq!(recognised(b"\x1f\x8b\x08"), Some(Archive::Compressed));
        assert_eq!(recognised(b"hsqs"), None);
        assert_eq!(recognised(b""), None);
    }

    #[test]
    fn broken_ones_are_an_error() {
        let mut bytes = archive(&["a", "oci-layout"]);
        bytes.truncate(700);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let _ = recognise(&file);
        bytes[148] = b'9';
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        assert!(recognise(&file).is_err());
    }
}
