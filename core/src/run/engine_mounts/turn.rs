//! The turn of an image: who starts an engine that is going to lock it, and who looks once more before.
//!
//! The engine takes the image's lock some time after we have looked, and if somebody was faster it ends in words of its own. When it has
//! ended he may be gone, and nothing tells any more why it failed. So of all that are ours only one at a time is between his last look and
//! the lock: the others are told that the image is in use, or wait. Whoever calls the engine by hand takes no turns.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::O_NONBLOCK;

use crate::plan::layers::in_use;
use crate::plan::refusal::Refusal;
use crate::plan::{Overlay, Plan};
use crate::request::layer::Mode;
use crate::run::error::RunError;
use crate::run::images::as_planned;
use condatainer_images::acquire::usage::usage;
use condatainer_images::image::{self, Opened};
use condatainer_images::lock::{self, Access, Guard, LockError};

/// Who is at it leaves his note soon, or is through.
const PATIENCE: Duration = Duration::from_secs(3);
const INTERVAL: Duration = Duration::from_millis(20);

/// Takes the turn of every image that the engine is going to lock, and looks whether it can be had as it was planned.
pub(crate) fn take(plan: &Plan) -> Result<Vec<Guard>, RunError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match take_at_once(plan) {
            Err(RunError::Refused(refusal)) if refusal.may_be_momentary() && Instant::now() < deadline => {
                thread::sleep(INTERVAL);
            }
            taken => return taken,
        }
    }
}

fn take_at_once(plan: &Plan) -> Result<Vec<Guard>, RunError> {
    let images = plan.stack.iter().filter_map(|overlay| match overlay {
        Overlay::Rw(path) => Some((path, Mode::Rw)),
        Overlay::Ro(path) => Some((path, Mode::Ro)),
        Overlay::Scratch(_) | Overlay::ScratchImage(_) | Overlay::Memory(_) => None,
    });
    let mut turns = Vec::new();
    for (path, mode) in images {
        let changed = |what| RunError::Changed { path: path.clone(), what };
        let opened = image::open(path).map_err(|_| changed("was removed or replaced"))?;
        if opened.image.ext_window().is_none() {
            continue;
        }
        turns.extend(turn(path, mode, &opened)?);
        if let Some(refusal) = in_use(path, mode, &usage(&opened)) {
            return Err(refusal.into());
        }
        let Some(watch) = plan.watch.iter().find(|watch| watch.path == *path) else { continue };
        let probe = as_planned::probe(&opened, watch)?;
        if mode == Mode::Rw && probe.is_some_and(|probe| !probe.state.is_clean()) {
            return Err(changed("was left by a writer that did not close it"));
        }
    }
    Ok(turns)
}

fn turn(path: &Path, mode: Mode, opened: &Opened) -> Result<Option<Guard>, RunError> {
    let taken = match mode {
        Mode::Rw => match File::options().read(true).write(true).custom_flags(O_NONBLOCK).open(path) {
            Ok(file) => lock::take_turn(&file, Access::Write),
            // The engine says why.
            Err(_) => return Ok(None),
        },
        Mode::Ro | Mode::Tmp => lock::take_turn(&opened.file, Access::Read),
    };
    match taken {
        Ok(turn) => Ok(turn),
        Err(LockError::Busy(by)) => {
            Err(in_use(path, mode, &usage(opened)).unwrap_or_else(|| at_it(path, mode, by, opened)).into())
        }
        Err(LockError::Io(_)) => Ok(None),
    }
}

/// Somebody is just starting, and has no lock yet.
fn at_it(path: &Path, mode: Mode, by: Access, opened: &Opened) -> Refusal {
    let window = opened.image.ext_window().unwrap_or(lock::WHOLE_FILE);
    let (path, seen) = (path.into(), lock::who(path, &opened.file, window, Access::Write));
    match by {
        Access::Read => Refusal::HasReaders { path, seen },
        Access::Write => Refusal::HasWriter { path, mode, holder: None, seen },
    }
}
