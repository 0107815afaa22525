//! What a cluster is to be like.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::prepared::tree::Tree;
use crate::release::Release;

/// A directory or file of the host, seen inside.
#[derive(Clone, Debug)]
pub struct Bind {
    /// Absolute path on the host.
    pub host: PathBuf,
    /// Absolute path inside; made if it is not there. Not below `/run`, `/tmp` or `/dev` if further nodes should see it.
    pub inside: String,
    /// Whether it cannot be written inside.
    pub read_only: bool,
}

/// A file of the host, copied in before the daemons start, owned by root.
#[derive(Clone, Debug)]
pub struct Install {
    /// Path on the host.
    pub host: PathBuf,
    /// Absolute path inside; missing directories are made.
    pub inside: String,
    /// Permission bits, such as `0o755`.
    pub mode: u32,
}

impl Install {
    /// Every file below `directory`, to be copied to the same place below `/`: a tree made by `make install DESTDIR=…`.
    ///
    /// # Errors
    /// When a directory or file of it cannot be read.
    pub fn tree(directory: &Path) -> Result<Vec<Self>> {
        let mut files = Vec::new();
        collect(directory, directory, &mut files)?;
        Ok(files)
    }
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<Install>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let host = entry?.path();
        let meta = fs::symlink_metadata(&host).with_context(|| format!("cannot read {}", host.display()))?;
        if meta.is_dir() {
            collect(root, &host, files)?;
        } else {
            let inside = format!("/{}", host.strip_prefix(root)?.display());
            files.push(Install { host, inside, mode: meta.permissions().mode() & 0o7777 });
        }
    }
    Ok(())
}

/// How Slurm tracks the processes of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proctrack {
    /// By parenthood: works everywhere.
    #[default]
    LinuxProc,
    /// By the cgroup v1 freezer, as sites with Slurm 22.05 have it: one node, and a host kernel with cgroup v1.
    CgroupV1,
}

/// Everything about a cluster that can be chosen. Start from [`Options::new`] and set what differs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Debian release, hence the Slurm version.
    pub release: Release,
    /// How many nodes, named `n1`, `n2`, …; `n1` also runs slurmctld.
    pub nodes: usize,
    /// Lines for slurm.conf; a key that is set here replaces our own line of that key.
    pub extra_slurm_conf: String,
    /// The text of plugstack.conf; without it there is none.
    pub plugstack: Option<String>,
    /// Files and directories of the host to be seen inside.
    pub binds: Vec<Bind>,
    /// A tree that lies over the root, shared with other clusters.
    pub tree: Option<Arc<Tree>>,
    /// Files of the host to be copied in.
    pub install: Vec<Install>,
    /// How steps are tracked.
    pub proctrack: Proctrack,
    /// Share the host's network (one node only): for reaching package indexes. Else there is no way out.
    pub host_network: bool,
    /// Give every user the host's pip configuration: `PIP_*` and proxy variables, pip.conf, certificate files.
    pub pip_config: bool,
    /// The cache directory; see [`crate::cache::Cache::open`] for the default.
    pub cache: Option<PathBuf>,
    /// What scratch and saved logs are named after; the release by default.
    pub name: Option<String>,
}

impl Options {
    /// A single-node cluster of a release, nothing added.
    #[must_use]
    pub fn new(release: Release) -> Self {
        Self {
            release,
            nodes: 1,
            extra_slurm_conf: String::new(),
            plugstack: None,
            binds: Vec::new(),
            tree: None,
            install: Vec::new(),
            proctrack: Proctrack::default(),
            host_network: false,
            pip_config: false,
            cache: None,
            name: None,
        }
    }

    /// The name, with every character that could be trouble in a path replaced.
    pub(crate) fn safe_name(&self) -> String {
        let name = self.name.as_deref().unwrap_or(self.release.name());
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
    }
}
