//! The cached roots: one Debian release each, with Slurm, munge, what Apptainer needs, and the test users. They are only
//! ever the lower layer of an overlay, so a running cluster never changes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::prepared::mmdebstrap::Recipe;
use crate::progress::say;
use crate::release::Release;

const PACKAGES: [&str; 17] = [
    "slurmctld",
    "slurmd",
    "slurm-client",
    "libslurm-dev",
    "munge",
    "fuse2fs",
    "squashfs-tools",
    "squashfuse",
    "fuse-overlayfs",
    "uidmap",
    "fakeroot",
    "e2fsprogs",
    "attr",
    "iproute2",
    "procps",
    "python3-minimal",
    "ncurses-base",
];

/// The finished root of a release, built first if it is not cached.
///
/// # Errors
/// When the archive cannot be reached or the root cannot be built.
pub fn prepare(cache: &Cache, release: Release) -> Result<PathBuf> {
    let recipe = recipe(release);
    cache.entry(release.name(), &recipe.key(), |directory| {
        let start = Instant::now();
        say(format!("building the {release} root"));
        recipe.build(directory)?;
        let slurm = package_version(directory, "slurmd").unwrap_or_default();
        say(format!("built the {release} root with Slurm {slurm} in {} s", start.elapsed().as_secs()));
        Ok(())
    })
}

/// The version of an installed package of a root, read from dpkg's status file.
///
/// # Errors
/// When the root has no dpkg status or the package is not installed.
pub fn package_version(root: &Path, package: &str) -> Result<String> {
    let status = root.join("var/lib/dpkg/status");
    let text = fs::read_to_string(&status).with_context(|| format!("cannot read {}", status.display()))?;
    let heading = format!("Package: {package}");
    let mut stanza = text.lines().skip_while(|line| *line != heading).take_while(|line| !line.is_empty());
    let version = stanza.find_map(|line| line.strip_prefix("Version: "));
    version.map(str::to_owned).with_context(|| format!("{package} is not installed in {}", root.display()))
}

/// What is built in a cache: one line each, a path and the versions in it.
///
/// # Errors
/// When the cache cannot be read.
pub fn list(cache: &Cache) -> Result<String> {
    let directory = cache.subdirectory("built")?;
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| !path.file_name().unwrap_or_default().to_string_lossy().starts_with('.'));
    paths.sort();
    Ok(paths.iter().map(|path| format!("{}{}\n", path.display(), versions(path))).collect())
}

fn versions(root: &Path) -> String {
    let version = |package: &&str| package_version(root, package).ok().map(|version| format!(" {package} {version}"));
    ["slurmd", "apptainer", "e2fsprogs"].iter().filter_map(version).collect()
}

fn recipe(release: Release) -> Recipe {
    let mut packages = PACKAGES.to_vec();
    let mut suites = vec![release.name()];
    let mut setup = "";
    if release.has_apptainer() {
        packages.push("apptainer");
    }
    if release == Release::Trixie {
        suites.push("sid");
        setup = include_str!("../inside/apptainer-from-sid.sh");
    }
    Recipe { variant: "minbase", suites, packages, setup, customize: include_str!("../inside/customize-root.sh") }
}
