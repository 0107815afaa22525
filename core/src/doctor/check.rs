//! Checks and the report that they make.

use std::path::Path;

use condatainer_images::system::escape::without_numbers;
use serde::Serialize;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Containers start, but something is missing, slow or not safe.
    Warning,
    /// Containers, or a kind of them, do not start.
    Failed,
    /// Not looked at; the check says why.
    Skipped,
}

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// The kernel and its devices.
    Machine,
    /// Subordinate ids.
    Fakeroot,
    /// The container engine and its helpers.
    Engine,
    /// Programs that work on images.
    Tools,
    /// Configuration, base, directories, file systems.
    Files,
    /// Slurm and the plugin.
    Slurm,
    /// A real start.
    Start,
}

impl Group {
    /// One word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Fakeroot => "fakeroot",
            Self::Engine => "engine",
            Self::Tools => "tools",
            Self::Files => "files",
            Self::Slurm => "slurm",
            Self::Start => "start",
        }
    }
}

/// The ids of all checks, in the order of the report. They do not change from release to release.
pub const IDS: [&str; 29] = [
    "kernel",
    "user-namespaces",
    "overlayfs",
    "dev-fuse",
    "cgroup",
    "gpu",
    "subuid",
    "newuidmap",
    "engine",
    "engine-config",
    "fuse2fs",
    "fuse-overlayfs",
    "squashfuse",
    "fusermount",
    "interposers",
    "mounts",
    "e2fsprogs",
    "squashfs-tools",
    "configuration",
    "base",
    "tmpdir",
    "scratch",
    "image-dirs",
    "policy",
    "log",
    "locks",
    "slurm",
    "plugin",
    "start",
];

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// One of [`IDS`].
    pub id: &'static str,
    /// What it is about.
    pub group: Group,
    /// How it came out.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do, where there is something to do.
    pub cure: Option<String>,
}

impl Check {
    pub(crate) fn ok(id: &'static str, found: impl Into<String>) -> Self {
        Self::new(id, Status::Ok, found, None)
    }

    pub(crate) fn warning(id: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(id, Status::Warning, found, Some(cure.into()))
    }

    pub(crate) fn failed(id: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(id, Status::Failed, found, Some(cure.into()))
    }

    pub(crate) fn skipped(id: &'static str, why: impl Into<String>) -> Self {
        Self::new(id, Status::Skipped, why, None)
    }

    /// A check that is in order, with something that can be done all the same.
    pub(crate) fn and(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }

    fn new(id: &'static str, status: Status, found: impl Into<String>, cure: Option<String>) -> Self {
        Self { id, group: group_of(id), status, found: without_numbers(&found.into()), cure }
    }
}

fn group_of(id: &str) -> Group {
    match id {
        "kernel" | "user-namespaces" | "overlayfs" | "dev-fuse" | "cgroup" | "gpu" => Group::Machine,
        "subuid" | "newuidmap" => Group::Fakeroot,
        "e2fsprogs" | "squashfs-tools" => Group::Tools,
        "configuration" | "base" | "tmpdir" | "scratch" | "image-dirs" | "policy" | "log" | "locks" => Group::Files,
        "slurm" | "plugin" => Group::Slurm,
        "start" => Group::Start,
        _ => Group::Engine,
    }
}

/// What is wrong with a path; most errors name it already.
pub(crate) fn about(path: &Path, why: &str) -> String {
    let path = path.display().to_string();
    if why.starts_with(&path) { why.into() } else { format!("{path}: {why}") }
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Nothing failed.
    pub ok: bool,
    /// In the order of [`IDS`].
    pub checks: Vec<Check>,
}

impl Report {
    /// Of these checks, in the order of [`IDS`]; those in `skip` are left out.
    pub fn new(mut checks: Vec<Check>, skip: &[String]) -> Self {
        for check in checks.iter_mut().filter(|check| skip.iter().any(|id| id == check.id)) {
            *check = Check::skipped(check.id, "left out by --skip");
        }
        checks.sort_by_key(|check| IDS.iter().position(|id| *id == check.id));
        Self { ok: checks.iter().all(|check| check.status != Status::Failed), checks }
    }

    /// How many checks came out like this.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        self.checks.iter().filter(|check| check.status == status).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_does_not_count() {
        let checks = || vec![Check::failed("plugin", "x", "y"), Check::ok("kernel", "6.1")];
        let report = Report::new(checks(), &[]);
        assert!(!report.ok && report.checks[0].id == "kernel");
        let report = Report::new(checks(), &["plugin".into()]);
        assert!(report.ok && report.count(Status::Skipped) == 1);
    }

    #[test]
    fn ids_are_told_once_and_groups_hang_together() {
        let groups: Vec<_> = IDS.iter().map(|id| group_of(id)).collect();
        assert!(groups.is_sorted());
        let mut ids = IDS.to_vec();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), IDS.len());
    }
}
