//! The targets `layers` and `request`: what users write, and what travels to a node.

use std::path::Path;

use condatainer_core::request::bind::Bind;
use condatainer_core::request::layer::Layer;
use condatainer_core::request::names::{Finder, Library};
use condatainer_core::request::{self, Request};

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
