//! The one directory that holds everything the cluster keeps: roots, base images, running scratch directories, saved
//! logs. What is finished has its final name; what is being built has another, so that nothing half-made is ever used.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::files::{lock, remove};
use crate::machine::scratch;
use crate::progress::say;

/// A cache directory that exists.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// Opens (and makes) the cache: the given directory, else `$CLUSTER_CACHE`, else `.cache/cluster` of this repository.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(directory: Option<&Path>) -> Result<Self> {
        let directory = directory.map_or_else(default_directory, Path::to_path_buf);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make the cache {}", directory.display()))?;
        Ok(Self { directory: directory.canonicalize()? })
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the logs of a cluster are saved.
    #[must_use]
    pub fn logs(&self, name: &str) -> PathBuf {
        self.directory.join("logs").join(name)
    }

    pub(crate) fn subdirectory(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Where the scratch directories of machines lie.
    pub(crate) fn scratch_directories(&self) -> Result<PathBuf> {
        self.subdirectory("run")
    }

    /// Returns the finished entry `NAME-KEY`, building it first if it is not there. `build` is given a path that does not
    /// exist yet; what it makes there gets the final name in one step. Entries of other keys are then obsolete and removed.
    pub(crate) fn entry(&self, name: &str, key: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let entries = self.subdirectory("built")?;
        let finished = entries.join(format!("{name}-{key}"));
        let _lock = lock(&entries.join(format!(".{name}.lock")))?;
        if finished.exists() {
            return Ok(finished);
        }
        let unfinished = entries.join(format!(".{name}-unfinished"));
        remove(&unfinished)?;
        build(&unfinished).inspect_err(|_| drop(remove(&unfinished)))?;
        fs::rename(&unfinished, &finished).with_context(|| format!("cannot rename {}", unfinished.display()))?;
        self.remove_obsolete(&entries, name, &finished)?;
        Ok(finished)
    }

    fn remove_obsolete(&self, entries: &Path, name: &str, current: &Path) -> Result<()> {
        let is_obsolete = |path: &PathBuf| {
            let file_name = path.file_name().unwrap_or_default().to_string_lossy();
            file_name.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')) && path != current
        };
        if scratch::live_count(&self.scratch_directories()?)? > 0 {
            return Ok(());
        }
        fs::read_dir(entries)?.flatten().map(|entry| entry.path()).filter(is_obsolete).try_for_each(|old| remove(&old))
    }
}

/// Removes the whole cache: roots, images, scratch directories of dead clusters and saved logs.
///
/// # Errors
/// When a cluster is still running on it, or something cannot be removed.
pub fn clean(cache: &Cache) -> Result<()> {
    let live = scratch::live_count(&cache.scratch_directories()?)?;
    ensure!(live == 0, "{live} clusters are still running on {}: stop them first", cache.directory.display());
    say(format!("removing {}", cache.directory.display()));
    remove(&cache.directory)
}

/// A short name for the content of a recipe: entries of another recipe are rebuilt.
pub(crate) fn key(recipe: &[&str]) -> String {
    let mut digest = CHECKSUM.digest();
    recipe.iter().for_each(|part| {
        digest.update(part.as_bytes());
        digest.update(&[0]);
    });
    format!("{:016x}", digest.finalize())
}

const CHECKSUM: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_XZ);

fn default_directory() -> PathBuf {
    let in_repository = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/cluster");
    std::env::var_os("CLUSTER_CACHE").map_or_else(in_repository, PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_build_leaves_no_entry_and_a_new_key_replaces_the_old() {
        let directory = std::env::temp_dir().join(format!("cluster-cache-test-{}", std::process::id()));
        let cache = Cache::open(Some(&directory)).unwrap();
        let make = |path: &Path| Ok(fs::create_dir(path)?);
        assert!(cache.entry("root", "1", |path| make(path).and_then(|()| anyhow::bail!("no"))).is_err());
        assert!(
            !cache.directory.join("built/root-1").exists() && !cache.directory.join("built/.root-unfinished").exists()
        );
        let first = cache.entry("root", "1", make).unwrap();
        assert_eq!(cache.entry("root", "1", |_| anyhow::bail!("built twice")).unwrap(), first);
        let second = cache.entry("root", "2", make).unwrap();
        assert!(second.exists() && !first.exists());
        clean(&cache).unwrap();
        assert!(!directory.exists());
    }
}
