//! Formats that people pass by mistake, so that the error can say what the file is instead of what it is not.

/// A magic number: where it lies, its bytes, and what it stands for.
type Magic = (usize, &'static [u8], &'static str);

const MAGICS: &[Magic] = &[
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (0, b"\xfd7zXZ\0", "an xz archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"QFI\xfb", "a qcow2 disk image"),
    (0, b"KDMV", "a VMDK disk image"),
    (0, b"XFSB", "an XFS file system"),
    (0, b"sqsh", "a big-endian squashfs"),
    (0, b"LUKS\xba\xbe", "a LUKS-encrypted volume"),
    (0, b"\x7fELF", "a program"),
    (0, b"#!", "a script"),
    (0, b"version https://git-lfs", "a Git LFS pointer (`git lfs pull` fetches the file)"),
    (0, b"Bootstrap:", "a container definition (build it first)"),
    (0, b"FROM ", "a Dockerfile (build it first)"),
    (257, b"ustar", "a tar archive"),
    (510, b"\x55\xaa", "a partitioned disk or boot sector"),
    (1024, b"\xe2\xe1\xf5\xe0", "an EROFS image"),
];

/// What the first bytes of a file show it to be.
pub fn recognise(head: &[u8]) -> Option<&'static str> {
    let known = MAGICS.iter().find(|(at, magic, _)| head.get(*at..at + magic.len()) == Some(*magic));
    known.map(|(.., name)| *name).or_else(|| by_texture(head))
}

fn by_texture(head: &[u8]) -> Option<&'static str> {
    if head.iter().all(|&b| b == 0) {
        return Some("unformatted (it begins with zeros)");
    }
    let json = head.trim_ascii_start().starts_with(b"{");
    let text = head.iter().all(|b| matches!(b, b'\t' | b'\n' | b'\r' | 32..127));
    match (text, json) {
        (true, true) => Some("a JSON document"),
        (true, false) => Some("a text file"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_mistakes_have_names() {
        assert_eq!(recognise(b"\x1f\x8b\x08"), Some("a gzip archive"));
        assert_eq!(recognise(&[0; 4096]), Some("unformatted (it begins with zeros)"));
        assert_eq!(recognise(b"{\"schemaVersion\": 2}"), Some("a JSON document"));
        assert_eq!(recognise(b"hello\n"), Some("a text file"));
        let mut tar = vec![1; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(recognise(&tar), Some("a tar archive"));
        assert_eq!(recognise(b"\x01\x02\x03"), None);
    }
}
