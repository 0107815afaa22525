//! Layers of software to be found by their names: stand-ins for the modules of a site, made of Debian's packages on the same base that
//! containers run on.
//!
//! `r4.4.3.sqf` holds the R that this Debian has, whatever its version is, `trixie--build-essential.sqf` a C compiler and make, and
//! `openmpi.sqf` OpenMPI and what compiles programs for it. `shells.sqf` is for tests of shells, and by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::cache::{Cache, key};
use crate::files::remove;
use crate::prepared::base;
use crate::progress::say;

/// The layers, each with the packages that it is made of.
const LAYERS: [(&str, &[&str]); 3] = [
    ("r4.4.3.sqf", &["r-base-core"]),
    ("trixie--build-essential.sqf", &["gcc", "libc6-dev", "make"]),
    ("openmpi.sqf", &["openmpi-bin", "libopenmpi-dev", "gcc", "libc6-dev"]),
];

/// Where clusters that are given the modules see them.
pub const INSIDE: &str = "/srv/modules";

const SHELLS: [(&str, &[&str]); 1] = [("shells.sqf", &["zsh", "tcsh", "fish", "ksh93u+m"])];

/// Where clusters that are given the shells see their layer.
pub const SHELLS_INSIDE: &str = "/srv/shells";

const BUILD: &str = include_str!("../inside/build-layer.sh");

/// The directory with the modules; built first if it is not cached.
///
/// # Errors
/// When the archive cannot be reached or a layer cannot be built.
pub fn prepare(cache: &Cache) -> Result<PathBuf> {
    layers(cache, "modules", &LAYERS)
}

/// The directory with `shells.sqf`; built first if it is not cached.
///
/// # Errors
/// When the archive cannot be reached or the layer cannot be built.
pub fn shells(cache: &Cache) -> Result<PathBuf> {
    layers(cache, "shells", &SHELLS)
}

fn layers(cache: &Cache, entry: &str, layers: &[(&str, &[&str])]) -> Result<PathBuf> {
    let base = base::prepare(cache)?;
    // A layer changes files of the base that it was built on.
    let base_key = base.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut recipe = vec![base_key.as_str(), BUILD];
    recipe.extend(layers.iter().flat_map(|(name, packages)| [*name].into_iter().chain(packages.iter().copied())));
    cache.entry(entry, &key(&recipe), |directory| {
        let start = Instant::now();
        say(format!("building the {entry}"));
        fs::create_dir(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        for (name, packages) in layers {
            let scratch = directory.join("scratch");
            build(&base.join("base"), &scratch, &directory.join(name), packages)
                .with_context(|| format!("cannot build {name}"))?;
            remove(&scratch)?;
        }
        say(format!("built the {entry} in {} s", start.elapsed().as_secs()));
        Ok(())
    })
}

fn build(base: &Path, scratch: &Path, output: &Path, packages: &[&str]) -> Result<()> {
    // In a pid namespace that dies with us; its mounts end with it.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]);
    command.args(["sh", "-c", BUILD, "build-layer"]).args([base, scratch, output]).args(packages);
    let output = command.output().context("unshare cannot be started")?;
    let text = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&text));
    Ok(())
}
