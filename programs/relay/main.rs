//! A relay: stands in a step's container in the place of one of Slurm's commands, which run outside of it.
//!
//! Links with the commands' names point to it, in a directory that the container shows (`core/src/step/relay/`). It hands its standard
//! streams to the keeper of the container, which has the command run on the node; it passes on the signals that it gets, and
//! ends as the command did. All else (arguments, variables, directory, limits) is read from its own process. It runs in every
//! image, so it is linked without a C library.

#![no_std]
#![no_main]
#![no_builtins]

#[path = "../freestanding/mod.rs"]
mod freestanding;
mod kernel;
#[path = "../freestanding/library.rs"]
mod library;
mod meeting;
#[path = "../freestanding/start.rs"]
mod start;

use freestanding::complain::complain;
use freestanding::exit_code::NOT_STARTED;
use kernel::{Event, Signals, Socket};
use meeting::{EXITED, SIGNALED, VARIABLE};
use start::Started;

/// The exit code of a panic, and wherever the command was not started.
const BROKEN: u8 = NOT_STARTED;

fn main(started: &mut Started) -> u8 {
    let called = started.arguments().next().unwrap_or_default();
    let name = called.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let address = |variable: &'static [u8]| variable.strip_prefix(VARIABLE.as_bytes())?.strip_prefix(b"=");
    let Some(address) = started.environment().find_map(address) else {
        return not_run(
            name,
            b"it runs outside of this container, and CONDATAINER_RELAY, which leads there, is not set",
        );
    };
    // Before any other descriptor could take their place.
    kernel::open_missing_streams();
    kernel::leave_terminal_to_foreground();
    let signals = Signals::hold(name);
    let Some(socket) = Socket::connect(address).filter(Socket::hand_over_streams) else {
        return not_run(name, b"it runs outside of this container, which is kept by nobody any more");
    };
    loop {
        match kernel::wait(&signals, &socket) {
            Event::Signal(signal) => {
                socket.send(signal);
                signals.stop_for(signal);
            }
            Event::Answer([EXITED, code]) => return code,
            Event::Answer([SIGNALED, signal]) => {
                signals.die_by(signal);
                return signal.wrapping_add(128);
            }
            Event::Answer(_) | Event::Closed => {
                return not_run(name, b"what ran it outside of this container is gone");
            }
            Event::Nothing => {}
        }
    }
}

/// The exit code of a command that did not start, or is lost.
fn not_run(name: &[u8], why: &[u8]) -> u8 {
    complain(name, &[why]);
    BROKEN
}
