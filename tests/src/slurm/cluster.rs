//! The cluster: a machine, its nodes and Slurm, with everything a test does to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::cache::Cache;
use crate::files::remove;
use crate::machine::command::{Command, Output};
use crate::machine::host::{ensure_host_packages, require_root};
use crate::machine::{Machine, MachineSetup};
use crate::options::{Bind, Options, Proctrack};
use crate::prepared::tree::Tree;
use crate::prepared::{base, pip, roots};
use crate::progress::say;
use crate::slurm::boot;
use crate::slurm::node::{self, Node};

/// A running cluster. Dropped, it is gone: processes, mounts, networks, scratch. When a test has failed by then (its
/// thread is panicking) or [`Cluster::keep_logs`] was called, the logs are saved in the cache first.
///
/// A cluster in a `static` is never dropped: it still dies with the process, but its scratch directory stays until the
/// next start.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: the machine's end takes the processes of all nodes along.
    machine: Machine,
    nodes: Vec<Node>,
    logs: PathBuf,
    keeps_logs: AtomicBool,
    /// Below the machine's root, and so there as long as the machine.
    _tree: Option<Arc<Tree>>,
}

impl Cluster {
    /// Builds what is not cached, starts everything and returns when all nodes are idle.
    ///
    /// # Errors
    /// When this is not root, something cannot be built, or a daemon does not start; the logs are then saved.
    pub fn start(options: &Options) -> Result<Self> {
        require_root()?;
        ensure!(
            options.nodes == 1 || options.proctrack == Proctrack::LinuxProc,
            "a cluster that tracks by cgroup has one node: several would share the groups"
        );
        ensure_host_packages()?;
        let cache = Cache::open(options.cache.as_deref())?;
        let (root, images) = (roots::prepare(&cache, options.release)?, base::prepare(&cache)?);
        let start = Instant::now();
        let mut binds = vec![Bind { host: images, inside: base::INSIDE.to_owned(), read_only: true }];
        binds.extend(options.binds.iter().cloned());
        let tree = options.tree.as_ref().map(|tree| tree.path());
        let setup = MachineSetup {
            tree: tree.as_deref(),
            name: &options.safe_name(),
            hostname: &node::name(1),
            binds: &binds,
            host_network: options.host_network,
            proctrack: options.proctrack,
        };
        let machine = Machine::start(&cache, &root, &setup)?;
        let logs = cache.logs(&machine.name());
        let mut cluster =
            Self { machine, nodes: Vec::new(), logs, keeps_logs: AtomicBool::new(true), _tree: options.tree.clone() };
        cluster.boot(options).with_context(|| format!("the logs are in {}", cluster.logs.display()))?;
        cluster.keeps_logs.store(false, Ordering::Relaxed);
        let elapsed = start.elapsed().as_secs_f32();
        say(format!("{} is up with {} node(s) after {elapsed:.1} s", options.release, cluster.nodes.len()));
        Ok(cluster)
    }

    fn boot(&mut self, options: &Options) -> Result<()> {
        self.machine.make_directory("root", "/run/munge")?;
        self.nodes = node::start(&self.machine, options.nodes, options.host_network)?;
        boot::configure(&self.machine, &self.nodes, options)?;
        if options.pip_config {
            pip::bring_in(&mut self.machine)?;
        }
        boot::start_controller(&self.machine)?;
        self.nodes.iter().try_for_each(|node| boot::start_slurmd(&self.machine, node))?;
        self.wait_until_idle()
    }

