//! What becomes the engine: it makes the namespaces and the mounts, and then is the engine, in there.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::iter;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use nix::unistd::{dup2_stdin, execv};

use super::channel::Channel;
use super::message::{Entry, FromEntry, ToEntry};
use crate::namespace::user::own_mounts;
use crate::namespace::{Cannot, mounts};

/// As a shell says of a command that was not started; the words are on the socket.
const NOT_STARTED: u8 = 125;

/// Enters, and becomes `engine`. Returns only where that is impossible.
#[must_use]
pub fn enter(engine: &[OsString]) -> ExitCode {
    let Ok(channel) = Channel::at_stdin() else { return ExitCode::from(NOT_STARTED) };
    let why = match prepare(&channel) {
        Ok(()) => FromEntry::NoEngine(execute(engine).to_string()),
        Err(why) => FromEntry::Failed(why.to_string()),
    };
    let _ = channel.send(&why, &[]);
    ExitCode::from(NOT_STARTED)
}

fn prepare(channel: &Channel) -> Result<(), Cannot> {
    let (message, mut descriptors) = next(channel)?;
    let (ToEntry::Enter(entry), Some(stdin)) = (message, descriptors.pop()) else { return Err(out_of_order()) };
    dup2_stdin(stdin).map_err(|errno| Cannot::because("standard input", errno))?;
    make_namespaces(&entry, channel)?;
    let device = mounts::fuse(&entry.place, &entry.users, entry.is_written)?;
    let users = entry.users.namespace()?;
    let both: Vec<_> = iter::once(device.as_fd()).chain(users.as_ref().map(AsFd::as_fd)).collect();
    channel.send(&FromEntry::Mounted, &both).map_err(lost)?;
    drop(both);
    drop(device);
    let (ToEntry::Ready, _) = next(channel)? else { return Err(out_of_order()) };
    if entry.is_overlaid {
        mounts::overlay(&entry.place)?;
    }
    if entry.is_laid {
        mounts::uncover(&entry.place)?;
    }
    look(&mounts::merged(&entry.place, entry.is_overlaid || entry.is_laid))
}

/// A server that has ended after its first answer is found here, where the caller can still do without it.
fn look(root: &Path) -> Result<(), Cannot> {
    let first = fs::metadata(root).and_then(|_| fs::read_dir(root)?.next().transpose());
    first.map(drop).map_err(|error| Cannot::because("the layers are mounted, and cannot be read", error))
}

fn make_namespaces(entry: &Entry, channel: &Channel) -> Result<(), Cannot> {
    entry.users.enter()?;
    if entry.users.need_help() {
        channel.send(&FromEntry::InNamespace, &[]).map_err(lost)?;
        let (ToEntry::Mapped, _) = next(channel)? else { return Err(out_of_order()) };
    }
    own_mounts()?;
    mounts::keep_to_ourselves()
}

/// A path, not a name to be searched for; and what is no program is not given to a shell, as execvp(3) would.
fn execute(words: &[OsString]) -> io::Error {
    let words = words.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<Vec<_>, _>>();
    let Some((program, words)) = words.ok().and_then(|words| Some((words.first().cloned()?, words))) else {
        return io::ErrorKind::InvalidInput.into();
    };
    let Err(errno) = execv(&program, &words);
    errno.into()
}

fn next(channel: &Channel) -> Result<(ToEntry, Vec<std::os::fd::OwnedFd>), Cannot> {
    channel.receive().map_err(lost)?.ok_or_else(out_of_order)
}

fn lost(error: io::Error) -> Cannot {
    Cannot::because("the process that has started this one is gone", error)
}

fn out_of_order() -> Cannot {
    Cannot("this verb is for condatainer itself".into())
}
