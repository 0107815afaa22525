//! `#DEP:` lines and, where they count, `module load` and `ml` lines.

use crate::request::layer::Layer;
use crate::request::names::{Name, NameError, is_path};

use super::error::LineError;

/// What a dependency's line begins with.
const MARK: &[u8] = b"#DEP:";

/// What `ml` does besides loading; what follows is not to be loaded.
const OTHER_VERBS: [&str; 24] = [
    "av",
    "avail",
    "del",
    "describe",
    "disable",
    "help",
    "is-loaded",
    "keyword",
    "list",
    "ls",
    "purge",
    "refresh",
    "reset",
    "restore",
    "rm",
    "save",
    "savelist",
    "show",
    "spider",
    "swap",
    "unload",
    "unuse",
    "use",
    "whatis",
];

/// One layer that a script needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The line that says so, counted from 1.
    pub line: usize,
    /// The layer: a path as it was written, or a name with `/` between its parts.
    pub layer: Layer,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    pub(super) found: Vec<Dependency>,
}

impl Dependencies {
    /// Takes what a line names, if it names anything.
    pub(super) fn add(&mut self, number: usize, line: &[u8], modules: bool) -> Result<(), LineError> {
        if let Some(rest) = line.strip_prefix(MARK) {
            let text = without_comment(str::from_utf8(rest).map_err(|_| LineError::NotText)?);
            return if text.is_empty() { Ok(()) } else { self.push(number, layer(text)?) };
        }
        if !modules {
            return Ok(());
        }
        let Ok(line) = str::from_utf8(line) else { return Ok(()) };
        loaded(line).into_iter().try_for_each(|module| self.push(number, by_name(module)?))
    }

    fn push(&mut self, line: usize, layer: Layer) -> Result<(), LineError> {
        if self.found.iter().all(|known| known.layer != layer) {
            self.found.push(Dependency { line, layer });
        }
        Ok(())
    }
}

fn layer(text: &str) -> Result<Layer, LineError> {
    let layer = Layer::parse(text)?;
    if is_path(&layer.path) {
        return Ok(layer);
    }
    let named = by_name(&layer.path.to_string_lossy())?;
    Ok(Layer { mode: layer.mode, ..named })
}

fn by_name(text: &str) -> Result<Layer, NameError> {
    Ok(Layer::at(Name::parse(text)?.to_string()))
}

/// The modules that a shell line loads: `module load A B` or `ml A B`, up to a comment or the next command.
fn loaded(line: &str) -> Vec<&str> {
    let mut words = line.split_whitespace().peekable();
    match words.next() {
        Some("module") if words.next() == Some("load") => {}
        Some("ml") if words.next_if_eq(&"load").is_some() || words.peek().is_none_or(|w| !OTHER_VERBS.contains(w)) => {}
        _ => return Vec::new(),
    }
    let mut modules = Vec::new();
    for word in words {
        let end = word.find(['#', ';', '&', '|', '>', '<']);
        let module = &word[..end.unwrap_or(word.len())];
        let is_descriptor = end.is_some() && module.bytes().all(|byte| byte.is_ascii_digit());
        if !module.starts_with('-') && !is_descriptor {
            modules.push(module);
        }
        if end.is_some() {
            break;
        }
    }
    modules
}

fn without_comment(text: &str) -> &str {
    text.split('#').next().unwrap_or_default().trim()
}
