//! The scratch directory of one running machine. A lock tells live from dead: it is held by the tool and, through
//! inherited standard error, by every process of the machine, so a directory is dead only when all of them are gone.
//! Dead ones (their tool was killed) are swept when the next machine starts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::files::lock;
use crate::machine::cgroup;

/// A machine's scratch directory; removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    console: Flock<File>,
}

impl Scratch {
    /// Sweeps what dead machines left and makes a new directory.
    pub(crate) fn create(parent: &Path, name: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let _creating = lock(&parent.join(".lock"))?;
        sweep(parent)?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{name}-{}-{count}", std::process::id()));
        for directory in ["upper", "work", "root", "home", "log/slurm", "log/munge"] {
            fs::create_dir_all(path.join(directory)).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let console = lock(&path.join("log/console"))?;
        Ok(Self { path, console })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A handle for a machine's output that holds the lock with us.
    pub(crate) fn console(&self) -> Result<File> {
        Ok(self.console.try_clone()?)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = cgroup::remove_with(&self.path) {
            crate::progress::say(format!("{error:#}; the next start tries again"));
        }
    }
}

/// How many machines have their scratch directories in this one.
pub(crate) fn live_count(parent: &Path) -> Result<usize> {
    Ok(directories(parent)?.iter().filter(|path| is_live(path)).count())
}

fn sweep(parent: &Path) -> Result<()> {
    directories(parent)?.iter().filter(|path| !is_live(path)).try_for_each(|path| cgroup::remove_with(path))
}

fn directories(parent: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(parent).with_context(|| format!("cannot read {}", parent.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
}

fn is_live(path: &Path) -> bool {
    let Ok(file) = File::open(path.join("log/console")) else { return false };
    Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err()
}
