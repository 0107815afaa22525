//! What runs in a container. The same source in the shim, which is the container's first process, and in the library, for tasks
//! that join a step's container; so it takes the system as a [`System`], and words as bytes.
//!
//! A job is written in a file, each word with a NUL byte behind it: `[--path DIR]... [--identity DEVICE:INODE] [--directory DIR]...
//! [--workspace] [--no-new-privileges] [--set NAME=VALUE]... [--prompt TEXT] [--shell SHELL] -- [COMMAND [ARG]...]`.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::errno::{EACCES, ELIBBAD, ENODEV, ENOENT, ENOTDIR, ESTALE, ETIMEDOUT};

#[path = "shell.rs"]
mod shell;
#[path = "variables.rs"]
mod variables;
#[path = "zsh.rs"]
mod zsh;

/// The directory is there, but is another one.
pub const ANOTHER: i32 = 0;

/// Device and inode of a directory.
pub type Identity = (u64, u64);

/// An environment.
pub type Variables = BTreeMap<Vec<u8>, Vec<u8>>;

/// The files that the command is going to see.
pub trait Files {
    /// Whether there is something at this path; at one with a slash behind it, whether there is a directory.
    fn exists(&self, path: &[u8]) -> bool;
}

/// What a job needs of the system that it runs on.
pub trait System: Files {
    /// Makes this the working directory, and tells its device and inode; or the errno of the failure.
    fn enter(&self, directory: &[u8]) -> Result<Identity, i32>;
    /// Gets ready for one of several files with these arguments and variables. What is returned execs a file, as a shell script
    /// if the kernel knows no better, and returns only the errno of a failure.
    fn ready(&self, arguments: &[Vec<u8>], variables: &Variables) -> impl Fn(&[u8]) -> i32;

    /// How a file begins, enough for the line that names its interpreter; nothing where that cannot be read.
    fn head(&self, path: &[u8]) -> Vec<u8>;

    /// Whether commands are typed here, and their output is read, as a shell asks it.
    fn has_terminal(&self) -> bool;

    /// Makes a file that lies in no directory and is gone with its last descriptor, which the command inherits. `text` is told
    /// that number. Returns a path to the file.
    fn document(&self, text: impl FnOnce(usize) -> Vec<u8>) -> Option<Vec<u8>>;

    /// Has the command inherit a descriptor of the directory that a zsh is to take its start-up files from. Returns a path to it;
    /// `None` where there is none.
    fn startup(&self) -> Option<Vec<u8>>;
}

/// What the arguments ask for.
#[derive(Debug)]
pub struct Job {
    path: Vec<Vec<u8>>,
    /// What the working directory must be; `None`: whatever the container has there.
    pub identity: Option<Identity>,
    /// Paths to it, the best one first.
    pub directories: Vec<Vec<u8>>,
    /// The one that was entered.
    entered: Option<Vec<u8>>,
    workspace: bool,
    /// A program with a set-user-ID bit or capabilities of its own gets none of them.
    pub no_new_privileges: bool,
    set: Vec<(Vec<u8>, Vec<u8>)>,
    prompt: Option<Vec<u8>>,
    /// Tried first where there is no command.
    pub shell: Option<Vec<u8>>,
    /// The program and its arguments; none for a shell.
    pub command: Vec<Vec<u8>>,
}

impl Job {
    /// `None` where the text is not a job.
    pub fn read(text: &[u8]) -> Option<Self> {
        let words = text.split_inclusive(|byte| *byte == 0);
        Self::parse(words.map(|word| word.strip_suffix(&[0]).unwrap_or(word).to_vec()))
    }