    /// A command to be run as a user on the first node.
    pub fn command(&self, user: &str) -> Command<'_> {
        self.machine.command(user)
    }

    /// A command to be run as a user on a node, counted from 1.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn command_on(&self, node: usize, user: &str) -> Result<Command<'_>> {
        Ok(self.machine.command_in(self.node(node)?.namespace(&self.machine), user))
    }

    /// Runs a command as a user, in the user's home on the first node.
    ///
    /// # Errors
    /// As [`Command::run`]; a command that fails is no error.
    pub fn exec(&self, user: &str, argv: &[&str]) -> Result<Output> {
        self.command(user).run(argv)
    }

    /// Runs a bash text as a user, in the user's home on the first node.
    ///
    /// # Errors
    /// As [`Command::run`]; a text that fails is no error.
    pub fn script(&self, user: &str, text: &str) -> Result<Output> {
        self.command(user).script(text)
    }

    /// Runs a command as root on the first node, in `/`.
    ///
    /// # Errors
    /// As [`Command::run`].
    pub fn root_exec(&self, argv: &[&str]) -> Result<Output> {
        self.node_exec(1, argv)
    }

    /// Runs a command as root on a node, in `/`, in that node's own mounts, network and processes.
    ///
    /// # Errors
    /// As [`Command::run`], and when there is no such node.
    pub fn node_exec(&self, node: usize, argv: &[&str]) -> Result<Output> {
        self.command_on(node, "root")?.cwd("/").run(argv)
    }

    /// Makes a directory look empty on one node only. On the first node it also does so for further commands, but not for
    /// other nodes.
    ///
    /// # Errors
    /// When it cannot be mounted over.
    pub fn hide(&self, node: usize, directory: &str) -> Result<()> {
        self.node_exec(node, &["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", directory])?.success().map(drop)
    }

    /// Undoes [`Cluster::hide`].
    ///
    /// # Errors
    /// When nothing is mounted there or it is in use.
    pub fn unhide(&self, node: usize, directory: &str) -> Result<()> {
        self.node_exec(node, &["umount", directory])?.success().map(drop)
    }

    /// Starts slurmd on a node.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_slurmd(&self, node: usize) -> Result<()> {
        boot::start_slurmd(&self.machine, self.node(node)?)
    }

    /// Stops slurmd on a node and waits until it is gone; running steps go on.
    ///
    /// # Errors
    /// When it does not run or does not stop.
    pub fn stop_slurmd(&self, node: usize) -> Result<()> {
        boot::stop_slurmd(&self.machine, self.node(node)?)
    }

    /// Restarts slurmd on a node and waits until the nodes are idle again.
    ///
    /// # Errors
    /// When it does not stop, start or become idle.
    pub fn restart_slurmd(&self, node: usize) -> Result<()> {
        self.stop_slurmd(node)?;
        self.start_slurmd(node)?;
        self.wait_until_idle()
    }

    /// `scontrol reconfigure`, then waits until the nodes are idle.
    ///
    /// # Errors
    /// When slurmctld refuses or a node does not come back.
    pub fn reconfigure(&self) -> Result<()> {
        self.root_exec(&["scontrol", "reconfigure"])?.success()?;
        self.wait_until_idle()
    }

    /// Waits until all nodes are idle, at most two minutes.
    ///
    /// # Errors
    /// When they are not by then.
    pub fn wait_until_idle(&self) -> Result<()> {
        boot::wait_until_idle(&self.machine, &self.nodes)
    }

    /// Writes a file as a user, making missing directories. See [`Machine::write_file`].
    ///
    /// # Errors
    /// When the user may not write there.
    pub fn write_file(&self, user: &str, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        self.machine.write_file(user, path, content.as_ref(), mode)
    }

    /// Does this on the first node, as a user. See [`Machine::act`].
    ///
    /// # Errors
    /// As there.
    pub fn act<T: Send>(&self, user: &str, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.machine.act(user, act)
    }

    /// Makes a directory as a user. See [`Machine::make_directory`].
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_directory(&self, user: &str, path: &str) -> Result<()> {
        self.machine.make_directory(user, path)
    }

    /// Reads a file as root.
    ///
    /// # Errors
    /// When there is none.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>> {
        self.machine.read_file(path)
    }

    /// Copies a file of the host in, as a user.
    ///
    /// # Errors
    /// When either side cannot be read or written.
    pub fn copy_in(&self, host: &Path, user: &str, inside: &str, mode: u32) -> Result<()> {
        self.machine.copy_in(host, user, inside, mode)
    }

    /// Where a path inside is on the host. See [`Machine::host_path`].
    #[must_use]
    pub fn host_path(&self, inside: &str) -> PathBuf {
        self.machine.host_path(inside)
    }

    /// The cluster's first process, as the host numbers it: all others are below it.
    #[must_use]
    pub fn init(&self) -> u32 {
        self.machine.init()
    }

    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// All logs so far, one after the other under their names.
    #[must_use]
    pub fn logs(&self) -> String {
        let files = ["console", "munge/munged.log", "slurm/slurmctld.log"].map(str::to_owned).into_iter();
        let files = files.chain(self.nodes.iter().map(|node| format!("slurm/slurmd-{}.log", node.name())));
        let read = |file: String| {
            let text = fs::read(self.machine.log_directory().join(&file)).unwrap_or_default();
            format!("==> {file} <==\n{}\n", String::from_utf8_lossy(&text))
        };
        files.map(read).collect()
    }

    /// Where slurmctld writes its log.
    pub(crate) fn controller_log(&self) -> PathBuf {
        self.machine.log_directory().join("slurm/slurmctld.log")
    }

    /// Saves the logs when the cluster ends, whatever happens.
    pub fn keep_logs(&self) {
        self.keeps_logs.store(true, Ordering::Relaxed);
    }

    /// Saves the logs in the cache now and returns where.
    ///
    /// # Errors
    /// When they cannot be copied.
    pub fn save_logs(&self) -> Result<PathBuf> {
        remove(&self.logs)?;
        copy_directory(&self.machine.log_directory(), &self.logs)?;
        Ok(self.logs.clone())
    }

    fn node(&self, number: usize) -> Result<&Node> {
        let node = number.checked_sub(1).and_then(|index| self.nodes.get(index));
        node.with_context(|| format!("there is no node {number}: the nodes are 1 to {}", self.nodes.len()))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.keeps_logs.load(Ordering::Relaxed) && !std::thread::panicking() {
            return;
        }
        match self.save_logs() {
            Ok(logs) => say(format!("the logs are in {}", logs.display())),
            Err(error) => say(format!("the logs could not be saved: {error:#}")),
        }
    }
}

fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_directory(&source, &target)?;
        } else if source.is_file() {
            fs::copy(&source, &target).with_context(|| format!("cannot copy {}", source.display()))?;
        }
    }
    Ok(())
}
