//! FUSE daemons of a container whose engine and processes were all killed: they hold its image for ever, for nobody.
//!
//! They are the same user's, no engine stands above them, and nothing but FUSE daemons is left in their user namespace. They are
//! asked to end, as those of a living engine are.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::machine::interposers::FUSE_PROGRAMS;
use crate::run::engine::leftovers::has_engine;
use crate::run::engine_mounts::daemons;
use condatainer_images::image;
use condatainer_images::lock;
use condatainer_images::system::process::Process;

/// fuse2fs writes what it still has in memory.
const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(5);

/// Ends the daemons that hold this image for nobody, and waits until it is free; the line to say about it, if there were any.
#[must_use]
pub fn end(image: &Path) -> Option<String> {
    let opened = image::open(image).ok()?;
    let users = lock::users(opened.image.dev, opened.image.ino);
    let namespace = users.iter().find_map(|user| abandoned_namespace(&Process::numbered(user.pid)))?;
    let left: Vec<Process> = processes_in(&namespace).collect();
    let daemons = left.iter().filter(|one| one.name() != daemons::GUARD);
    let names: Vec<String> = daemons.filter_map(|one| Some(format!("{} ({})", one.name(), one.pid()?))).collect();
    daemons::ask(&left);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && processes_in(&namespace).next().is_some() {
        std::thread::sleep(INTERVAL);
    }
    let what = match processes_in(&namespace).next() {
        None => "ended what a killed container had left behind",
        Some(_) => "what a killed container has left behind is still writing",
    };
    Some(format!("{}: {what}: {}", image.display(), names.join(", ")))
}

/// The user namespace of a FUSE daemon, if there is nothing in it but FUSE daemons without an engine.
fn abandoned_namespace(daemon: &Process) -> Option<PathBuf> {
    let namespace = daemon.namespace_name("user")?;
    let is_daemon = |one: &Process| one.name() == daemons::GUARD || FUSE_PROGRAMS.contains(&one.name().as_str());
    let is_abandoned = |one: Process| is_daemon(&one) && !has_engine(&one);
    let is_own = Process::this().namespace_name("user")? == namespace;
    (!is_own && processes_in(&namespace).all(is_abandoned)).then_some(namespace)
}

/// The processes of a user namespace, as far as they show it.
fn processes_in(namespace: &Path) -> impl Iterator<Item = Process> {
    Process::all().filter(move |process| process.namespace_name("user").as_deref() == Some(namespace))
}
