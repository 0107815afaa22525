//! The fuzz targets: any bytes in, and whatever they say, an answer soon, without a panic and without reading or holding more
//! than they are worth.
//!
//! cargo-fuzz runs them through `fuzz_targets/`, and `core/tests/fuzz` runs the very same functions on stable Rust.

// A broken promise of the engine has to be loud here.
#![allow(missing_docs, clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod image;
mod tree;

use std::path::Path;

use condatainer_core::request::bind::Bind;
use condatainer_core::request::layer::Layer;
use condatainer_core::request::names::{Finder, Library};
use condatainer_core::request::{self, Request};
use condatainer_images::image::{Kind, kind_of};

pub use image::{Padded, Sparse};
pub use tree::ext;

/// A name and what it does with the bytes.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 6] =
    [("ext", ext), ("kinds", kinds), ("sif", sif), ("squashfs", squashfs), ("layers", layers), ("request", request)];

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

/// Whatever is found must lie in the file; whatever is refused is refused in one line that names the file.
fn tell(file: &Padded) {
    let path = Path::new("/images/some.img");
    match kind_of(path, file, file.size) {
        Ok((kind, content)) => {
            assert!(content.end().is_some_and(|end| end <= file.size), "{kind:?} at {content:?}");
            let partitions = if let Kind::Sif(sif) = &kind { sif.partitions.as_slice() } else { &[] };
            assert!(partitions.iter().all(|p| p.window.end().is_some_and(|end| end <= file.size)), "{kind:?}");
            assert!(serde_json::to_string(&kind).is_ok());
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("/images/some.img: ") && !message.contains('\n'), "{message}");
        }
    }
}

/// Layers and binds as users write them.
pub fn layers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(layers) = Layer::parse_list(&text) {
        let again = layers.iter().map(written).collect::<Vec<_>>().join(",");
        assert_eq!(Layer::parse_list(&again).as_ref(), Ok(&layers), "{text:?} and {again:?}");
    }
    let (cwd, home) = (Path::new("/somewhere"), Path::new("/home/u"));
    let lists = [text.clone().into_owned()];
    let finder = Finder { cwd, home: Some(home), library: &Library::default() };
    let resolved = finder.layers(&lists).unwrap_or_default();
    assert!(resolved.iter().all(|layer| layer.path.is_absolute()), "{text:?}: {resolved:?}");
    for home in [Some(home), None] {
        let binds = Bind::parse_list(&text, cwd, home).unwrap_or_default();
        assert!(binds.iter().all(|b| b.source.is_absolute() && b.destination.is_absolute()), "{text:?}: {binds:?}");
    }
}

/// A layer in the form in which it must be read as itself again.
fn written(layer: &Layer) -> String {
    let path = layer.path.to_str().unwrap().replace(',', "\\,").replace(':', "\\:");
    layer.mode.map_or(path.clone(), |mode| format!("{path}:{mode}"))
}

/// The request that travels to a node, and its companions.
pub fn request(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(request) = Request::decode(&text)
        && let Ok(encoded) = request.encode()
    {
        assert_eq!(Request::decode(&encoded).ok(), Some(request), "{text:?}");
    }
    if let Ok(words) = request::decode_words(&text) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert!(request::decode_words(&request::encode_words(&words)).is_ok_and(|again| again == words));
    }
    if let Ok((name, value)) = request::parse_assignment(&text) {
        assert_eq!(format!("{name}={value}"), text);
    }
}
