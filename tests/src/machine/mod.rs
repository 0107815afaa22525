//! A cached root running in namespaces of its own, without Slurm: enough to run commands in another Debian release.

pub mod cgroup;
pub(crate) mod command;
mod devices;
mod entry;
pub(crate) mod host;
pub(crate) mod interrupt;
pub(crate) mod namespace;
pub(crate) mod process;
pub(crate) mod scratch;
pub(crate) mod users;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cache::Cache;
use crate::machine::command::Command;
use crate::machine::namespace::Namespace;
use crate::machine::scratch::Scratch;
use crate::machine::users::{Accounts, TEST_USERS};
use crate::options::{Bind, Proctrack};

/// What a machine is to be like.
#[derive(Clone, Copy, Debug)]
pub struct MachineSetup<'a> {
    /// What its scratch directory is named after.
    pub name: &'a str,
    /// What it calls itself.
    pub hostname: &'a str,
    /// What lies over its root.
    pub tree: Option<&'a Path>,
    /// What it sees of the host.
    pub binds: &'a [Bind],
    /// Whether it shares the host's network.
    pub host_network: bool,
    /// What Slurm will need to track processes.
    pub proctrack: Proctrack,
}

/// A running machine; it is gone, with everything it ran, when this is dropped.
#[derive(Debug)]
pub struct Machine {
    // Dropped in this order: first the processes, then what they wrote.
    namespace: Namespace,
    accounts: Accounts,
    /// What commands of a user get besides a login's own variables.
    environments: BTreeMap<String, BTreeMap<String, String>>,
    scratch: Scratch,
}

impl Machine {
    /// Starts a machine on a root of this cache.
    ///
    /// # Errors
    /// When the namespaces cannot be made or a mount fails; the message has what the set-up said.
    pub fn start(cache: &Cache, root: &Path, setup: &MachineSetup<'_>) -> Result<Self> {
        crate::machine::host::require_root()?;
        let scratch = Scratch::create(&cache.scratch_directories()?, setup.name)?;
        let accounts = Accounts::read(root)?;
        make_homes(&scratch.path().join("home"), &accounts)?;
        let list = scratch.path().join("binds");
        fs::write(&list, bind_list(setup.binds)?).with_context(|| format!("cannot write {}", list.display()))?;
        let mut command = unshare(scratch.path(), setup)?;
        command.env("CACHE", cache.directory()).env("BINDS", list).env("HOSTNAME", setup.hostname);
        command.env("LOWER", lower(root, setup.tree, cache)?).env("RUN", below(scratch.path(), cache)?);
        let namespace = Namespace::start(command, scratch.console()?).with_context(|| console_text(&scratch))?;
        devices::make(namespace.init())?;
        Ok(Self { namespace, accounts, environments: BTreeMap::new(), scratch })
    }

    /// A command to be run as a user, in that user's home unless told otherwise.
    pub fn command(&self, user: &str) -> Command<'_> {
        self.command_in(&self.namespace, user)
    }

    /// Where a path inside is on the host: for homes the real place, for all else a way through the first process.
    /// Beware of absolute symbolic links on that way, such as `/var/run`: the host follows them from its own root.
    #[must_use]
    pub fn host_path(&self, inside: &str) -> PathBuf {
        match inside.strip_prefix("/home/") {
            Some(rest) => self.scratch.path().join("home").join(rest),
            None => PathBuf::from(format!("/proc/{}/root/{}", self.namespace.init(), inside.trim_start_matches('/'))),
        }
    }

    /// Writes a file as a user, making missing directories. What had this name before is another file.
    ///
    /// # Errors
    /// When the user may not write there.
    pub fn write_file(&self, user: &str, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let write = || {
            let path = Path::new(path);
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            if let Err(error) = fs::remove_file(path)
                && error.kind() != ErrorKind::NotFound
            {
                return Err(error.into());
            }
            entry::between_starts(|| fs::write(path, content))?;
            Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
        };
        self.act(user, write).with_context(|| format!("cannot write {path} as {user}"))
    }

    /// Reads a file as root.
    ///
    /// # Errors
    /// When there is none.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>> {
        self.act("root", || Ok(fs::read(path)?)).with_context(|| format!("cannot read {path}"))
    }

    /// Copies a file of the host in, as a user.
    ///
    /// # Errors
    /// When either side cannot be read or written.
    pub fn copy_in(&self, host: &Path, user: &str, inside: &str, mode: u32) -> Result<()> {
        let content = fs::read(host).with_context(|| format!("cannot read {}", host.display()))?;
        self.write_file(user, inside, &content, mode)
    }

    /// Makes a symbolic link of root's inside.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn link_in(&self, target: &Path, inside: &str) -> Result<()> {
        let link = || {
            let inside = Path::new(inside);
            fs::create_dir_all(inside.parent().unwrap_or(inside))?;
            let _was_not_there = fs::remove_file(inside);
            Ok(std::os::unix::fs::symlink(target, inside)?)
        };
        self.act("root", link).with_context(|| format!("cannot make the link {inside}"))
    }

    /// Makes a directory as a user, with those above it that are missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_directory(&self, user: &str, path: &str) -> Result<()> {
        self.act(user, || Ok(fs::create_dir_all(path)?)).with_context(|| format!("cannot make {path} as {user}"))
    }

    /// Does this inside, as a user, in a thread of its own. The suite writes thousands of files, and a shell for each would cost more
    /// than all else.
    ///
    /// # Errors
    /// When there is no such user, or the way in is closed; and what `act` returns.
    pub fn act<T: Send>(&self, user: &str, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        entry::as_user(self.namespace.init(), self.accounts.find(user)?, act)
    }

    /// The first process, as the host numbers it.
    #[must_use]
    pub fn init(&self) -> u32 {
        self.namespace.init().unsigned_abs()
    }

    pub(crate) fn command_in(&self, namespace: &Namespace, user: &str) -> Command<'_> {
        let environment = self.environments.get(user).cloned().unwrap_or_default();
        Command::new(namespace.init(), &self.accounts, user, environment)
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    pub(crate) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    pub(crate) fn add_environment(&mut self, user: &str, variables: BTreeMap<String, String>) {
        self.environments.entry(user.to_owned()).or_default().extend(variables);
    }

    /// A name that no other machine of this cache has.
    pub(crate) fn name(&self) -> String {
        self.scratch.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(crate) fn log_directory(&self) -> PathBuf {
        self.scratch.path().join("log")
    }
}

