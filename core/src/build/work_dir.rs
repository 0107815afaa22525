//! Where the building is done: a directory of our own below the temporary directory, which is gone at the end.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::Origin;
use condatainer_images::temporary::private_dir::{self, PrivateDir};
use condatainer_images::trust::tmpdir;

const PREFIX: &str = ".build.condatainer-";

/// How another directory for the work is named.
pub(super) fn other_tmpdir(origin: Option<&Origin>) -> String {
    const BY_OPTION: &str = "name another directory with --tmpdir";
    origin.map_or_else(|| BY_OPTION.into(), |origin| origin.cure(&format!(", or {BY_OPTION}")))
}

/// See the module.
#[derive(Debug)]
pub(super) struct WorkDir(PrivateDir);

impl WorkDir {
    /// A new one in `tmpdir`; what killed makers of the caller's have left there is taken away.
    pub(super) fn new(tmpdir: &Path) -> io::Result<Self> {
        if let Some(fault) = tmpdir::fault(tmpdir) {
            return Err(io::Error::other(fault.to_string()));
        }
        private_dir::sweep(tmpdir, PREFIX);
        PrivateDir::new(tmpdir, PREFIX).map(Self)
    }

    /// The place of something in it.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let names = || fs::read_dir(dir.path()).unwrap().count();
        let work_dir = WorkDir::new(dir.path()).unwrap();
        fs::create_dir_all(work_dir.join("a/b")).unwrap();
        assert_eq!(names(), 1);
        drop(work_dir);
        assert_eq!(names(), 0);
    }

    /// Whoever may write to the place can give a directory of the caller's such a name.
    #[test]
    fn nobodys_work_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let names = [".build.condatainer-abcdef", ".build.condatainer-abcdef.new.d"];
        names.iter().for_each(|name| fs::create_dir_all(dir.path().join(name).join("thesis")).unwrap());
        drop(WorkDir::new(dir.path()).unwrap());
        assert!(names.iter().all(|name| dir.path().join(name).join("thesis").is_dir()));
    }
}
