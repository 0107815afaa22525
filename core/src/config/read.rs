//! From files to settings: reading, trust, and the mistakes that are named.

use std::path::Path;

use super::error::ConfigError;
use super::settings::Settings;
use condatainer_images::trust::{self, Links, Opened, TrustError};

/// A configuration has some lines; more is none.
const LARGEST: u64 = 1 << 20;

/// The user's own file, wherever the user has put it. A missing one is none.
pub(super) fn of_user(path: &Path) -> Result<Option<String>, ConfigError> {
    text(path, trust::open(path, Links::Follow))
}

/// The site's file, which decides what every user and the plugin run: so it is root's, and in directories where nobody but root can
/// put another in its place.
pub(super) fn of_site(path: &Path) -> Result<Option<String>, ConfigError> {
    text(path, trust::open_of_root(path))
}

fn text(path: &Path, opened: Result<Opened, TrustError>) -> Result<Option<String>, ConfigError> {
    match opened.and_then(|file| file.read_text(LARGEST)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) if error.is_distrust() => {
            Err(ConfigError::Untrusted { file: path.into(), path: error.path().into() })
        }
        Err(error) => Err(ConfigError::Read(error)),
    }
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Settings, ConfigError> {
    toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
        let message = e.message().lines().next().unwrap_or_default();
        ConfigError::Syntax { path: path.into(), message: format!("line {line}: {message}") }
    })
}
