//! How condatainer is installed into a cluster: as `make install` does it, with the parts that a test wants different.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cluster::conda::{self, CondaTool};
use cluster::{Bind, Cache, Cluster, Install, Options, Proctrack, Release, modules};

use crate::support::{Programs, SINGULARITY, setuid, singularity};

/// Where the program is installed.
pub(crate) const PROGRAM: &str = "/usr/local/bin/condatainer";
/// Where the plugin is installed.
pub(crate) const PLUGIN: &str = "/usr/local/lib/slurm/spank_condatainer.so";
/// The site's configuration.
pub(crate) const CONFIG: &str = "/etc/condatainer/config.toml";
/// The stand-in for Apptainer on releases that have none; see the file.
const FAKE_APPTAINER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/support/fake-apptainer.sh");
const SITE_CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/support/config.toml");
/// The same, where the engine mounts the layers.
const ENGINE_CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/support/config-engine.toml");
/// A `/tmp` and a `/dev/shm` for each job.
const PRIVATE_TMP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/slurm/job_container.conf");

/// It takes no zstd, and `/etc/condatainer` names a base of that kind. The session directory is empty, and trees have files only.
const ONLY_SINGULARITY: &str = "rm /usr/bin/apptainer && mkdir -p /var/singularity/mnt/session &&
    sed -i 's/base.sqf/base.sif/' /etc/condatainer/config.toml";

/// Apptainer calls itself setuid by this file alone, and does not become it where it is told to make a user namespace.
const NAMED_SETUID: &str = "cd /usr/lib/*/apptainer/bin && cp starter starter-suid && chmod 4755 starter-suid";

/// What a cluster is to have.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) nodes: usize,
    /// `required`, `optional`, or nothing for a cluster without the plugin.
    pub(crate) plugin: Option<&'static str>,
    /// More words for plugstack.conf.
    pub(crate) plugin_arguments: &'static str,
    /// Another file in the plugin's place.
    pub(crate) plugin_file: Option<PathBuf>,
    /// Whether a stand-in is installed where there is no Apptainer.
    pub(crate) stand_in: bool,
    /// Whether SingularityCE takes Apptainer's place.
    pub(crate) singularity: bool,
    /// Whether Apptainer has its setuid starter.
    pub(crate) setuid: bool,
    /// How steps are tracked.
    pub(crate) proctrack: Proctrack,
    /// Lines for slurm.conf.
    pub(crate) slurm_conf: &'static str,
    /// Whether Slurm finds what it needs for `JobContainerType`.
    pub(crate) private_tmp: bool,
    /// Whether it has the modules in `/srv/modules`.
    pub(crate) modules: bool,
    /// Whether it has `/srv/shells/shells.sqf`.
    pub(crate) shells: bool,
    /// Whether it has the host's network.
    pub(crate) online: bool,
    /// Whether users have the host's configuration of pip.
    pub(crate) pip: bool,
    /// A tool for conda environments, found in PATH, and a channel in `/srv/channel`.
    pub(crate) conda: Option<CondaTool>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            nodes: 1,
            plugin: Some("required"),
            plugin_arguments: "",
            plugin_file: None,
            stand_in: true,
            singularity: false,
            setuid: false,
            proctrack: Proctrack::LinuxProc,
            slurm_conf: "",
            private_tmp: false,
            modules: false,
            shells: false,
            online: false,
            pip: false,
            conda: None,
        }
    }
}

impl Setup {
    /// SingularityCE, and no Apptainer.
    pub(crate) fn singularity() -> Self {
        Self { singularity: true, ..Self::default() }
    }

    /// An Apptainer with its setuid starter.
    pub(crate) fn setuid_apptainer() -> Self {
        Self { setuid: true, ..Self::default() }
    }

    /// Starts a cluster like this.
    pub(crate) fn start(&self, release: Release, programs: &Programs) -> Result<Cluster> {
        let mut options = self.options(release, programs)?;
        if self.modules {
            let modules = modules::prepare(&Cache::open(None)?)?;
            options.binds.push(Bind { host: modules, inside: modules::INSIDE.into(), read_only: true });
        }
        if self.shells {
            let shells = modules::shells(&Cache::open(None)?)?;
            options.binds.push(Bind { host: shells, inside: modules::SHELLS_INSIDE.into(), read_only: true });
        }
        if self.conda.is_some() {
            let channel = conda::channel(&Cache::open(None)?)?;
            options.binds.push(Bind { host: channel, inside: conda::CHANNEL_INSIDE.into(), read_only: true });
        }
        let cluster = Cluster::start(&options)?;
        if self.singularity {
            cluster.command("root").script(ONLY_SINGULARITY)?.success()?;
        }
        if self.setuid && setuid().is_none() {
            cluster.command("root").script(NAMED_SETUID)?.success()?;
        }
        if let Some(tool) = &self.conda {
            cluster.command("root").run(&["ln", "-s", &tool.program, "/usr/local/bin/"])?.success()?;
        }
        Ok(cluster)
    }

    fn options(&self, release: Release, programs: &Programs) -> Result<Options> {
        let mut options = Options::new(release);
        options.nodes = self.nodes;
        options.proctrack = self.proctrack;
        options.extra_slurm_conf = self.slurm_conf.into();
        options.host_network = self.online;
        options.pip_config = self.pip;
        options.name = Some(format!("suite-{release}"));
        options.binds.extend(self.conda.iter().map(|conda| conda.bind.clone()));
        options.tree = Some(programs.tree.clone());
        options.install = vec![install(Path::new(self.config(release)), CONFIG, 0o644)];
        options.install.extend(self.plugin_file.iter().map(|plugin| install(plugin, PLUGIN, 0o644)));
        if self.stand_in && !release.has_apptainer() {
            options.install.push(install(Path::new(FAKE_APPTAINER), "/usr/bin/apptainer", 0o755));
            options.install.push(install(Path::new("/dev/null"), "/etc/apptainer/apptainer.conf", 0o644));
        }
        if self.private_tmp {
            options.install.push(install(Path::new(PRIVATE_TMP), "/etc/slurm/job_container.conf", 0o644));
        }
        if self.singularity {
            let tree = singularity().with_context(|| format!("{SINGULARITY} is not set"))?;
            options.install.extend(Install::tree(&tree)?);
        }
        if let Some(tree) = setuid().filter(|_| self.setuid) {
            options.install.extend(Install::tree(&tree)?);
        }
        let arguments = self.plugin_arguments;
        let line = |word| format!("{word} {PLUGIN} condatainer={PROGRAM} config={CONFIG} {arguments}\n");
        options.plugstack = self.plugin.map(line);
        Ok(options)
    }

    /// Every theme is run both ways: on the newest release we mount, on the others the engine does. What only one of them does, a test asks
    /// for. Another engine than Debian's is there for the sake of its own mounts.
    fn config(&self, release: Release) -> &'static str {
        let is_debians = !self.singularity && !self.setuid;
        if release == Release::Sid && is_debians { SITE_CONFIG } else { ENGINE_CONFIG }
    }
}

fn install(host: &Path, inside: &str, mode: u32) -> Install {
    Install { host: host.into(), inside: inside.into(), mode }
}
