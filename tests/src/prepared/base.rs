//! The base images that containers run on: the same small Debian with Python as a squashfs file, a SIF and a directory.
//! All three hold `/etc/condatainer-base`, so that tests can tell them from the host.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cache::Cache;
use crate::machine::{Machine, MachineSetup};
use crate::options::{Bind, Proctrack};
use crate::prepared::mmdebstrap::Recipe;
use crate::prepared::roots;
use crate::progress::say;
use crate::release::Release;

/// Where clusters see the images: `base.sqf`, `base.sif` and the directory `base` are below.
pub const INSIDE: &str = "/srv/base";

/// The directory with `base.sqf`, `base.sif` and the directory `base`; built first if it is not cached.
///
/// # Errors
/// When the archive cannot be reached or an image cannot be built.
pub fn prepare(cache: &Cache) -> Result<PathBuf> {
    let recipe = recipe();
    cache.entry("base", &crate::cache::key(&[&recipe.key(), SQUASHFS]), |directory| {
        let start = Instant::now();
        say("building the base images");
        std::fs::create_dir(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        recipe.build(&directory.join("base"))?;
        make_squashfs(directory)?;
        make_sif(cache, directory)?;
        say(format!("built the base images in {} s", start.elapsed().as_secs()));
        Ok(())
    })
}

fn recipe() -> Recipe {
    Recipe {
        variant: "apt",
        suites: vec!["trixie"],
        // python3-venv carries the wheels that make a virtual environment without a network; python3-tabulate is what the demo
        // falls back on where no package index can be reached.
        packages: vec!["python3", "python3-venv", "python3-tabulate"],
        setup: "",
        customize: include_str!("../inside/customize-base.sh"),
    }
}

const SQUASHFS: &str = "-comp zstd -Xcompression-level 3 -no-progress -quiet";

fn make_squashfs(directory: &Path) -> Result<()> {
    let mut command = Command::new("mksquashfs");
    command.args(["base", "base.sqf"]).args(SQUASHFS.split(' ')).current_dir(directory);
    let output = command.output().context("mksquashfs cannot be started")?;
    ensure!(output.status.success(), "mksquashfs failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// The SIF is made by the Apptainer that the tests use, so that it is what users have.
fn make_sif(cache: &Cache, directory: &Path) -> Result<()> {
    let root = roots::prepare(cache, Release::Sid)?;
    let bind = Bind { host: directory.to_path_buf(), inside: "/build".to_owned(), read_only: false };
    let proctrack = Proctrack::LinuxProc;
    let setup =
        MachineSetup { tree: None, name: "base", hostname: "base", binds: &[bind], host_network: false, proctrack };
    let machine = Machine::start(cache, &root, &setup)?;
    let command = machine.command("root").cwd("/build").timeout(Duration::from_secs(600));
    command.run(&["apptainer", "--quiet", "build", "base.sif", "base"])?.success().context("cannot build base.sif")?;
    Ok(())
}
