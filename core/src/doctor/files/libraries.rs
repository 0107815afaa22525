//! The image directories: whether somebody could decide what others find there by a name.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::config::Source;
use crate::doctor::check::Check;
use crate::doctor::request::Asker;
use crate::request::names::Library;
use condatainer_images::trust::mode::{STICKY, WRITABLE_BY_ALL, WRITABLE_BY_GROUP};

/// An image directory that exists.
#[derive(Clone, Debug)]
pub(crate) struct ImageDirectory {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    /// Whether it is the user's own, of which nobody has said that others share it.
    pub(super) is_own: bool,
    /// Whether the group that can write there may have others in it.
    pub(super) is_shared: bool,
}

pub(super) fn read(library: &Library) -> Vec<ImageDirectory> {
    let look = |dir: &crate::request::names::ImageDir| {
        let meta = fs::metadata(&dir.path).ok().filter(fs::Metadata::is_dir)?;
        Some(ImageDirectory {
            path: dir.path.clone(),
            mode: meta.mode(),
            is_own: dir.source == Source::Default,
            is_shared: !condatainer_images::trust::is_private(meta.gid(), meta.uid()),
        })
    };
    library.dirs().iter().filter_map(look).collect()
}

pub(super) fn judge(dirs: &[ImageDirectory], asker: &Asker) -> Check {
    const ID: &str = "image-dirs";
    let found: Vec<String> = dirs.iter().filter_map(trouble).collect();
    if found.is_empty() {
        let all: Vec<String> = dirs.iter().map(|dir| dir.path.display().to_string()).collect();
        return Check::ok(ID, if all.is_empty() { "none is there".into() } else { all.join(", ") });
    }
    let bits = |dir: &ImageDirectory| if dir.mode & WRITABLE_BY_ALL != 0 { "o-w" } else { "g-w" };
    let cures = dirs.iter().filter(|dir| trouble(dir).is_some());
    let cures: Vec<String> = cures.map(|dir| format!("chmod {} {}", bits(dir), dir.path.display())).collect();
    let who = if asker.is_root() { "" } else { "its owner: " };
    Check::warning(ID, found.join("; "), format!("{who}{}", cures.join(" && ")))
}

fn trouble(dir: &ImageDirectory) -> Option<String> {
    let path = dir.path.display();
    match () {
        () if dir.mode & WRITABLE_BY_ALL != 0 && dir.mode & STICKY == 0 => {
            Some(format!("{path}: everybody can put layers there, and take others' away"))
        }
        () if dir.mode & WRITABLE_BY_ALL != 0 => Some(format!("{path}: everybody can put layers there")),
        () if dir.mode & WRITABLE_BY_GROUP != 0 && dir.is_own && dir.is_shared => {
            Some(format!("{path}: your group can put layers there, and exchange yours"))
        }
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::asker;
    use super::*;
    use crate::doctor::check::Status;

    #[test]
    fn directories_that_others_can_write_to() {
        let of = |mode, is_own, is_shared| {
            judge(&[ImageDirectory { path: "/d".into(), mode, is_own, is_shared }], &asker(1001))
        };
        assert_eq!(of(0o755, false, true), Check::ok("image-dirs", "/d"));
        let sticky = of(0o1777, false, true);
        assert_eq!((sticky.status, sticky.found.as_str()), (Status::Warning, "/d: everybody can put layers there"));
        assert_eq!(sticky.cure.as_deref(), Some("its owner: chmod o-w /d"));
        assert!(of(0o777, true, false).found.ends_with(", and take others' away"));
        assert_eq!(of(0o2775, false, true).status, Status::Ok, "a group's directory, which somebody has named");
        assert_eq!(of(0o775, true, false).status, Status::Ok, "a group of one's own");
        let own = of(0o775, true, true);
        assert_eq!((own.status, own.cure.as_deref()), (Status::Warning, Some("its owner: chmod g-w /d")));
        assert_eq!(judge(&[], &asker(0)).status, Status::Ok);
    }
}
