//! One line of the record: who started what, on which files, and how it ended. No command, no variable, no directory.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::plan::{Overlay, Plan};
use condatainer_images::image::{self, Opened};
use condatainer_images::system::process::host_name;
use condatainer_images::system::user::Caller;

/// The form of a line.
const VERSION: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Entry {
    /// A container has started.
    Start(Start),
    /// It has ended.
    End(End),
}

/// What both lines of a container say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The form of the line.
    pub v: u32,
    /// The container, the same in both lines.
    pub id: String,
    /// When, in UTC (RFC 3339).
    pub time: String,
    /// Login name.
    pub user: String,
    /// User id.
    pub uid: u32,
    /// Host name.
    pub host: String,
    /// Slurm job, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The same as a part of an array, `JOB_TASK`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// Its step: a number, or `batch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

/// A start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Who, where and when.
    #[serde(flatten)]
    pub head: Head,
    /// The base.
    pub base: File,
    /// The layers, lowest first.
    pub layers: Vec<File>,
    /// Whether what is written is gone at the end.
    pub tmp: bool,
    /// Whether the user is root inside.
    pub fakeroot: bool,
    /// Who mounts: `condatainer` or the engine.
    pub mounts: String,
    /// The engine's program.
    pub engine: PathBuf,
}

/// An end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The same, with the time of the end.
    #[serde(flatten)]
    pub head: Head,
    /// The command's exit code; none in a step or batch script: Slurm's accounting has those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// What has become of the writes.
    pub written: Written,
}

/// What has become of what was written, as far as anybody can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Written {
    /// Nothing is missing.
    Kept,
    /// Some of it may be.
    Lost,
    /// The layers could not be served to the end.
    Unserved,
}

/// A base or a layer: enough to tell later whether a file is still that one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// As it was started.
    pub path: PathBuf,
    /// `ro` or `rw`; none for a base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `ext3`, `squashfs`, `sif`, `directory`; none where it could not be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// In bytes; none for a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When a squashfs was made; of others, when the file was written last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Of an ext image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
}

impl Entry {
    /// What both kinds say.
    #[must_use]
    pub fn head(&self) -> &Head {
        match self {
            Self::Start(start) => &start.head,
            Self::End(end) => &end.head,
        }
    }
}

impl Head {
    pub(super) fn of_this_process(step: Option<&str>, now: SystemTime) -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let (uid, name) = Caller::current()
            .map_or_else(|_| (nix::unistd::geteuid().as_raw(), String::new()), |caller| (caller.uid, caller.name));
        let nanos = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let (job, host) = (variable("SLURM_JOB_ID"), host_name());
        let in_array = variable("SLURM_ARRAY_JOB_ID").zip(variable("SLURM_ARRAY_TASK_ID"));
        Self {
            v: VERSION,
            id: format!("{host}-{}-{nanos}", std::process::id()),
            time: humantime::format_rfc3339_seconds(now).to_string(),
            user: name,
            uid,
            host,
            array: in_array.filter(|_| job.is_some()).map(|(job, task)| format!("{job}_{task}")),
            step: step.map(String::from).or_else(|| variable("SLURM_STEP_ID")).filter(|_| job.is_some()),
            job,
        }
    }
}

impl Start {
    pub(super) fn of(plan: &Plan, head: Head) -> Self {
        let layer = |overlay: &Overlay| match overlay {
            Overlay::Ro(path) => Some(File { mode: Some("ro".into()), ..File::at(path) }),
            Overlay::Rw(path) => Some(File { mode: Some("rw".into()), ..File::at(path) }),
            Overlay::Scratch(_) | Overlay::ScratchImage(_) | Overlay::Memory(_) => None,
        };
        let is_tmp = |overlay: &Overlay| !matches!(overlay, Overlay::Ro(_) | Overlay::Rw(_));
        let ours = plan.mounts.own().is_some();
        Self {
            head,
            base: File::at(&plan.base),
            layers: plan.stack.iter().filter_map(layer).collect(),
            tmp: plan.stack.iter().any(is_tmp),
            fakeroot: plan.fakeroot.is_some(),
            mounts: if ours { "condatainer".into() } else { plan.engine.flavour.to_string() },
            engine: plan.engine.program.clone(),
        }
    }
}

impl File {
    /// What lies there now.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        let nothing = Self { path: path.into(), mode: None, kind: None, size: None, date: None, uuid: None };
        image::open(path).map_or(nothing.clone(), |opened| Self {
            kind: Some(opened.image.kind.name().into()),
            size: (opened.image.kind != image::Kind::Directory).then_some(opened.image.size_bytes),
            date: date(&opened),
            uuid: opened.probe().ok().flatten().map(|probe| probe.uuid),
            ..nothing
        })
    }

    /// Whether it is the file that the record is about, as far as size, date and uuid tell; the mode does not count.
    #[must_use]
    pub fn is_still(&self, now: &Self) -> bool {
        (&self.kind, self.size, &self.date, &self.uuid) == (&now.kind, now.size, &now.date, &now.uuid)
    }
}

fn date(opened: &Opened) -> Option<String> {
    let made = match opened.image.kind {
        image::Kind::Squashfs => image::squashfs_info(opened).ok().map(|info| u64::from(info.created)),
        _ => opened.file.metadata().ok().and_then(|meta| u64::try_from(meta.mtime()).ok()),
    };
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(made?))?;
    Some(humantime::format_rfc3339_seconds(time).to_string())
}
