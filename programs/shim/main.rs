//! The shim: the first process inside a container, which becomes the user's command.
//!
//! Apptainer exits with 255 for its own failures and for a command that it cannot find, so its exit code alone proves nothing.
//! The shim tells the caller over a socket that the container stands, waits for its word, and reports why an exec failed. It
//! sets the environment literally (Apptainer's own `--env` is evaluated by a shell) and leaves nothing behind: it lives in a
//! memory file and is started through an inherited descriptor, so the image needs no mount point and no shell for it. It has no
//! C library, so the image needs none either, and every start copies and loads some kilobytes instead of a megabyte.
//!
//! Called as `/proc/self/fd/IMAGE SOCKET IMAGE JOB [ENGINE'S]...`, all of them numbers of descriptors. The job is a file, see [`command`]: what it
//! says is for this process alone, and everybody can read arguments.
//! Says on the socket: `S` when it runs in its working directory (`ST` without the directory for temporary files), or `D` and the errno in decimal why it cannot; then, after the answer `G` (perhaps with a descriptor of a directory), `E` and the errno in decimal if the exec failed. A step
//! container's shim never gets the answer: it waits until nobody needs the container any more.

#![no_std]
#![no_main]
#![no_builtins]

extern crate alloc;

mod command;
#[path = "../freestanding/mod.rs"]
mod freestanding;
mod kernel;
#[path = "../freestanding/library.rs"]
mod library;
mod memory;
#[path = "../freestanding/start.rs"]
mod start;

use alloc::string::ToString;

use command::{Job, Variables};
use freestanding::errno;
use freestanding::errno::ENOENT;
use freestanding::exit_code::{NOT_EXECUTABLE, NOT_FOUND, NOT_STARTED};
use freestanding::file::close;
use kernel::{Caller, Kernel};
use start::Started;

/// What a panic exits with.
const BROKEN: u8 = NOT_STARTED;

fn main(started: &mut Started) -> u8 {
    let mut arguments = started.arguments().skip(1);
    let numbers = [(); 3].map(|()| number(arguments.next()));
    let [Some(socket), Some(image), Some(job)] = numbers else {
        return NOT_STARTED;
    };
    let (Some(mut job), Some(caller)) = (kernel::content(job).and_then(Job::read), Caller::adopt(socket, image)) else {
        return NOT_STARTED;
    };
    arguments.filter_map(|word| number(Some(word))).for_each(close);
    if job.no_new_privileges && !kernel::forbid_new_privileges() {
        return NOT_STARTED;
    }
    let mut system = Kernel::default();
    if let Err(errno) = job.enter(&system) {
        caller.say(&[b"D", errno.to_string().as_bytes()].concat());
        return NOT_STARTED;
    }
    let mut variables = Variables::new();
    variables.extend(started.environment().filter_map(command::assignment));
    let lacks_tmpdir = job.lacks_tmpdir(&system, &variables);
    let Some(startup) = may_start(&caller, lacks_tmpdir) else { return NOT_STARTED };
    system.startup = startup;
    let errno = job.become_command(&system, &variables);
    caller.say(&[b"E", errno.to_string().as_bytes()].concat());
    if errno == ENOENT { NOT_FOUND } else { NOT_EXECUTABLE }
}

fn number(argument: Option<&[u8]>) -> Option<usize> {
    core::str::from_utf8(argument?).ok()?.parse().ok()
}

/// Says that the container stands and waits until the caller has looked at the images again. What comes with the word to go on is
/// a descriptor of the directory with a zsh's files.
fn may_start(caller: &Caller, lacks_tmpdir: bool) -> Option<Option<usize>> {
    let is_said = caller.say(if lacks_tmpdir { b"ST" } else { b"S" });
    caller.answer().filter(|(word, _)| is_said && *word == b'G').map(|(_, startup)| startup)
}
