//! The interposer: stands in front of a FUSE program of the engine and becomes it, deaf to the signals that a step gets. In front
//! of a fuse2fs that mounts an image it stays, as its guard. Into fuse-overlayfs it loads the preload (`programs/preload/`).
//!
//! Links with the programs' names point to it, first in the engine's PATH (see `run::engine::daemons`). Apptainer calls its FUSE programs
//! up to eight times in a start, mostly to see whether they are there. So this is a program of its own, and one without a C
//! library, whose start alone takes eight times as long as all that is done here. In a start in which it mounts no image it asks squashfuse_ll three
//! times all the same what options that has. The link in the directory `no-images` answers in its stead, with nothing.

#![no_std]
#![no_main]
#![no_builtins]

#[path = "../freestanding/mod.rs"]
mod freestanding;
mod guard;
mod kernel;
#[path = "../freestanding/library.rs"]
mod library;
mod preload;
mod programs;
#[path = "../freestanding/start.rs"]
mod start;

use freestanding::complain::complain;
use freestanding::errno::ENOENT;
use freestanding::path::{PATH_MAX, decimal, joined};
use freestanding::signals::{self, Change, set_of};
use start::Started;

/// It ends only where it cannot become the program, or after the program.
const FAILED: u8 = 1;
const BROKEN: u8 = 1;
/// The directory of links for starts in which the engine mounts no image. Also in `run::engine_mounts::daemons`.
const NO_IMAGES: &[u8] = b"/no-images";
const CANNOT: &[u8] = b"cannot be started: ";

/// What the program does not get to see: SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGXCPU (signal(7)). SIGHUP is not
/// among them: it is how a program can still be asked to end.
const BLOCKED: [u8; 7] = [2, 3, 10, 12, 14, 15, 24];

fn main(started: &mut Started) -> u8 {
    let called = started.arguments().next().unwrap_or_default();
    let name = called.rsplit(is_slash).next().unwrap_or_default();
    let own = trimmed(called.strip_suffix(name).unwrap_or_default());
    if own.ends_with(NO_IMAGES) && started.arguments().nth(1).is_none() {
        return 0;
    }
    signals::change_mask(Change::Block, set_of(BLOCKED.into_iter()));
    if writes_late(name, started)
        && let Some(program) = kernel::fork()
    {
        return guard::guard(program);
    }
    let mut room = preload::Room::new();
    if name == b"fuse-overlayfs" {
        preload::load(own, started, &mut room);
    }
    match become_program(own, name, started) {
        ENOENT => complain(name, &[CANNOT, b"no such program in PATH"]),
        errno => {
            let mut digits = [0; 20];
            complain(
                name,
                &[CANNOT, b"the system's error number ", decimal(errno.unsigned_abs() as usize, &mut digits)],
            );
        }
    }
    FAILED
}

/// Whether the program has something to write when its mount is gone: fuse2fs, called to mount an image.
fn writes_late(name: &[u8], started: &Started) -> bool {
    name == b"fuse2fs" && started.arguments().any(|argument| argument == b"-f")
}

/// Becomes the next program of this name in PATH, or of those that an engine brings along, or of the system's; returns only why that failed. What comes next is counted from the last place
/// where this one stands, so that two of its kind in PATH do not become each other for ever.
fn become_program(own: &[u8], name: &[u8], started: &mut Started) -> i32 {
    let path = started.environment().find_map(|variable| variable.strip_prefix(b"PATH=")).unwrap_or_default();
    let others = || programs::OF_APPTAINER.into_iter().chain(programs::OF_THE_SYSTEM).map(str::as_bytes);
    let directories = || path.split(|byte| *byte == b':').chain(others()).map(trimmed);
    let ours = directories().enumerate().filter(|(_, dir)| *dir == own).last();
    let next = ours.map_or(0, |(at, _)| at + 1);
    let mut why = ENOENT;
    for directory in directories().skip(next).filter(|dir| dir.starts_with(b"/")) {
        let mut room = [0; PATH_MAX];
        if let Some(file) = joined(&mut room, &[directory, b"/", name]) {
            match started.become_file(file) {
                ENOENT => {}
                other => why = other,
            }
        }
    }
    why
}

/// A directory without the slashes at its end.
fn trimmed(directory: &[u8]) -> &[u8] {
    directory.rsplit(|byte| !is_slash(byte)).next().and_then(|end| directory.strip_suffix(end)).unwrap_or(directory)
}

fn is_slash(byte: &u8) -> bool {
    *byte == b'/'
}
