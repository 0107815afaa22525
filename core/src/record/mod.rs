//! The record of use: one line of JSON when a container starts, and one when it ends, where the site wants that (`log`).
//!
//! The user's own process writes it, never root, and what a user writes cannot be proven: it tells what a job ran in, for who wants to know
//! later, and is no accounting. So each user has files of his own in a directory of root's, one for each host: a line counts only if the
//! file's owner is the user that it names, which the kernel vouches for, and no two hosts append to one file, which NFS does not order. In
//! the journal the kernel vouches for the sender. In syslog nobody does, so nothing is read from there.
//!
//! A record that cannot be written stops nothing: it is written when the command runs already, and nobody waits for it for long.
//! [`entry`] is a line, [`write`] writes it, and [`read`] finds those about a job or an image.

pub mod entry;
pub mod read;
mod write;

use std::time::SystemTime;

use crate::config::Log;
use crate::plan::Plan;
use entry::{End, Entry, Head, Start, Written};

/// The record of a container that runs.
#[derive(Debug)]
pub(crate) struct Use {
    log: Log,
    head: Head,
}

impl Use {
    /// Notes the start, where the site wants a record. `step` is what a batch script calls its step.
    pub(crate) fn begin(plan: &Plan, step: Option<&str>) -> Option<Self> {
        let log = plan.log.clone()?;
        let head = Head::of_this_process(step, SystemTime::now());
        write::write(&log, &Entry::Start(Start::of(plan, head.clone())));
        Some(Self { log, head })
    }

    /// Notes the end: the command's exit code or signal, where one command is all that ran, and what has become of its writes.
    pub(crate) fn end(self, exit: Option<i32>, signal: Option<i32>, written: Written) {
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        write::write(&self.log, &Entry::End(End { head: Head { time, ..self.head }, exit, signal, written }));
    }
}
