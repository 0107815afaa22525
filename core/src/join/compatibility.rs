//! Whether this process can enter a container, as far as that can be told without trying.

use nix::unistd::geteuid;

use crate::run::session::{Record, SECCOMP};
use condatainer_images::system::process::Process;

/// Where the keeper and a task see the machine differently.
pub(crate) const OTHER_VIEW: &str = "this process sees other file systems than the one that keeps the container";

pub(super) const OVER: &str = "it has ended just now";
const ELSEWHERE: &str = "its command has gone into namespaces of its own";

/// Whether this process is in the namespaces of the one that keeps the container.
pub(super) fn sees_the_same(keeper: &Process) -> bool {
    let this = Process::this();
    this.shares(keeper, "mnt") && this.shares(keeper, "user")
}

/// What a process like this one cannot take over from the container's first.
pub(crate) fn why_not_shared(this: &Process, first: &Process) -> Option<&'static str> {
    why_not_taken_over(this, first, first.status(SECCOMP))
}

/// The same of a session, whose first process has become its command: what that does to itself says nothing of the container.
pub(super) fn why_not_joined(record: &Record) -> Option<&'static str> {
    let first = Process::numbered(record.first);
    let Some(namespace) = first.namespace_name("mnt") else { return Some(OVER) };
    if namespace != record.namespace || first.namespace_name("user") != record.user_namespace {
        return Some(ELSEWHERE);
    }
    why_not_taken_over(&Process::this(), &first, record.status(SECCOMP))
}

fn why_not_taken_over(this: &Process, first: &Process, filter: Option<String>) -> Option<&'static str> {
    // Then its mounts belong to root, and only root may enter them.
    if !geteuid().is_root() && this.shares(first, "user") && !this.shares(first, "mnt") {
        return Some("the container has no user namespace of its own (is Apptainer setuid, behind a wrapper?)");
    }
    match (this.shares(first, "pid"), this.status(SECCOMP) == filter) {
        (false, _) => Some("the container numbers its processes itself"),
        (_, false) => Some("the container's filter of system calls cannot be given to another process"),
        _ => None,
    }
}
