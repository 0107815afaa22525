//! The targets `kinds`, `sif` and `squashfs`: telling what a file is. They need nothing but the formats.

use condatainer_formats::kind::{Kind, kind_of};

use super::image::Padded;

/// A file of any kind.
pub fn kinds(data: &[u8]) {
    tell(&Padded::new(data.to_vec()));
}

/// A SIF: header and descriptors.
pub fn sif(data: &[u8]) {
    let mut bytes = data.to_vec();
    bytes.resize(bytes.len().max(42), 0);
    bytes[32..42].copy_from_slice(b"SIF_MAGIC\0");
    tell(&Padded::new(bytes));
}

/// A squashfs: its superblock.
pub fn squashfs(data: &[u8]) {
    tell(&Padded::new([b"hsqs", data.get(4..).unwrap_or_default()].concat()));
}

/// Whatever is found must lie in the file; whatever is refused is refused in one line.
fn tell(file: &Padded) {
    match kind_of(file, file.size) {
        Ok((kind, content)) => {
            assert!(content.end().is_some_and(|end| end <= file.size), "{kind:?} at {content:?}");
            let partitions = if let Kind::Sif(sif) = &kind { sif.partitions.as_slice() } else { &[] };
            assert!(partitions.iter().all(|p| p.window.end().is_some_and(|end| end <= file.size)), "{kind:?}");
            assert!(serde_json::to_string(partitions).is_ok());
        }
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty() && !message.contains('\n'), "{message}");
        }
    }
}
