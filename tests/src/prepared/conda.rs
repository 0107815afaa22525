//! A tool that makes conda environments, for tests: the real one that a variable names, else rattler, another implementation of
//! conda that can be had as a Python package, behind a front with micromamba's command line.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cache::Cache;
use crate::machine::{Machine, MachineSetup};
use crate::options::{Bind, Proctrack};
use crate::prepared::{base, pip, roots};
use crate::progress::say;
use crate::release::Release;

/// Names the real one: a micromamba, or `PREFIX/bin/mamba`, `PREFIX/bin/conda` of an installation.
pub const VARIABLE: &str = "CONDATAINER_TEST_CONDA";
/// Where clusters see the one with the front.
const INSIDE: &str = "/srv/conda";
const IMAGE: &str = "/srv/base/base.sqf";
const PATIENCE: Duration = Duration::from_secs(300);
const FRONT: &str = include_str!("../inside/micromamba.py");
const PACKAGE: &str = "py-rattler>=0.28,<0.29";
const CHANNEL: &str = include_str!("../inside/channel.py");
/// Where clusters that are given the channel see it.
pub const CHANNEL_INSIDE: &str = "/srv/channel";

/// The tool, as a cluster sees it.
#[derive(Clone, Debug)]
pub struct CondaTool {
    /// The program.
    pub program: String,
    /// What has to be seen of the host.
    pub bind: Bind,
}

/// The tool that the tests use; the one with the front is made first if it is not cached.
///
/// # Errors
/// The variable names no program, or the Python package cannot be had.
pub fn prepare(cache: &Cache) -> Result<CondaTool> {
    match std::env::var_os(VARIABLE).map(PathBuf::from) {
        Some(program) => real(&program),
        None => Ok(CondaTool {
            program: format!("{INSIDE}/bin/micromamba"),
            bind: Bind { host: front(cache)?, inside: INSIDE.into(), read_only: true },
        }),
    }
}

/// Whether [`VARIABLE`] names one.
#[must_use]
pub fn is_real() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// The directory with a channel of a few packages; made first if it is not cached, since compressing the largest takes long.
///
/// # Errors
/// When the base image's Python cannot be run or fails.
pub fn channel(cache: &Cache) -> Result<PathBuf> {
    cache.entry("channel", &crate::cache::key(&[CHANNEL]), |directory| {
        std::fs::create_dir(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let machine = builder(cache, directory, false)?;
        machine.write_file("alice", "/tmp/channel.py", CHANNEL.as_bytes(), 0o644)?;
        let make = ["apptainer", "-q", "exec", "--bind", "/build", IMAGE, "python3", "/tmp/channel.py", "/build"];
        machine.command("alice").timeout(PATIENCE).run(&make)?.success().context("the channel cannot be made")?;
        machine.command("root").run(&["chown", "-R", "root:root", "/build"])?.success().map(drop)
    })
}

fn real(program: &Path) -> Result<CondaTool> {
    let program = program.canonicalize().with_context(|| format!("{VARIABLE}={}", program.display()))?;
    ensure!(program.is_file(), "{VARIABLE}={}: no program", program.display());
    let prefix = program.parent().and_then(Path::parent).filter(|prefix| prefix.join("conda-meta").is_dir());
    let host = prefix.unwrap_or(&program).to_path_buf();
    let inside = host.display().to_string();
    Ok(CondaTool { program: program.display().to_string(), bind: Bind { host, inside, read_only: true } })
}

fn front(cache: &Cache) -> Result<PathBuf> {
    cache.entry("conda", &crate::cache::key(&[FRONT, PACKAGE]), |directory| {
        let start = Instant::now();
        say("fetching rattler for the tests of conda environments");
        std::fs::create_dir(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        fetch(cache, directory)?;
        say(format!("fetched rattler in {} s", start.elapsed().as_secs()));
        Ok(())
    })
}

/// A machine with the base image, in which alice fills this directory as `/build`.
fn builder(cache: &Cache, directory: &Path, host_network: bool) -> Result<Machine> {
    let root = roots::prepare(cache, Release::Sid)?;
    let binds = [
        Bind { host: base::prepare(cache)?, inside: base::INSIDE.into(), read_only: true },
        Bind { host: directory.to_path_buf(), inside: "/build".into(), read_only: false },
    ];
    let proctrack = Proctrack::LinuxProc;
    let setup = MachineSetup { tree: None, name: "conda", hostname: "conda", binds: &binds, host_network, proctrack };
    let machine = Machine::start(cache, &root, &setup)?;
    machine.command("root").run(&["chown", "alice", "/build"])?.success()?;
    Ok(machine)
}

/// The Python of the base image fetches it, since that one will run it.
fn fetch(cache: &Cache, directory: &Path) -> Result<()> {
    let mut machine = builder(cache, directory, true)?;
    for file in ["/etc/hosts", "/etc/resolv.conf"] {
        machine.copy_in(Path::new(file), "root", file, 0o644)?;
    }
    pip::bring_in(&mut machine)?;
    let text = format!(
        "set -e; mkdir -p /build/bin /build/conda-meta; touch /build/conda-meta/history
        python3 -m venv $HOME/venv
        $HOME/venv/bin/pip install -q --only-binary :all: --no-deps --target /build/lib '{PACKAGE}'"
    );
    let inside = ["apptainer", "-q", "exec", "--bind", "/build", IMAGE, "sh", "-c", &text];
    let output = machine.command("alice").timeout(PATIENCE).run(&inside)?;
    output.success().context("rattler cannot be fetched")?;
    machine.write_file("alice", "/build/bin/micromamba", FRONT.as_bytes(), 0o755)?;
    machine.command("root").run(&["chown", "-R", "root:root", "/build"])?.success().map(drop)
}