    /// `None` where the words are not a job.
    fn parse(mut words: impl Iterator<Item = Vec<u8>>) -> Option<Self> {
        let mut job = Self {
            path: Vec::new(),
            identity: None,
            directories: Vec::new(),
            entered: None,
            workspace: false,
            no_new_privileges: false,
            set: Vec::new(),
            prompt: None,
            shell: None,
            command: Vec::new(),
        };
        loop {
            match words.next()?.as_slice() {
                b"--path" => job.path.push(words.next()?),
                b"--identity" => job.identity = Some(identity(&words.next()?)?),
                b"--directory" => job.directories.push(words.next()?),
                b"--workspace" => job.workspace = true,
                b"--no-new-privileges" => job.no_new_privileges = true,
                b"--set" => job.set.push(assignment(&words.next()?)?),
                b"--prompt" => job.prompt = Some(words.next()?),
                b"--shell" => job.shell = Some(words.next()?),
                b"--" => break,
                _ => return None,
            }
        }
        job.command = words.collect();
        Some(job)
    }

    /// Enters the working directory by the first of its paths that leads there; the errno of the failure, or [`ANOTHER`].
    pub fn enter(&mut self, system: &impl System) -> Result<(), i32> {
        let mut why = ENOENT;
        for path in &self.directories {
            match system.enter(path) {
                Ok(found) if self.identity.is_none_or(|identity| identity == found) => {
                    self.entered = Some(path.clone());
                    return Ok(());
                }
                Ok(_) => why = ANOTHER,
                Err(errno) => why = errno,
            }
        }
        if self.directories.is_empty() { Ok(()) } else { Err(why) }
    }

    /// Execs the command, in the container's environment and what the job adds to it; returns only the errno of a failure.
    pub fn become_command(&self, system: &impl System, variables: &Variables) -> i32 {
        let candidates = if self.command.is_empty() { self.shells() } else { vec![self.command.clone()] };
        let variables = self.environment(system, variables);
        let attempts = candidates.iter().map(|argv| {
            let mut variables = variables.clone();
            let argv = shell::started(system, argv, &mut variables);
            zsh::started(system, &argv, &mut variables);
            execute(system, &argv, &variables)
        });
        attempts.into_iter().find(|errno| *errno != ENOENT).unwrap_or(ENOENT)
    }

    /// The user's shell if the container has it, else bash, else sh.
    fn shells(&self) -> Vec<Vec<Vec<u8>>> {
        let shells = self.shell.iter().cloned().chain([b"/bin/bash".to_vec(), b"/bin/sh".to_vec()]);
        shells.map(|shell| vec![shell]).collect()
    }
}

/// `NAME=VALUE`. A name may begin with a `=`, but not be empty.
pub fn assignment(text: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let at = text.iter().skip(1).position(|byte| *byte == b'=')? + 1;
    Some((text.get(..at)?.to_vec(), text.get(at + 1..)?.to_vec()))
}

/// `DEVICE:INODE`.
fn identity(text: &[u8]) -> Option<Identity> {
    let (device, inode) = core::str::from_utf8(text).ok()?.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

/// Execs a command as execvp(3) would in this environment, but tells a file whose interpreter is missing from none.
fn execute(system: &impl System, argv: &[Vec<u8>], variables: &Variables) -> i32 {
    let (mut why, mut is_refused, mut missing) = (ENOENT, false, Vec::new());
    let execute = system.ready(argv, variables);
    for file in files(argv, variables) {
        why = execute(&file);
        match why {
            ENOENT => missing.push(file),
            EACCES => is_refused = true,
            ESTALE | ENOTDIR | ENODEV | ETIMEDOUT => {}
            _ => return why,
        }
    }
    // Only where nothing was found, as every look at a layer may be a question to a FUSE program.
    match missing.iter().any(|file| system.exists(file)) {
        true => ELIBBAD,
        false if is_refused => EACCES,
        false => why,
    }
}

/// Where a command may be: at its path, or for a mere name in every directory of PATH. One without a name is the current one.
fn files(argv: &[Vec<u8>], variables: &Variables) -> Vec<Vec<u8>> {
    let path = variables.get(b"PATH".as_slice()).map(Vec::as_slice).unwrap_or_default();
    let place = |directory: &[u8], name: &[u8]| [if directory.is_empty() { b"." } else { directory }, name].join(&b'/');
    match argv.first() {
        Some(name) if name.contains(&b'/') => vec![name.clone()],
        Some(name) if !name.is_empty() => path.split(|byte| *byte == b':').map(|dir| place(dir, name)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
