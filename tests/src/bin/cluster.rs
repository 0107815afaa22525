//! `cluster`: prepares, runs and cleans up the throw-away cluster from the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use cluster::{Bind, Cache, Cluster, Install, Options, Release, modules, say};

/// A throw-away Slurm cluster in namespaces of its own, for tests and demonstrations. Needs root.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where roots, images, scratch directories and logs are kept; `.cache/cluster` of the repository by default
    #[arg(long, global = true, value_name = "DIR", env = "CLUSTER_CACHE")]
    cache: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the root of a release (of all, if none is named) and the base images
    Prepare {
        #[arg(long, value_enum)]
        release: Vec<Release>,
    },
    /// Run a bash script of the host as a user on a fresh cluster; its exit code is ours
    Run {
        #[command(flatten)]
        setup: Setup,
        /// The script, then its arguments
        #[arg(required = true, trailing_var_arg = true, value_name = "SCRIPT")]
        script: Vec<String>,
    },
    /// Open an interactive shell on a fresh cluster, which is gone when the shell ends
    Shell {
        #[command(flatten)]
        setup: Setup,
    },
    /// List the roots and base images that are built, with the versions in them
    Roots,
    /// Remove the whole cache
    Clean,
}

#[derive(Args)]
struct Setup {
    #[arg(long, value_enum, default_value = "sid")]
    release: Release,
    #[arg(long, default_value_t = 1)]
    nodes: usize,
    /// Who runs the script or shell
    #[arg(long, default_value = "alice")]
    user: String,
    /// A file of the host to copy in, with its mode (755 by default)
    #[arg(long, value_name = "HOST:INSIDE[:MODE]", value_parser = parse_install)]
    install: Vec<Install>,
    /// A directory of the host whose files are copied to the same places below /, as `make install DESTDIR=DIR` makes it
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// A file or directory of the host to see inside
    #[arg(long, value_name = "HOST:INSIDE[:ro]", value_parser = parse_bind)]
    bind: Vec<Bind>,
    /// The file to use as plugstack.conf
    #[arg(long, value_name = "FILE")]
    plugstack: Option<PathBuf>,
    /// A file with lines for slurm.conf
    #[arg(long, value_name = "FILE")]
    slurm_conf: Option<PathBuf>,
    /// What scratch and saved logs are named after; the release by default
    #[arg(long)]
    name: Option<String>,
    /// Show the layers of software in /srv/modules
    #[arg(long)]
    modules: bool,
    /// Share the host's network, so that package indexes can be reached
    #[arg(long)]
    host_network: bool,
    /// Bring the host's pip configuration in
    #[arg(long)]
    pip: bool,
    /// Save the logs in the cache when the cluster ends
    #[arg(long)]
    keep_logs: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            say(format!("{error:#}"));
            ExitCode::from(125)
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let cache = arguments.cache;
    match arguments.verb {
        Verb::Prepare { release } => {
            let releases = if release.is_empty() { Release::ALL.to_vec() } else { release };
            cluster::prepare(&Cache::open(cache.as_deref())?, &releases)?;
        }
        Verb::Run { setup, script } => return run_script(&setup, cache, &script),
        Verb::Shell { setup } => return shell(&setup, cache),
        Verb::Roots => print!("{}", cluster::roots::list(&Cache::open(cache.as_deref())?)?),
        Verb::Clean => cluster::clean(&Cache::open(cache.as_deref())?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn run_script(setup: &Setup, cache: Option<PathBuf>, script: &[String]) -> Result<ExitCode> {
    let (file, arguments) = script.split_first().context("no script is named")?;
    let cluster = setup.start(cache)?;
    let inside = "/run/cluster/script";
    cluster.copy_in(file.as_ref(), "root", inside, 0o755)?;
    let argv: Vec<&str> = ["bash", inside].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    finish(cluster.command(&setup.user).stream(&argv)?)
}

fn shell(setup: &Setup, cache: Option<PathBuf>) -> Result<ExitCode> {
    let cluster = setup.start(cache)?;
    let terminal = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
    let prompt = r"\u@\h:\w\$ ";
    let command = cluster.command(&setup.user).terminal().env("TERM", &terminal).env("PS1", prompt);
    finish(command.stream(&["bash", "-i"])?)
}

/// The exit code of what ran, or of the signal that ended it and the cluster.
fn finish(code: i32) -> Result<ExitCode> {
    let code = cluster::signal_received().map_or(code, |signal| 128 + signal);
    Ok(ExitCode::from(u8::try_from(code)?))
}

impl Setup {
    fn start(&self, cache: Option<PathBuf>) -> Result<Cluster> {
        cluster::stop_on_signals()?;
        let read =
            |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let mut install = self.tree.as_deref().map(Install::tree).transpose()?.unwrap_or_default();
        install.extend(self.install.iter().cloned());
        let mut binds = self.bind.clone();
        if self.modules {
            let host = modules::prepare(&Cache::open(cache.as_deref())?)?;
            binds.push(Bind { host, inside: modules::INSIDE.into(), read_only: true });
        }
        let cluster = Cluster::start(&Options {
            nodes: self.nodes,
            install,
            binds,
            plugstack: self.plugstack.as_ref().map(read).transpose()?,
            extra_slurm_conf: self.slurm_conf.as_ref().map(read).transpose()?.unwrap_or_default(),
            host_network: self.host_network,
            pip_config: self.pip,
            cache,
            name: self.name.clone(),
            ..Options::new(self.release)
        })?;
        if self.keep_logs {
            cluster.keep_logs();
        }
        Ok(cluster)
    }
}

fn parse_install(text: &str) -> Result<Install, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, mode) = match parts[..] {
        [host, inside] => (host, inside, "755"),
        [host, inside, mode] => (host, inside, mode),
        _ => return Err("expected HOST:INSIDE[:MODE]".to_owned()),
    };
    let mode = u32::from_str_radix(mode, 8).map_err(|_| format!("{mode} is no octal mode"))?;
    Ok(Install { host: host.into(), inside: inside.to_owned(), mode })
}

fn parse_bind(text: &str) -> Result<Bind, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, read_only) = match parts[..] {
        [host, inside] => (host, inside, false),
        [host, inside, "ro"] => (host, inside, true),
        _ => return Err("expected HOST:INSIDE[:ro]".to_owned()),
    };
    let host = std::path::absolute(host).map_err(|error| format!("{host}: {error}"))?;
    Ok(Bind { host, inside: inside.to_owned(), read_only })
}
