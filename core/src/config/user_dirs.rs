//! The user's own directories, as the XDG Base Directory Specification names them.

use std::collections::HashMap;
use std::path::PathBuf;

/// The user's file: `$XDG_CONFIG_HOME/condatainer/config.toml`, else below `~/.config`.
#[must_use]
pub fn user_file(env: &HashMap<String, String>) -> Option<PathBuf> {
    Some(xdg_dir(env, "XDG_CONFIG_HOME", ".config")?.join("condatainer/config.toml"))
}

/// The directory that `variable` names, else `below_home` in the home directory; relative ones count as none.
pub(crate) fn xdg_dir(env: &HashMap<String, String>, variable: &str, below_home: &str) -> Option<PathBuf> {
    let named = |name: &str| env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    named(variable).or_else(|| Some(named("HOME")?.join(below_home)))
}
