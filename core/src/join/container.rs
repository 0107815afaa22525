//! A task enters the container of its step, and becomes its command; so does a user's own process with a step or a session of his.
//!
//! It stays the process that Slurm has started, so everything that Slurm does to it, and everything that it has been given, is as
//! without a container. The privileges are made those of the container's first process: entering a user namespace grants all of
//! them in there.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::compatibility::{OTHER_VIEW, OVER, sees_the_same, why_not_joined, why_not_shared};
use super::environment::merged;
use super::error::{JoinError, system};
use super::privileges::Privileges;
use super::running::{self, RunningContainer};
use super::shim::job_of;
use super::system::Own;
use crate::machine::survey;
use crate::machine::variables::variables_of;
use crate::plan::Command;
use crate::plan::binds::{ROOTS_HOME, no_tmpdir};
use crate::plan::working_directory::Directory;
use crate::request::ARGUMENTS_VARIABLE;
use crate::run::error::why_nowhere;
use crate::run::session::{self, JoinedProcesses};
use crate::run::zsh_startup;
use condatainer_images::system::process::Process;
use condatainer_programs::command::{Job, Variables};
use condatainer_programs::errno::{ELIBBAD, ENOENT};

/// In the order in which they are entered: the first gives the right to enter the others.
const NAMESPACES: [(&str, LinkNameSpaceType); 6] = [
    ("user", LinkNameSpaceType::User),
    ("ipc", LinkNameSpaceType::InterProcessCommunication),
    ("uts", LinkNameSpaceType::HostNameAndNISDomainName),
    ("net", LinkNameSpaceType::Network),
    ("cgroup", LinkNameSpaceType::ControlGroup),
    ("mnt", LinkNameSpaceType::Mount),
];

/// A container that stands, with all that is needed of it once its own /proc is out of sight.
#[derive(Debug)]
pub struct Container {
    namespaces: Vec<(File, LinkNameSpaceType)>,
    privileges: Privileges,
    variables: Variables,
    job: Job,
    /// That of a session, which ends with its command.
    joined: Option<JoinedProcesses>,
    own: Own,
}

impl Container {
    /// The one of the directories that the keeper has answered with.
    ///
    /// # Errors
    /// It is gone meanwhile, or belongs to another view of the machine than this process has.
    pub fn answered(directories: &[OwnedFd]) -> Result<Self, JoinError> {
        match directories {
            [first, keeper] => Self::of(&Process::opened(first), &Process::opened(keeper)),
            _ => Err(system("its directories")(io::ErrorKind::InvalidData.into())),
        }
    }

    /// The one that is kept by another process of the same user.
    ///
    /// # Errors
    /// It is still being started, or gone, or of another user.
    pub fn of_running(running: &RunningContainer) -> Result<Self, JoinError> {
        if running.session {
            return Self::of_session(&Process::numbered(running.keeper));
        }
        let first = running.first.ok_or(JoinError::NotShared("it is still being started: try again"))?;
        Self::of(&Process::numbered(first), &Process::numbered(running.keeper))
    }

    fn of(first: &Process, keeper: &Process) -> Result<Self, JoinError> {
        let namespaces = namespaces(first, keeper, || why_not_shared(&Process::this(), first))?;
        let after = variables_of(first).map_err(system("its environment"))?;
        Ok(Self {
            namespaces,
            privileges: Privileges::of(first).map_err(system("its privileges"))?,
            variables: variables(keeper, &after)?,
            job: here(job_of(first).map_err(system("its first process"))?, keeper)?,
            joined: None,
            own: Own { startup: zsh_startup::directory() },
        })
    }

    /// The one of the session that this process keeps. Its first process has become its command long since, so what that was
    /// before stands in the session's record.
    fn of_session(keeper: &Process) -> Result<Self, JoinError> {
        let session = session::kept_by(keeper).ok_or(JoinError::NotShared(OVER))?;
        let record = &session.record;
        let namespaces = namespaces(&Process::numbered(record.first), keeper, || why_not_joined(record))?;
        let unread = || io::Error::from(io::ErrorKind::InvalidData);
        Ok(Self {
            namespaces,
            privileges: Privileges::read(|line| record.status(line))
                .ok_or_else(unread)
                .map_err(system("its privileges"))?,
            variables: variables(keeper, &record.container_variables())?,
            job: here(record.job().ok_or_else(unread).map_err(system("its first process"))?, keeper)?,
            joined: Some(JoinedProcesses::open(&session.file).map_err(|_| JoinError::NotShared(OVER))?),
            own: Own { startup: zsh_startup::directory() },
        })
    }

