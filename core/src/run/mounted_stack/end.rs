//! The end of a stack that we have mounted: what was written reaches the disk, or is put in order where its server was killed.
//!
//! Disks may be slow, or not answer at all. So whoever waits here hears what for, and the third signal by which he says that he does
//! not want to wait ends it. An image is not put in order then, and not either where its server was killed because its disk does not answer:
//! whoever opens it next does that. The locks stay with those who still work on it.

use std::fs::File;
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use super::MountedStack;
use super::images::Locked;
use crate::run::engine::leftovers::Leftovers;
use crate::run::images::server_end::{self, End};
use condatainer_formats::ext::raw::{Fs, state_of};
use condatainer_images::image::Image;
use condatainer_images::system::process::Process;
use condatainer_stack::process::start::{Patience, Server, ServerEnd};
use condatainer_writer::device::FileDevice;

/// A server that has nothing left to write ends within it.
const MOMENT: Duration = Duration::from_millis(100);
/// After this whoever waits wants to know what for.
const SLOW: Duration = Duration::from_secs(2);
/// Nobody waits longer for an image to be put in order where no container has stood.
const LONGEST: Duration = Duration::from_secs(30);

/// Who waits.
pub(crate) struct Waiter<'a> {
    /// Tells him something.
    pub(crate) say: &'a mut dyn FnMut(&str),
    /// Whether he does not want to wait any longer.
    pub(crate) gives_up: &'a mut dyn FnMut() -> bool,
}

/// The line for who waits for a slow disk.
pub(crate) fn still_writing(image: &Path) -> String {
    format!("{}: waiting until what was written is on the disk", image.display())
}

impl MountedStack {
    /// After the engine's end: waits for the server's.
    pub(crate) fn end(mut self, waiter: &mut Waiter<'_>) -> ServerEnd {
        let Some(server) = self.server.take() else { return ServerEnd::default() };
        if self.is_killed {
            return self.end_of_killed(server, waiter);
        }
        if self.own.workspace.is_none() {
            return server.end(Patience::Short);
        }
        if !server.ends_within(MOMENT) {
            // Somebody whom the command has left behind may keep the mount. He may save what he has; a user of the container's whom we
            // cannot send a signal loses the files.
            self.inside.iter().filter(|inside| inside.are_ours()).for_each(Leftovers::end);
            server.ask_to_end();
        }
        let path = self.own.workspace.clone().unwrap_or_default();
        if !has_ended(&server, &path, waiter) {
            server.leave();
            return self.left("it was not waited for until what was written was on the disk", Vec::new());
        }
        let end = server.end(Patience::UntilWritten);
        if end.has_failed {
            if !self.recover(waiter) {
                return self.left("it was not waited for until its journal was replayed", end.lines);
            }
        } else if let Some((image, file)) = self.written().map(|at| parts(&self.images[at]))
            && let Some(window) = image.ext_window()
            && Fs::open(file, window, u64::MAX).is_ok_and(|fs| state_of(&fs.sb).is_clean())
        {
            server_end::note(file, window, End::Whole);
        }
        end
    }

    /// It did not answer somebody who was to end.
    fn end_of_killed(mut self, server: Server, waiter: &mut Waiter<'_>) -> ServerEnd {
        let lines = vec!["what served the layers did not answer a process that was to end, and was killed".into()];
        let is_gone = server.ends_within(SLOW);
        if !is_gone {
            server.leave();
        }
        if self.own.workspace.is_none() || is_gone && !self.disk_hangs && self.recover(waiter) {
            return ServerEnd { lines, has_failed: true };
        }
        self.left("its disk does not answer", lines)
    }

    /// The image is for whoever opens it next to put in order.
    fn left(&mut self, why: &str, mut lines: Vec<String>) -> ServerEnd {
        if let Some(path) = &self.own.workspace {
            let path = path.display();
            lines
                .push(format!("{path}: {why}: what was written last may be missing; its next use replays its journal"));
        }
        ServerEnd { lines, has_failed: true }
    }

    /// Which of the images is written.
    fn written(&self) -> Option<usize> {
        self.images.iter().position(|locked| Some(&locked.opened.image.path) == self.own.workspace.as_ref())
    }

    /// Puts the image of a killed server in order while it is still locked: fuse2fs of Debian 12 crashes on a journal that was not replayed.
    /// `false` where that was not waited for; its locks end with this process then.
    fn recover(&mut self, waiter: &mut Waiter<'_>) -> bool {
        let Some(at) = self.written() else { return true };
        let (images, has_stood) = (mem::take(&mut self.images), self.inside.is_some());
        let path = images[at].opened.image.path.clone();
        let (tell, done) = mpsc::channel();
        let work = move || {
            recover(parts(&images[at]), has_stood);
            let _ = tell.send(images);
        };
        if thread::Builder::new().name("replay".into()).spawn(work).is_err() {
            return false;
        }
        let (start, mut told) = (Instant::now(), false);
        loop {
            match done.recv_timeout(MOMENT) {
                Ok(images) => self.images = images,
                Err(RecvTimeoutError::Timeout) if (waiter.gives_up)() => return false,
                Err(RecvTimeoutError::Timeout) => {
                    if start.elapsed() >= SLOW && !mem::replace(&mut told, true) {
                        (waiter.say)(&format!("{}: its journal is being replayed", path.display()));
                    }
                    continue;
                }
                // The next use finds what has gone wrong.
                Err(RecvTimeoutError::Disconnected) => {}
            }
            return true;
        }
    }
}

/// Waits until it has ended; `false` where that is not wanted any longer.
fn has_ended(server: &Server, image: &Path, waiter: &mut Waiter<'_>) -> bool {
    let (start, mut told) = (Instant::now(), false);
    while !server.ends_within(MOMENT) {
        if (waiter.gives_up)() {
            return false;
        }
        if start.elapsed() < SLOW {
            continue;
        }
        if !mem::replace(&mut told, true) {
            (waiter.say)(&still_writing(image));
        }
        let process = Process::numbered(server.number());
        if let Some(pid) = process.pid().filter(|_| process.state() == Some('T')) {
            // Somebody has stopped it, and it has nothing to do but to write.
            let _ = kill(pid, Signal::SIGCONT);
        }
    }
    true
}

fn parts(locked: &Locked) -> (&Image, &File) {
    (&locked.opened.image, &locked.opened.file)
}

fn recover((image, file): (&Image, &File), has_stood: bool) {
    if let (Some(window), Ok(device)) = (image.ext_window(), file.try_clone()) {
        // Whoever opens it next does what cannot be done now.
        let _ = condatainer_writer::recover(Arc::new(FileDevice::new(device, window)));
        if has_stood {
            server_end::note(file, window, End::Killed);
        }
    }
}

impl Drop for MountedStack {
    fn drop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        // Nothing is replayed while it still writes.
        server.kill();
        if server.ends_within(SLOW) {
            drop(server);
            let start = Instant::now();
            let (mut say, mut gives_up) = (|_: &str| {}, || start.elapsed() >= LONGEST);
            self.recover(&mut Waiter { say: &mut say, gives_up: &mut gives_up });
        } else {
            server.leave();
        }
    }
}
