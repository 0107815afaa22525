//! `condatainer overlay info`: what an image is, whom it belongs to, and whether it is in use.

use std::path::PathBuf;
use std::process::ExitCode;

use condatainer_core::ext::{Found, Probe};
use condatainer_core::facts::{State, Usage};
use condatainer_core::image::{self, Image};
use condatainer_core::survey;
use serde::Serialize;

use crate::args::InfoArgs;
use crate::exit::Failure;

/// The report; the field names are the contract of `--json`.
#[derive(Debug, Serialize)]
struct Info {
    path: PathBuf,
    kind: &'static str,
    size_bytes: u64,
    allocated_bytes: u64,
    #[serde(flatten)]
    ext: Option<ExtInfo>,
}

/// What only an ext image (or the ext overlay of a SIF) has.
#[derive(Debug, Serialize)]
struct ExtInfo {
    block_size: u32,
    blocks_total: u64,
    blocks_free: u64,
    inodes_total: u32,
    inodes_free: u32,
    upper: Option<Directory>,
    work: Option<Directory>,
    state: &'static str,
    features: Vec<String>,
    uuid: String,
    label: String,
    apptainer_accepts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    apptainer_reason: Option<String>,
    locked_by: Option<String>,
}

#[derive(Debug, Serialize)]
struct Directory {
    uid: u32,
    gid: u32,
    mode: String,
}

pub(crate) fn info(args: &InfoArgs) -> Result<ExitCode, Failure> {
    let opened = image::open(&args.image).map_err(Failure::failed)?;
    let probe = opened.probe().map_err(Failure::failed)?;
    let usage = survey::usage(&opened);
    let info = Info::new(&opened.image, probe.map(|probe| ExtInfo::new(probe, &usage)));
    if args.json {
        println!("{}", serde_json::to_string_pretty(&info).map_err(Failure::failed)?);
    } else {
        print!("{}", info.text());
    }
    Ok(ExitCode::SUCCESS)
}

impl Info {
    fn new(image: &Image, ext: Option<ExtInfo>) -> Self {
        Self {
            path: image.path.clone(),
            kind: image.kind.name(),
            size_bytes: image.size_bytes,
            allocated_bytes: image.allocated_bytes,
            ext,
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![
            ("path", self.path.display().to_string()),
            ("kind", self.kind.into()),
            ("size", format!("{} ({} on disk)", bytes(self.size_bytes), bytes(self.allocated_bytes))),
        ];
        if let Some(ext) = &self.ext {
            lines.extend(ext.lines());
        }
        lines.iter().map(|(name, value)| format!("{name:<10} {value}\n")).collect()
    }
}

impl ExtInfo {
    fn new(probe: Probe, usage: &Usage) -> Self {
        Self {
            block_size: probe.block_size,
            blocks_total: probe.blocks_total,
            blocks_free: probe.blocks_free,
            inodes_total: probe.inodes_total,
            inodes_free: probe.inodes_free,
            upper: directory(&probe.upper),
            work: directory(&probe.work),
            state: state(survey::state(probe.state), usage),
            features: probe.features.names(),
            uuid: probe.uuid,
            label: probe.label,
            apptainer_accepts: probe.apptainer.is_ok(),
            apptainer_reason: probe.apptainer.err(),
            locked_by: locked_by(usage),
        }
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let block = u64::from(self.block_size);
        let free = bytes(self.blocks_free.saturating_mul(block));
        let owner = |dir: &Option<Directory>| {
            dir.as_ref().map_or_else(|| "missing".into(), |d| format!("{}:{} {}", d.uid, d.gid, d.mode))
        };
        let apptainer =
            self.apptainer_reason.as_ref().map_or_else(|| "accepts it".into(), |why| format!("refuses it: {why}"));
        vec![
            ("free", format!("{free}, {} of {} inodes", self.inodes_free, self.inodes_total)),
            ("upper", owner(&self.upper)),
            ("work", owner(&self.work)),
            ("state", self.state.into()),
            ("locked by", self.locked_by.clone().unwrap_or_else(|| "nobody".into())),
            ("apptainer", apptainer),
            ("uuid", self.uuid.clone()),
            ("features", self.features.join(" ")),
        ]
    }
}

fn directory(found: &Found) -> Option<Directory> {
    found.owner().map(|o| Directory { uid: o.uid, gid: o.gid, mode: format!("{:04o}", o.mode) })
}

/// An image that is not cleanly unmounted and locked by somebody is simply in use.
fn state(state: State, usage: &Usage) -> &'static str {
    match (state, usage) {
        (State::Errors, _) => "errors",
        (_, Usage::Readers | Usage::Writer { .. }) => "in-use",
        (State::Clean, _) => "clean",
        (State::Dirty, _) => "dirty",
        (State::NeedsRecovery, _) => "needs-recovery",
    }
}

fn locked_by(usage: &Usage) -> Option<String> {
    match usage {
        Usage::Free => None,
        Usage::Readers => Some("readers".into()),
        Usage::Writer { holder: Some(holder), .. } => Some(holder.to_string()),
        Usage::Writer { seen, .. } => Some(seen.clone().unwrap_or_else(|| "unknown".into())),
        Usage::Unknown { reason } => Some(format!("not to be told: {reason}")),
    }
}

/// Bytes in binary units, one decimal.
fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}
