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
use nix::unistd::geteuid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::environment::merged;
use super::kept::Kept;
use super::privileges::Privileges;
use super::system::Own;
use crate::machine::survey;
use crate::plan::Command;
use crate::plan::binds::{ROOTS_HOME, no_tmpdir};
use crate::plan::refusal::Refusal;
use crate::plan::working_directory::Directory;
use crate::request::ARGUMENTS_VARIABLE;
use crate::run::startup;
use crate::run::why_nowhere;
use crate::session::{self, Record, Roll};
use condatainer_images::system::process::Process;
use condatainer_programs::command::{ELIBBAD, ENOENT, Job, Variables};

/// Where the keeper and a task see the machine differently.
pub(crate) const OTHER_VIEW: &str = "this process sees other file systems than the one that keeps the container";

const OVER: &str = "it has ended just now";
const ELSEWHERE: &str = "its command has gone into namespaces of its own";

/// The line of proc_pid_status(5) that tells of filters of system calls.
pub(crate) const FILTER: &str = "Seccomp";

/// In the order in which they are entered: the first gives the right to enter the others.
const NAMESPACES: [(&str, LinkNameSpaceType); 6] = [
    ("user", LinkNameSpaceType::User),
    ("ipc", LinkNameSpaceType::InterProcessCommunication),
    ("uts", LinkNameSpaceType::HostNameAndNISDomainName),
    ("net", LinkNameSpaceType::Network),
    ("cgroup", LinkNameSpaceType::ControlGroup),
    ("mnt", LinkNameSpaceType::Mount),
];

/// Why a command does not run in another process's container.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The container cannot be entered by this process.
    #[error("{0}")]
    NotShared(&'static str),
    /// The system refused something.
    #[error("the container cannot be entered: {what}: {source}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The working directory is none that a container can show.
    #[error("{0}")]
    NoPlace(Box<Refusal>),
    /// The container has not got the working directory.
    #[error("{}: the working directory cannot be entered in the container: {why}: go to another", path.display())]
    Nowhere {
        /// The directory.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is no such command in the container.
    #[error("no such command in the container")]
    NotFound,
    /// It is there, but the system does not execute it.
    #[error("cannot be executed in the container: {0}")]
    NotExecutable(String),
}

/// A container that stands, with all that is needed of it once its own /proc is out of sight.
#[derive(Debug)]
pub struct Container {
    namespaces: Vec<(File, LinkNameSpaceType)>,
    privileges: Privileges,
    variables: Variables,
    job: Job,
    /// That of a session, which ends with its command.
    roll: Option<Roll>,
    own: Own,
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> JoinError {
    move |source| JoinError::System { what, source }
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
    pub fn kept(kept: &Kept) -> Result<Self, JoinError> {
        if kept.session {
            return Self::of_session(&Process::numbered(kept.keeper));
        }
        let first = kept.first.ok_or(JoinError::NotShared("it is still being started: try again"))?;
        Self::of(&Process::numbered(first), &Process::numbered(kept.keeper))
    }

    /// Whether this process could enter it, as far as can be told without.
    pub(crate) fn can_be_joined(kept: &Kept) -> bool {
        let keeper = Process::numbered(kept.keeper);
        if !sees_the_same(&keeper) {
            return false;
        }
        if kept.session {
            return session::kept_by(&keeper).is_some_and(|session| why_not_joined(&session.record).is_none());
        }
        kept.first.is_some_and(|first| why_not_shared(&Process::this(), &Process::numbered(first)).is_none())
    }

    fn of(first: &Process, keeper: &Process) -> Result<Self, JoinError> {
        let namespaces = namespaces(first, keeper, || why_not_shared(&Process::this(), first))?;
        let after = first.variables().map_err(system("its environment"))?;
        Ok(Self {
            namespaces,
            privileges: Privileges::of(first).map_err(system("its privileges"))?,
            variables: variables(keeper, &after)?,
            job: here(job_of(first).map_err(system("its first process"))?, keeper)?,
            roll: None,
            own: Own { startup: startup::directory() },
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
            roll: Some(Roll::open(&session.file).map_err(|_| JoinError::NotShared(OVER))?),
            own: Own { startup: startup::directory() },
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
        self.roll.as_ref().map_or(Ok(()), Roll::add).map_err(|_| JoinError::NotShared(OVER))?;
        if let Err(errno) = self.job.enter(&self.own) {
            let path = self.job.directories.first().cloned().map(OsString::from_vec).unwrap_or_default();
            return Err(JoinError::Nowhere { path: path.into(), why: why_nowhere(errno) });
        }
        self.privileges.take().map_err(|e| system("privileges that were to be given up")(e.into()))
    }
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

fn sees_the_same(keeper: &Process) -> bool {
    let this = Process::this();
    this.shares(keeper, "mnt") && this.shares(keeper, "user")
}

/// This process's own, with what the container's start has made of its keeper's.
fn variables(keeper: &Process, after: &Variables) -> Result<Variables, JoinError> {
    let before = keeper.variables().map_err(system("its keeper's environment"))?;
    let own = std::env::vars_os().filter(|(name, _)| name != ARGUMENTS_VARIABLE);
    Ok(merged(own.map(|(name, value)| (name.into_vec(), value.into_vec())).collect(), &before, after))
}

/// What the shim was given to do: the last of its descriptors, whose number is its last argument.
pub(crate) fn job_of(shim: &Process) -> io::Result<Job> {
    let not_it = || io::Error::other("it is not the shim");
    let file = shim.arguments()?.into_iter().nth(3).and_then(|number| number.into_string().ok()?.parse::<u32>().ok());
    let text = std::fs::read(shim.directory().join("fd").join(file.ok_or_else(not_it)?.to_string()))?;
    Job::read(&text).ok_or_else(not_it)
}

/// What a process like this one cannot take over from the container's first.
pub(crate) fn why_not_shared(this: &Process, first: &Process) -> Option<&'static str> {
    why_not_taken_over(this, first, first.status(FILTER))
}

/// The same of a session, whose first process has become its command: what that does to itself says nothing of the container.
fn why_not_joined(record: &Record) -> Option<&'static str> {
    let first = Process::numbered(record.first);
    let Some(namespace) = first.namespace_name("mnt") else { return Some(OVER) };
    if namespace != record.namespace || first.namespace_name("user") != record.user_namespace {
        return Some(ELSEWHERE);
    }
    why_not_taken_over(&Process::this(), &first, record.status(FILTER))
}

fn why_not_taken_over(this: &Process, first: &Process, filter: Option<String>) -> Option<&'static str> {
    // Then its mounts belong to root, and only root may enter them.
    if !geteuid().is_root() && this.shares(first, "user") && !this.shares(first, "mnt") {
        return Some("the container has no user namespace of its own (is Apptainer setuid, behind a wrapper?)");
    }
    match (this.shares(first, "pid"), this.status(FILTER) == filter) {
        (false, _) => Some("the container numbers its processes itself"),
        (_, false) => Some("the container's filter of system calls cannot be given to another process"),
        _ => None,
    }
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
