//! FUSE daemons of a container whose engine and processes were all killed: they hold its image for ever, for nobody.
//!
//! They are the same user's, no engine stands above them, and nothing but FUSE daemons is left in their user namespace. SIGHUP makes
//! them unmount and sync. Each gets it once: a daemon that is about to end dies of the second.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::image;
use crate::lock;
use crate::run::daemons::{NAMES, stat};
use crate::run::leftovers::has_engine;

/// fuse2fs writes what it still has in memory.
const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(5);

/// Ends the daemons that hold this image for nobody, and waits until it is free; the line to say about it, if there were any.
#[must_use]
pub fn end(image: &Path) -> Option<String> {
    let opened = image::open(image).ok()?;
    let users = lock::users(opened.image.dev, opened.image.ino);
    let namespace = users.iter().find_map(|user| abandoned_namespace(i32::try_from(user.pid).ok()?))?;
    let mut daemons = processes_in(&namespace);
    daemons.sort_by_key(|(_, name)| NAMES.iter().position(|known| known == name));
    for (pid, _) in &daemons {
        let _ = kill(*pid, Signal::SIGHUP);
    }
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && !processes_in(&namespace).is_empty() {
        std::thread::sleep(INTERVAL);
    }
    let names: Vec<String> = daemons.iter().map(|(pid, name)| format!("{name} ({pid})")).collect();
    Some(format!("{}: ended what a killed container had left behind: {}", image.display(), names.join(", ")))
}

/// The user namespace of a FUSE daemon, if there is nothing in it but FUSE daemons without an engine.
fn abandoned_namespace(pid: i32) -> Option<PathBuf> {
    let namespace = namespace(pid)?;
    let is_own = namespace == fs::read_link("/proc/self/ns/user").ok()?;
    let all = processes_in(&namespace);
    let is_abandoned = |(pid, name): &(Pid, String)| NAMES.contains(&name.as_str()) && !has_engine(pid.as_raw());
    (!is_own && !all.is_empty() && all.iter().all(is_abandoned)).then_some(namespace)
}

fn namespace(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/user")).ok()
}

/// The processes of a user namespace and their names. Those of other users do not show theirs.
fn processes_in(wanted: &Path) -> Vec<(Pid, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| namespace(*pid).is_some_and(|namespace| namespace == wanted))
        .filter_map(|pid| stat(pid).map(|(pid, name, _)| (pid, name)))
        .collect()
}
