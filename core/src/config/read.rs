//! From files to settings: reading, trust, and the mistakes that are named.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::settings::Settings;

pub(super) fn read_optional(path: &Path) -> Result<Option<String>, ConfigError> {
    // Nobody may ever write to it, and every command would wait.
    if std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo()) {
        return Err(ConfigError::Read {
            path: path.into(),
            source: std::io::Error::other("a pipe is no configuration"),
        });
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(ConfigError::Read { path: path.into(), source }),
    }
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Settings, ConfigError> {
    toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
        let message = e.message().lines().next().unwrap_or_default();
        ConfigError::Syntax { path: path.into(), message: format!("line {line}: {message}") }
    })
}

pub(super) fn parse_bool(variable: &'static str, value: &str) -> Result<bool, ConfigError> {
    value.parse().map_err(|_| ConfigError::NotABool { variable, value: value.into() })
}

pub(super) fn absolute<'a>(
    origin: &str,
    key: &'static str,
    paths: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<(), ConfigError> {
    match paths.into_iter().find(|path| !path.is_absolute()) {
        Some(path) => Err(ConfigError::Relative { origin: origin.into(), key, path: path.clone() }),
        None => Ok(()),
    }
}

/// What the kernel shows for owners that a user namespace does not map (proc_sys_kernel(5), overflowuid).
const OVERFLOW_UID: u32 = 65_534;

/// Inside a user namespace without root, as in a container, files of root appear to belong to the overflow uid.
fn root_is_mapped() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().any(|line| line.split_ascii_whitespace().nth(1) == Some("0"))
}

pub(super) fn require_root_owned(path: &Path) -> Result<(), ConfigError> {
    let stat = std::fs::metadata(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
    let owned_by_root = stat.uid() == 0 || (stat.uid() == OVERFLOW_UID && !root_is_mapped());
    if owned_by_root && stat.mode() & 0o022 == 0 { Ok(()) } else { Err(ConfigError::Untrusted { path: path.into() }) }
}