    /// Becomes the command in the container; returns only why that failed. From here on this process may be half in the container,
    /// and can only say so and end.
    #[must_use]
    pub fn become_command(mut self, command: Command, say: impl FnOnce(&str)) -> JoinError {
        if let Err(error) = self.enter() {
            return error;
        }
        if self.job.lacks_tmpdir(&self.own, &self.variables) {
            say(&no_tmpdir(std::env::var_os("TMPDIR").unwrap_or_default()));
        }
        match command {
            Command::Argv(words) => self.job.command = words.into_iter().map(String::into_bytes).collect(),
            Command::Shell(shell) => {
                self.job.command.clear();
                self.job.shell = shell.map(|shell| shell.into_os_string().into_vec());
            }
        }
        match self.job.become_command(&self.own, &self.variables) {
            ENOENT => JoinError::NotFound,
            ELIBBAD => JoinError::NotExecutable("its interpreter or loader is not in the container".into()),
            errno => JoinError::NotExecutable(Errno::from_raw(errno).desc().into()),
        }
    }

    fn enter(&mut self) -> Result<(), JoinError> {
        for (namespace, kind) in &self.namespaces {
            move_into_link_name_space(namespace.as_fd(), Some(*kind)).map_err(|e| system("a namespace")(e.into()))?;
        }
        self.joined.as_ref().map_or(Ok(()), JoinedProcesses::add).map_err(|_| JoinError::NotShared(OVER))?;
        if let Err(errno) = self.job.enter(&self.own) {
            let path = self.job.directories.first().cloned().map(OsString::from_vec).unwrap_or_default();
            return Err(JoinError::Nowhere { path: path.into(), why: why_nowhere(errno) });
        }
        self.privileges.take().map_err(|e| system("privileges that were to be given up")(e.into()))
    }
}

/// Whether the caller could join a container that has this image.
#[must_use]
pub fn can_be_joined(image: &Path) -> bool {
    running::all().iter().any(|one| one.is_own() && one.has(image) && can_enter(one))
}

/// Whether this process could enter it, as far as can be told without.
fn can_enter(running: &RunningContainer) -> bool {
    let keeper = Process::numbered(running.keeper);
    if !sees_the_same(&keeper) {
        return false;
    }
    if running.session {
        return session::kept_by(&keeper).is_some_and(|session| why_not_joined(&session.record).is_none());
    }
    running.first.is_some_and(|first| why_not_shared(&Process::this(), &Process::numbered(first)).is_none())
}

/// Those of the container that this process is not in. It must see the machine as the container's keeper does.
fn namespaces(
    first: &Process,
    keeper: &Process,
    why_not: impl FnOnce() -> Option<&'static str>,
) -> Result<Vec<(File, LinkNameSpaceType)>, JoinError> {
    let why_not = if sees_the_same(keeper) { why_not() } else { Some(OTHER_VIEW) };
    why_not.map_or(Ok(()), |why| Err(JoinError::NotShared(why)))?;
    let this = Process::this();
    let differing = NAMESPACES.iter().filter(|(name, _)| !this.shares(first, name));
    let opened = differing.map(|(name, kind)| Ok((first.namespace(name)?, *kind))).collect::<io::Result<_>>();
    opened.map_err(system("its namespaces"))
}

/// This process's own, with what the container's start has made of its keeper's.
fn variables(keeper: &Process, after: &Variables) -> Result<Variables, JoinError> {
    let before = variables_of(keeper).map_err(system("its keeper's environment"))?;
    let own = std::env::vars_os().filter(|(name, _)| name != ARGUMENTS_VARIABLE);
    Ok(merged(own.map(|(name, value)| (name.into_vec(), value.into_vec())).collect(), &before, after))
}

/// The job for where this process is. Where the keeper is there too, the container has found the place already.
fn here(mut job: Job, keeper: &Process) -> Result<Job, JoinError> {
    let pwd = std::env::var_os("PWD");
    let own = survey::working_directory(pwd.as_ref().map(Path::new)).map_err(system("the working directory"))?;
    let keepers = std::fs::metadata(keeper.directory().join("cwd")).map(|found| (found.dev(), found.ino())).ok();
    if keepers != Some(own.identity) {
        let own = Directory::decide(None, &own).map_err(|refusal| JoinError::NoPlace(Box::new(refusal)))?;
        job.identity = own.identity;
        let roots = own.paths.first().and_then(|path| below_roots_home(path));
        job.directories = own.paths.into_iter().chain(roots).map(|path| path.into_os_string().into_vec()).collect();
    }
    Ok(job)
}

/// Where fakeroot shows what lies in the home directory.
fn below_roots_home(path: &Path) -> Option<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME")?);
    let rest = path.strip_prefix(home).ok()?;
    Some(Path::new(ROOTS_HOME).iter().chain(rest).collect())
}