fn unshare(scratch: &Path, setup: &MachineSetup<'_>) -> Result<std::process::Command> {
    const NAMESPACES: [&str; 6] = ["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"];
    let has_cgroup = setup.proctrack == Proctrack::CgroupV1;
    // Whoever runs this may have it ignore signals (`nohup`), which programs in the machine are not to inherit.
    const UNSHARE: [&str; 3] = ["/usr/bin/env", "--default-signal", "/usr/bin/unshare"];
    let mut command = std::process::Command::new(UNSHARE[0]);
    command.args(&UNSHARE[1..]);
    if has_cgroup {
        command = cgroup::join(scratch)?;
        command.args(UNSHARE).arg("--cgroup");
    }
    command.args(NAMESPACES).args((!setup.host_network).then_some("--net"));
    command.args(["/bin/bash", "-c", include_str!("../inside/machine.sh"), "machine"]).env_clear();
    command.env("PATH", crate::machine::host::PATH);
    command.env("NETWORK", if setup.host_network { "host" } else { "private" });
    command.env("PROCTRACK", if has_cgroup { "cgroup" } else { "linuxproc" });
    Ok(command)
}

fn make_homes(parent: &Path, accounts: &Accounts) -> Result<()> {
    for account in TEST_USERS.iter().map(|name| accounts.find(name)) {
        let account = account?;
        let home = parent.join(&account.name);
        fs::create_dir(&home).with_context(|| format!("cannot make {}", home.display()))?;
        std::os::unix::fs::chown(&home, Some(account.uid), Some(account.gid))?;
    }
    Ok(())
}

fn bind_list(binds: &[Bind]) -> Result<String> {
    let lines = binds.iter().map(|bind| {
        let host = bind.host.to_str().with_context(|| format!("{} is not UTF-8", bind.host.display()))?;
        ensure!(bind.host.exists(), "cannot bind {host}: it does not exist");
        ensure!(
            !format!("{host}{}", bind.inside).contains(['\t', '\n']),
            "cannot bind {host}: a tab or newline in a path"
        );
        Ok(format!("{host}\t{}\t{}\n", bind.inside, if bind.read_only { "ro" } else { "rw" }))
    });
    lines.collect()
}

/// The lower layers of the machine's overlay, the upper one first.
fn lower(root: &Path, tree: Option<&Path>, cache: &Cache) -> Result<OsString> {
    let mut layers = OsString::new();
    if let Some(tree) = tree {
        layers.push(below(tree, cache)?);
        layers.push(":");
    }
    layers.push(below(root, cache)?);
    Ok(layers)
}

fn below<'a>(path: &'a Path, cache: &Cache) -> Result<&'a Path> {
    path.strip_prefix(cache.directory()).with_context(|| format!("{} is not in the cache", path.display()))
}

fn console_text(scratch: &Scratch) -> String {
    let text = fs::read_to_string(scratch.path().join("log/console")).unwrap_or_default();
    format!("cannot start a machine: {}", text.trim())
}
