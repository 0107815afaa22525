//! Whether the site's policy lets an image be used: asked of the opened file, whatever name led to it.

use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use crate::config::Config;
use condatainer_images::image::Opened;
use condatainer_images::trust::name_of;

/// What an image is to be in a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Base,
    Layer,
}

/// Why the site does not let it be used, in words.
pub(super) fn forbids(config: &Config, role: Role, opened: &Opened) -> Option<String> {
    let policy = &config.policy;
    let path = &opened.image.path;
    if policy.is_empty() || (role == Role::Layer && policy.is_everybodys(path)) {
        return None;
    }
    let allowed = match role {
        Role::Base => policy.bases.as_ref().filter(|_| !config.is_sites_base(path)),
        Role::Layer => policy.layers.as_ref(),
    };
    let place = place(opened);
    let why = allowed
        .and_then(|allowed| outside(role, allowed, place.as_deref()))
        .or_else(|| strangers(config, opened.image.uid, place.as_deref()?))?;
    let file = config.site_file().map_or_else(String::new, |file| format!(" in {}", file.display()));
    let really =
        place.filter(|place| place != path).map_or_else(String::new, |at| format!(" (it is {})", at.display()));
    Some(format!(
        "{}{really}: {why}: [policy]{file} says so, and only your administrator can change it",
        path.display()
    ))
}

/// Where the opened file lies, as the kernel tells it: links, `..` and names in `/proc` are gone. A path of another mount namespace is no
/// place here, nor is one at which something else lies by now.
fn place(opened: &Opened) -> Option<PathBuf> {
    let place = std::fs::read_link(format!("/proc/self/fd/{}", opened.file.as_raw_fd())).ok()?;
    let there = std::fs::symlink_metadata(&place).ok()?;
    ((there.dev(), there.ino()) == (opened.image.dev, opened.image.ino)).then_some(place)
}

fn outside(role: Role, allowed: &[PathBuf], place: Option<&Path>) -> Option<String> {
    if place.is_some_and(|place| allowed.iter().any(|allowed| place.starts_with(real(allowed)))) {
        return None;
    }
    let list = allowed.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    Some(match (role, list.as_str()) {
        (Role::Base, "") => "this site lets no base be named".into(),
        (Role::Base, _) => format!("this site's bases are {list}"),
        (Role::Layer, "") => "this site takes no layers of users".into(),
        (Role::Layer, _) => format!("this site takes layers from {list} only"),
    })
}

/// The innermost directory with a rule decides.
fn strangers(config: &Config, owner: u32, place: &Path) -> Option<String> {
    let rules = config.policy.owners.iter().filter(|(directory, _)| place.starts_with(real(directory)));
    let (directory, owners) = rules.max_by_key(|(directory, _)| directory.components().count())?;
    if owners.iter().filter_map(|name| uid(name)).any(|uid| uid == owner) {
        return None;
    }
    let names = owners.join(", ");
    Some(format!("belongs to {}, and {} has those of {names} only", name_of(owner), directory.display()))
}

/// A directory may be reached over a link of the site's.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.into())
}

