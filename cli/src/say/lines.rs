//! What is said to the user: on stderr, one line each, under the program's name.

use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};

use condatainer_images::system::escape::{message, one_line};

const QUIET: u8 = 0;
const NORMAL: u8 = 1;
const VERBOSE: u8 = 2;

static LEVEL: AtomicU8 = AtomicU8::new(NORMAL);

/// Takes `-q` and `-v` into account from now on.
pub(crate) fn set_level(quiet: bool, verbose: bool) {
    let level = match (quiet, verbose) {
        (true, _) => QUIET,
        (_, true) => VERBOSE,
        _ => NORMAL,
    };
    LEVEL.store(level, Ordering::Relaxed);
}

/// Whether only errors are to be said.
pub(crate) fn is_quiet() -> bool {
    LEVEL.load(Ordering::Relaxed) == QUIET
}

/// Whether what is being done is to be said too.
pub(crate) fn is_verbose() -> bool {
    LEVEL.load(Ordering::Relaxed) >= VERBOSE
}

/// A line of a program that we have called, as it said it, without colours: Apptainer's starter does not ask where it writes to.
pub(crate) fn foreign(line: &str) {
    let plain = anstream::adapter::strip_str(line).to_string();
    let _ = std::io::stderr().write_all(format!("{}\n", one_line(&plain)).as_bytes());
}

/// A failure: always said.
pub(crate) fn error(line: &str) {
    write(&message(line));
}

/// Something worth knowing: said unless `-q`.
pub(crate) fn notice(line: &str) {
    if LEVEL.load(Ordering::Relaxed) >= NORMAL {
        write(&message(line));
    }
}

/// What is being done: said with `-v`.
pub(crate) fn detail(line: &str) {
    if is_verbose() {
        write(&message(line));
    }
}

/// One write, so that the lines of several tasks do not mix; nobody can be told when stderr is closed.
fn write(line: &str) {
    let _ = std::io::stderr().write_all(format!("condatainer: {line}\n").as_bytes());
}
