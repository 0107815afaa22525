//! The programs under test: named by environment variables, else found where cargo has built them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use cluster::{Cache, Tree, put};

use crate::support::setup::{PLUGIN, PROGRAM};

/// Names a tree with SingularityCE, as its `make install DESTDIR=DIR` (prefix /usr, sysconfdir /etc) leaves it. The archive has no
/// package of it.
pub(crate) const SINGULARITY: &str = "CONDATAINER_SINGULARITY";

/// Names a tree with an Apptainer that has a setuid starter, to be laid over the newest release. Debian's has none.
pub(crate) const SETUID: &str = "CONDATAINER_APPTAINER_SUID";

/// The tree with SingularityCE, if there is one.
pub(crate) fn singularity() -> Option<PathBuf> {
    directory(SINGULARITY)
}

/// The tree with a setuid Apptainer, if there is one.
pub(crate) fn setuid() -> Option<PathBuf> {
    directory(SETUID)
}

fn directory(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// The links that `make install` makes for the FUSE daemons, for Slurm's commands, and a zsh's files.
const LINKS: &str =
    "umask 022; mkdir -p libexec/condatainer && cd libexec/condatainer && program=../../bin/condatainer &&
    $program interposer > interposer && chmod 755 interposer &&
    for daemon in fuse-overlayfs fuse2fs squashfuse squashfuse_ll; do ln -s interposer $daemon; done &&
    $program preload > fuse-overlayfs.so &&
    mkdir stack && mkdir zsh && $program zshenv > zsh/.zshenv &&
    for file in .zprofile .zshrc .zlogin; do ln -s .zshenv zsh/$file; done &&
    mkdir inside slurm && install -m 755 $SIGNPOST inside/condatainer && cp inside/condatainer slurm &&
    $program relay > slurm/.relay && chmod 755 slurm/.relay && cd slurm &&
    for command in srun sbatch scancel squeue scontrol; do ln -s .relay $command; done";

/// What stands in containers for condatainer.
const SIGNPOST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../programs/shells/condatainer");

/// The command line program and the plugin, as `make install` leaves them.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) tree: Arc<Tree>,
}

impl Programs {
    /// `CONDATAINER_BIN` and `CONDATAINER_PLUGIN`, else the newest build in the target directory that this suite lies in. They are laid
    /// out once for all clusters.
    pub(crate) fn find() -> Result<Self> {
        let condatainer = find("CONDATAINER_BIN", "condatainer")?;
        let plugin = find("CONDATAINER_PLUGIN", "libspank_condatainer.so")?;
        let tree = Tree::lay_out(&Cache::open(None)?, "suite-installed", |tree| {
            put(tree, &condatainer, PROGRAM, 0o755)?;
            put(tree, &plugin, PLUGIN, 0o644)?;
            let links = Command::new("/bin/bash")
                .args(["-ec", LINKS])
                .env("SIGNPOST", SIGNPOST)
                .current_dir(tree.join("usr/local"))
                .status()?;
            ensure!(links.success(), "the program cannot be laid out in {}", tree.display());
            Ok(())
        })?;
        Ok(Self { tree: Arc::new(tree) })
    }
}

fn find(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable).map(PathBuf::from) {
        ensure!(path.is_file(), "{variable}={}: no such file", path.display());
        return Ok(path.canonicalize()?);
    }
    let exe = std::env::current_exe()?;
    // TARGET/PROFILE/deps/suite-HASH
    let target = exe.ancestors().nth(3).context("this program lies in no target directory")?;
    let built = ["release", "debug"].map(|profile| target.join(profile).join(name));
    let newest = built.into_iter().filter(|path| path.is_file()).max_by_key(|path| modified(path));
    newest.with_context(|| {
        format!("{name} is not built: run 'cargo build -p condatainer -p spank_condatainer' (make test does), or set {variable}")
    })
}

fn modified(path: &Path) -> SystemTime {
    path.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}