/// The number of a user.
pub(crate) fn uid(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| User::from_name(name).ok().flatten().map(|user| Uid::as_raw(user.uid)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use condatainer_images::image;

    /// The site's file, and what a name says of the policy.
    struct Site {
        dir: tempfile::TempDir,
    }

    impl Site {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in ["shared/own", "home"] {
                std::fs::create_dir_all(dir.path().join(name)).unwrap();
            }
            for name in ["shared/a", "shared/own/b", "home/mine"] {
                std::fs::create_dir(dir.path().join(name)).unwrap();
            }
            Self { dir }
        }

        fn at(&self, name: &str) -> PathBuf {
            self.dir.path().canonicalize().unwrap().join(name)
        }

        fn said(&self, policy: &str, role: Role, path: &Path) -> Option<String> {
            let text = policy.replace("DIR", self.at("").to_str().unwrap().trim_end_matches('/'));
            let config = Config::of_text(Path::new("/etc/condatainer/config.toml"), &text).unwrap();
            forbids(&config, role, &image::open(path).unwrap())
        }
    }

    #[test]
    fn whatever_name_leads_to_it() {
        let site = Site::new();
        let policy = "[policy]\nbases = [\"DIR/shared\"]\nlayers = [\"DIR/shared\"]\n";
        let link = site.at("shared/link");
        std::os::unix::fs::symlink(site.at("home/mine"), &link).unwrap();
        let opened = std::fs::File::open(site.at("home/mine")).unwrap();
        for role in [Role::Base, Role::Layer] {
            assert_eq!(site.said(policy, role, &site.at("shared/a")), None);
            assert_eq!(site.said(policy, role, &site.at("shared/own/b")), None);
            for way in [
                site.at("home/mine"),
                link.clone(),
                site.at("shared/../home/mine"),
                format!("/proc/self/fd/{}", opened.as_raw_fd()).into(),
                PathBuf::from("/proc/self/root").join(site.at("home/mine").strip_prefix("/").unwrap()),
            ] {
                assert!(site.said(policy, role, &way).is_some(), "{}", way.display());
            }
        }
        let said = site.said(policy, Role::Layer, &link).unwrap();
        let (really, shared) = (site.at("home/mine"), site.at("shared"));
        let words = format!(
            "{} (it is {}): this site takes layers from {} only: [policy] in /etc/condatainer/config.toml says so",
            link.display(),
            really.display(),
            shared.display()
        );
        assert!(said.starts_with(&words), "{said}");
    }

    #[test]
    fn a_site_may_name_its_directories_by_links_and_its_base_anywhere() {
        let site = Site::new();
        std::os::unix::fs::symlink(site.at("shared"), site.at("alias")).unwrap();
        assert_eq!(site.said("[policy]\nlayers = [\"DIR/alias\"]\n", Role::Layer, &site.at("shared/a")), None);
        let policy = "base = \"DIR/home/mine\"\n[policy]\nbases = []\nalways = [\"DIR/home/mine\"]\nlayers = []\n";
        assert_eq!(site.said(policy, Role::Base, &site.at("home/mine")), None);
        assert_eq!(site.said(policy, Role::Layer, &site.at("home/mine")), None);
        assert!(site.said(policy, Role::Base, &site.at("shared/a")).unwrap().contains("lets no base be named"));
        assert!(site.said(policy, Role::Layer, &site.at("shared/a")).unwrap().contains("takes no layers of users"));
        assert_eq!(site.said("", Role::Layer, &site.at("shared/a")), None);
    }

    #[test]
    fn owners_of_a_shared_directory() {
        let site = Site::new();
        let me = nix::unistd::geteuid().as_raw();
        let mine =
            format!("[policy.owners]\n\"DIR/shared\" = [\"4711\"]\n\"DIR/shared/own\" = [\"nobody\", \"{me}\"]\n");
        assert_eq!(site.said(&mine, Role::Layer, &site.at("shared/own/b")), None);
        assert_eq!(site.said(&mine, Role::Layer, &site.at("home/mine")), None);
        let said = site.said(&mine, Role::Layer, &site.at("shared/a")).unwrap();
        assert!(said.contains(" has those of 4711 only"), "{said}");
        assert_eq!((uid("root"), uid("7"), uid("nobody-of-this-name")), (Some(0), Some(7), None));
    }

    /// Another mount namespace's path leads elsewhere here.
    #[test]
    fn a_place_that_is_not_ours_is_none() {
        let site = Site::new();
        let opened = image::open(&site.at("home/mine")).unwrap();
        assert_eq!(place(&opened), Some(site.at("home/mine")));
        std::fs::rename(site.at("home/mine"), site.at("home/gone")).unwrap();
        assert_eq!(place(&opened), Some(site.at("home/gone")));
        std::fs::remove_dir(site.at("home/gone")).unwrap();
        assert_eq!(place(&opened), None);
        assert!(outside(Role::Base, &[site.at("home")], None).is_some());
    }
}
