//! The shim: the first process inside a container, which becomes the user's command.
//!
//! Apptainer exits with 255 for its own failures and for a command that it cannot find, so its exit code alone proves nothing.
//! The shim tells the caller over a socket that the container stands, waits for its word, and reports why an exec failed. It
//! sets the environment literally (Apptainer's own `--env` is evaluated by a shell) and leaves nothing behind: it is linked
//! statically, lives in a memory file and is started through an inherited descriptor, so the image needs no mount point, no
//! shell and no libc for it.
//!
//! Called as `/proc/self/fd/IMAGE SOCKET IMAGE JOB`, see [`command`] for the job.
//! Says on the socket: `S` when it runs; then, after the answer `G`, `E` and the errno in decimal if the exec failed. A step
//! container's shim never gets the answer: it waits until nobody needs the container any more.

mod command;

use std::ffi::OsString;
use std::io::{Error, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use command::{ENOENT, Job};

const NOT_STARTED: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(socket), Some(image)) = (number(arguments.next()), number(arguments.next())) else {
        return ExitCode::from(NOT_STARTED);
    };
    let (Some(job), Ok(mut caller)) = (Job::parse(arguments), adopt(socket, image)) else {
        return ExitCode::from(NOT_STARTED);
    };
    if !may_start(&mut caller) {
        return ExitCode::from(NOT_STARTED);
    }
    let errno = job.become_command(&std::env::vars_os().collect());
    let _ = write!(caller, "E{errno}");
    ExitCode::from(if errno == ENOENT { NOT_FOUND } else { NOT_EXECUTABLE })
}

fn number(argument: Option<OsString>) -> Option<RawFd> {
    argument?.to_str()?.parse().ok()
}

/// Takes over the inherited descriptors, so that none of them reaches the command: a clone is close-on-exec.
fn adopt(socket: RawFd, image: RawFd) -> Result<UnixStream, Error> {
    // SAFETY: the caller opened these two descriptors for this process and named them in the arguments; nothing here has used them.
    let (socket, image) = unsafe { (OwnedFd::from_raw_fd(socket), OwnedFd::from_raw_fd(image)) };
    drop(image);
    Ok(UnixStream::from(socket.try_clone()?))
}

/// Says that the container stands and waits until the caller has looked at the images again.
fn may_start(caller: &mut UnixStream) -> bool {
    let mut answer = [0];
    caller.write_all(b"S").is_ok() && caller.read_exact(&mut answer).is_ok() && answer == *b"G"
}
