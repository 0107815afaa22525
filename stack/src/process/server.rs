//! The server's process: no signal of a terminal or of a job reaches it, it inherits nothing, and it ends with its mount.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::thread::Builder;

use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;
use nix::unistd::{chdir, close, setsid};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::channel::Channel;
use super::message::{FromServer, Image, Stack, ToServer};
use crate::serve::note_panics;

/// As ps(1) and top(1) show it.
const NAME: &std::ffi::CStr = c"condatainer-srv";

/// A tree that is ready to be served.
pub trait Serve {
    /// Answers the kernel until the mount is gone; calls `ready` when its first request is answered.
    ///
    /// # Errors
    /// The kernel and this program have no version of the protocol in common, or the device fails.
    fn serve(self: Box<Self>, mount: OwnedFd, ready: &mut dyn FnMut()) -> io::Result<()>;

    /// Makes what was written last, while the mount may still be used; `None` where nothing is written.
    fn last(&self) -> Option<MakeLast> {
        None
    }
}

/// See [`Serve::last`].
pub type MakeLast = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// What a tree is made of.
#[derive(Debug)]
pub struct Opened {
    /// The images, lowest first.
    pub images: Vec<(Image, File)>,
    /// What else it needs.
    pub stack: Stack,
    /// The directory for what is written, if that goes to a disk.
    pub scratch: Option<File>,
}

/// Takes a line for the user.
pub type Say = Box<dyn Fn(&str) + Send + Sync>;

/// Runs the server to its end; `open` makes the tree of the images, lowest first.
#[must_use]
pub fn serve(open: impl FnOnce(Opened, Say) -> io::Result<Box<dyn Serve>>) -> ExitCode {
    let channel = stand_apart().and_then(|()| Channel::at_stdin());
    let Ok(channel) = channel.map(Arc::new) else { return ExitCode::FAILURE };
    let to_user = Arc::clone(&channel);
    note_panics(move |line| drop(to_user.send_now(&FromServer::Says(line.into()))));
    match run(&channel, open) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = channel.send(&FromServer::Failed(error.to_string()), &[]);
            ExitCode::FAILURE
        }
    }
}

fn run(channel: &Arc<Channel>, open: impl FnOnce(Opened, Say) -> io::Result<Box<dyn Serve>>) -> io::Result<()> {
    let mut images = Vec::new();
    let (stack, scratch) = loop {
        match channel.receive()? {
            Some((ToServer::Image(image), mut file)) => {
                images.push((image, File::from(file.pop().ok_or(io::ErrorKind::InvalidData)?)));
            }
            Some((ToServer::Serve(stack), mut directory)) => break (stack, directory.pop().map(File::from)),
            Some((ToServer::Mount | ToServer::End, _)) => return Err(io::ErrorKind::InvalidData.into()),
            None => return Ok(()),
        }
    };
    let to_user = Arc::clone(channel);
    // Nobody who has asked for a file waits until somebody listens.
    let say = move |line: &str| drop(to_user.send_now(&FromServer::Says(line.into())));
    let tree = open(Opened { images, stack, scratch }, Box::new(say))?;
    let Some((ToServer::Mount, descriptors)) = channel.receive()? else { return Ok(()) };
    let mut descriptors = descriptors.into_iter();
    let mount = descriptors.next().ok_or(io::ErrorKind::InvalidData)?;
    if let Some(users) = descriptors.next() {
        // The kernel clones the descriptor for another thread only in the namespace that it was opened in.
        setns(users, CloneFlags::CLONE_NEWUSER)?;
        keep_out()?;
    }
    if let Some(last) = tree.last() {
        end_when_told(Arc::clone(channel), last)?;
    }
    tree.serve(mount, &mut || {
        let _ = channel.send(&FromServer::Ready, &[]);
    })
}

/// A process that the command has left behind keeps the mount, and with it the image. Who has started this server says when that is to
/// count no more.
fn end_when_told(channel: Arc<Channel>, last: MakeLast) -> io::Result<()> {
    let wait = move || {
        if let Ok(Some((ToServer::End, _))) = channel.receive() {
            let made = last();
            if let Err(error) = &made {
                let _ = channel.send(&FromServer::Failed(error.to_string()), &[]);
            }
            exit(i32::from(made.is_err()));
        }
    };
    Builder::new().name("end".into()).spawn(wait).map(drop)
}

/// Out of reach of terminals and of what ends a job's processes, but for SIGKILL; with nothing that its caller has open, and in no
/// directory of the caller's.
fn stand_apart() -> io::Result<()> {
    SigSet::all().thread_block()?;
    // Where it leads a process group already, nobody else is in that.
    let _ = setsid();
    let _ = rustix::thread::set_name(NAME);
    chdir("/")?;
    lift_limits();
    close_inherited()?;
    keep_out()
}

/// The container's root is root of this process's user namespace too. Without this he could trace it, and so reach what it sees: the
/// host's files and the images. Only who may trace any process of the host may still.
fn keep_out() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Limits that somebody has set for a command are not meant for what serves its files.
fn lift_limits() {
    for limit in [Resource::RLIMIT_FSIZE, Resource::RLIMIT_CPU, Resource::RLIMIT_AS, Resource::RLIMIT_NOFILE] {
        // Under a limit it works as well, though not as far.
        let _ = getrlimit(limit).and_then(|(_, hard)| setrlimit(limit, hard, hard));
    }
}

fn close_inherited() -> io::Result<()> {
    let numbers: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    // One of them was the directory that has just been read.
    for number in numbers {
        let _ = close(number);
    }
    Ok(())
}
