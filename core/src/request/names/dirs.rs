//! The image directories: where they are, and whose.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, getegid, getgroups};

use crate::config::{Config, Source, xdg_dir};
use condatainer_images::trust::{Owners, name_of};

/// One directory of layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageDir {
    /// Its path.
    pub path: PathBuf,
    /// Who named it; the user's own directory has [`Source::Default`].
    pub source: Source,
    /// For one that is to be the user's own (`{user}`): the owner, if that is somebody else, who has made it before the user did.
    pub stranger: Option<String>,
}

/// The user's own directory, to which `create -n` writes: `$XDG_DATA_HOME/condatainer/images`, else below `~/.local/share`.
#[must_use]
pub fn user_directory(env: &HashMap<String, String>) -> Option<PathBuf> {
    Some(xdg_dir(env, "XDG_DATA_HOME", ".local/share")?.join("condatainer/images"))
}

/// The configured directories in the order in which they are searched, `{user}` and `{group}` filled in.
pub(super) fn configured(config: &Config, env: &HashMap<String, String>) -> Vec<ImageDir> {
    let dirs = config.image_dirs(user_directory(env));
    let asked = |what: &str| dirs.iter().any(|(dir, _)| dir.to_string_lossy().contains(what));
    // Both may ask a directory service, so only where somebody wants to know.
    let user = if asked("{user}") { env.get("USER").cloned().or_else(user_name) } else { None };
    let groups = if asked("{group}") { group_names() } else { Vec::new() };
    let mut all: Vec<ImageDir> = Vec::new();
    for (dir, source) in dirs {
        let is_users = dir.to_string_lossy().contains("{user}");
        for path in expand(&dir, user.as_deref(), &groups) {
            if all.iter().all(|other| other.path != path) {
                let stranger = if is_users { stranger(&path) } else { None };
                all.push(ImageDir { path, source: source.clone(), stranger });
            }
        }
    }
    all
}

fn stranger(path: &Path) -> Option<String> {
    let owner = path.metadata().ok()?.uid();
    (!Owners::root_and_caller().has(owner)).then(|| name_of(owner))
}

/// One directory for each group, none where the user or the groups cannot be told.
fn expand(dir: &Path, user: Option<&str>, groups: &[String]) -> Vec<PathBuf> {
    let Some(text) = dir.to_str() else { return vec![dir.into()] };
    let text = match user {
        Some(user) => text.replace("{user}", user),
        None if text.contains("{user}") => return Vec::new(),
        None => text.into(),
    };
    if text.contains("{group}") {
        groups.iter().map(|group| text.replace("{group}", group).into()).collect()
    } else {
        vec![text.into()]
    }
}

fn user_name() -> Option<String> {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).ok()?.map(|user| user.name)
}

fn group_names() -> Vec<String> {
    let mut ids: Vec<Gid> = vec![getegid()];
    ids.extend(getgroups().unwrap_or_default());
    let mut names: Vec<String> = Vec::new();
    for name in ids.into_iter().filter_map(|id| Group::from_gid(id).ok().flatten()).map(|group| group.name) {
        if !names.contains(&name) && !name.contains('/') {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_filled_in() {
        let groups = ["lab".to_string(), "all".to_string()];
        let expand = |text: &str, user| expand(Path::new(text), user, &groups);
        assert_eq!(expand("/s/{group}/images", None), ["/s/lab/images", "/s/all/images"].map(PathBuf::from));
        assert_eq!(expand("/s/{user}", Some("alice")), [PathBuf::from("/s/alice")]);
        assert!(expand("/s/{user}", None).is_empty());
        assert_eq!(expand("/plain", None), [PathBuf::from("/plain")]);
    }

    /// Where everybody can make directories, somebody may be faster.
    #[test]
    fn a_users_directory_of_somebody_else_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!((stranger(dir.path()), stranger(&dir.path().join("none"))), (None, None));
        if std::os::unix::fs::chown(dir.path(), Some(54_321), None).is_ok() {
            assert_eq!(stranger(dir.path()).as_deref(), Some("uid 54321"));
        }
    }

    #[test]
    fn the_users_directory_follows_xdg() {
        let env = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert_eq!(user_directory(&env(&[("HOME", "/h")])), Some("/h/.local/share/condatainer/images".into()));
        let both = env(&[("HOME", "/h"), ("XDG_DATA_HOME", "/d")]);
        assert_eq!(user_directory(&both), Some("/d/condatainer/images".into()));
        assert_eq!(user_directory(&env(&[("HOME", "")])), None);
    }
}
