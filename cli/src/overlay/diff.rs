//! `condatainer overlay diff`: what an image changes against what lies below it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::machine::facts;
use condatainer_core::machine::survey::{self, SurveyError};
use condatainer_core::plan::refusal::Refusal;
use condatainer_core::request::layer::Mode;
use condatainer_formats::ext::FileType;
use condatainer_formats::size::Size;
use condatainer_images::acquire::usage::Usage;
use condatainer_images::image::{self, Kind, Opened};
use condatainer_images::overlay::lower::Lower;
use condatainer_images::system::escape::escape;
use condatainer_images::verbs::diff::{self, Aspect, Change, Changes, Count, Entry, Facts, Summary, Totals};
use serde::Serialize;

use crate::complete::candidates;
use crate::say;
use crate::say::bar::bar;
use crate::say::failure::Failure;
use crate::say::print;
use crate::surroundings::Surroundings;

/// Characters of the bar of a directory.
const BAR: usize = 16;

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The base image that it is used on: a .sif, a .sqf or a directory [env: CONDATAINER_BASE]
    #[arg(short, long, value_name = "IMAGE", add = ArgValueCompleter::new(candidates::bases))]
    pub(crate) base: Option<PathBuf>,
    /// A layer between base and image, lowest first; a list, repeatable
    #[arg(short, long = "overlay", value_name = "LAYER", add = ArgValueCompleter::new(candidates::layers))]
    pub(crate) overlays: Vec<String>,
    /// Sums by directory instead of single files
    #[arg(long)]
    pub(crate) summary: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The image
    #[arg(value_name = "IMG", add = ArgValueCompleter::new(candidates::images))]
    pub(crate) image: PathBuf,
}

/// The report; the field names are the contract of `--json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(serialize_with = "condatainer_images::system::json_paths::path")]
    image: &'a Path,
    #[serde(serialize_with = "condatainer_images::system::json_paths::maybe")]
    base: Option<&'a Path>,
    #[serde(serialize_with = "condatainer_images::system::json_paths::paths")]
    layers: &'a [PathBuf],
    in_use: bool,
    #[serde(flatten)]
    totals: Totals,
    unchanged_copies: Count,
    renamed_directories: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    directories: Option<Vec<Summary>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<&'a [Entry]>,
}

/// What lies below the image, lowest first.
struct Below {
    /// None where the image is a SIF that brings its base along.
    base: Option<PathBuf>,
    layers: Vec<PathBuf>,
}

pub(crate) fn diff(args: &DiffArgs) -> Result<ExitCode, Failure> {
    let opened = image::open(&args.image).map_err(Failure::failed)?;
    diff::require_ext(&opened.image).map_err(Failure::failed)?;
    let below = below(args, &opened)?;
    let in_use = warn(&opened)?;
    let changes = diff::diff(&opened, &below.open(&args.image)?).map_err(Failure::failed)?;
    let report = Report {
        image: &args.image,
        base: below.base.as_deref(),
        layers: &below.layers,
        in_use,
        totals: changes.totals,
        unchanged_copies: changes.copies,
        renamed_directories: changes.renamed_directories,
        directories: args.summary.then(|| diff::by_directory(&changes.entries)),
        entries: (!args.summary).then_some(&changes.entries),
    };
    if args.json {
        print::json(&report)?
    } else {
        print::stream(|out| put(&report, out))?
    }
    notices(args, &changes).iter().for_each(|line| say::notice(line));
    Ok(ExitCode::SUCCESS)
}

fn below(args: &DiffArgs, image: &Opened) -> Result<Below, Failure> {
    let around = Surroundings::look(Path::new(SYSTEM_FILE)).map_err(Failure::of_a_verb)?;
    let base = base(args, image, &around)?;
    Ok(Below { base, layers: layers(args, image, &around)? })
}

/// As for a start; but a SIF with an overlay has its base in itself unless another is named.
fn base(args: &DiffArgs, image: &Opened, around: &Surroundings) -> Result<Option<PathBuf>, Failure> {
    let named = around.base(args.base.as_deref()).map_err(Failure::of_a_verb)?;
    if named.is_none() && matches!(image.image.kind, Kind::Sif(_)) {
        return Ok(None);
    }
    let base = around.config.base(named).ok_or_else(|| Failure::failed(SurveyError::NoBase))?;
    match survey::base(Some(&base), &around.config).map_err(Failure::failed)?.kind {
        facts::Kind::Ext => {
            Err(Failure::failed(Refusal::ExtBase { origin: around.config.origin_of_base(&base), path: base }))
        }
        _ => Ok(Some(base)),
    }
}

/// In the order of a start: squashfs below images. The image itself may be among them, as in the command that is being looked into.
fn layers(args: &DiffArgs, image: &Opened, around: &Surroundings) -> Result<Vec<PathBuf>, Failure> {
    let (mut squashfs, mut others) = (Vec::new(), Vec::new());
    for layer in around.layers(&args.overlays).map_err(Failure::of_a_verb)? {
        let found = image::identify(&layer.path).map_err(Failure::failed)?;
        match found.kind {
            _ if (found.dev, found.ino) == (image.image.dev, image.image.ino) => {}
            _ if matches!(layer.mode, Some(Mode::Rw | Mode::Tmp)) => {
                let path = layer.path.display();
                return Err(Failure::failed(format!(
                    "{path}: a layer below the image is only read: leave out its mode"
                )));
            }
            Kind::Squashfs => squashfs.push(layer.path),
            _ => others.push(layer.path),
        }
    }
    Ok([squashfs, others].concat())
}

impl Below {
    fn open(&self, image: &Path) -> Result<Lower, Failure> {
        let lower = match &self.base {
            Some(base) => Lower::open(&[std::slice::from_ref(base), &self.layers].concat()),
            None => Lower::open_inside(image, &self.layers),
        };
        lower.map_err(Failure::failed)
    }
}

/// Says what may be wrong with the answer. True when somebody writes to the image.
fn warn(opened: &Opened) -> Result<bool, Failure> {
    let path = opened.image.path.display();
    let state = opened.probe().map_err(Failure::failed)?.map(|probe| probe.state);
    let usage = survey::usage(opened);
    match (&usage, state) {
        (Usage::Writer { .. }, _) => say::notice(&format!("{path}: is in use; it may be changing while it is read")),
        // A reader's fuse2fs marks the image as mounted, too.
        (Usage::Free | Usage::Unknown { .. }, Some(state)) if !state.is_clean() => {
            say::notice(&format!("{path}: was not cleanly unmounted; its last changes may not show"));
        }
        _ => {}
    }
    Ok(matches!(usage, Usage::Writer { .. }))
}

fn put(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    report.entries.iter().copied().flatten().try_for_each(|entry| writeln!(out, "{}", line(entry)))?;
    let directories = || report.directories.iter().flatten();
    let largest = directories().map(taken).max().unwrap_or(0);
    directories().try_for_each(|summary| writeln!(out, "{}", summary_line(summary, largest)))
}

/// `M    1.20 KiB /etc/passwd (mode 0600, was 0644)`
fn line(entry: &Entry) -> String {
    let letter = match entry.change {
        Change::Added => 'A',
        Change::Changed => 'M',
        Change::Deleted => 'D',
    };
    let directory = entry.facts().is_some_and(|facts| facts.kind == FileType::Directory);
    let size = if directory && entry.below.is_none() { "-".into() } else { bytes(entry.size()) };
    let slash = if directory { "/" } else { "" };
    format!("{letter} {size:>11} {}{slash}{}", escape(&entry.path), remark(entry))
}

/// What the letter does not tell.
fn remark(entry: &Entry) -> String {
    let mut remarks: Vec<String> = entry.what.iter().filter_map(|aspect| aspect_word(*aspect, entry)).collect();
    remarks.extend(entry.below.map(|below| match below.files {
        1 => "1 file".to_owned(),
        files => format!("{files} files"),
    }));
    remarks.extend(entry.hard_link_to.as_ref().map(|first| format!("= {}", escape(first))));
    if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join(", ")) }
}

fn aspect_word(aspect: Aspect, entry: &Entry) -> Option<String> {
    match aspect {
        // That is what everybody expects of a changed file.
        Aspect::Content => None,
        Aspect::Kind => entry.before.map(|before| format!("was {}", before.kind.describe())),
        Aspect::Target => Some("target".into()),
        Aspect::Device => Some("device".into()),
        Aspect::Mode => Some(format!("mode {:04o}, was {:04o}", entry.after?.mode, entry.before?.mode)),
        Aspect::Owner => Some(format!("owner {}, was {}", owner(entry.after?), owner(entry.before?))),
        Aspect::Time => Some("time".into()),
    }
}

fn owner(facts: Facts) -> String {
    format!("{}:{}", facts.ids.uid, facts.ids.gid)
}

/// What it takes in the image.
fn taken(summary: &Summary) -> u64 {
    summary.totals.added.bytes.saturating_add(summary.totals.changed.bytes)
}

/// `A 12 (1.2 MiB)  M 3 (4 B)  D 0 (0 B)  ████▌    /usr/lib`: the bar is what it takes beside the one that takes most.
fn summary_line(summary: &Summary, largest: u64) -> String {
    let Totals { added, changed, deleted } = summary.totals;
    let part = |letter: char, count: Count| {
        let size = if count == Count::default() { String::new() } else { format!("({})", bytes(count.bytes)) };
        format!("{letter} {:>6} {size:<13}", count.files + count.directories)
    };
    let slash = if summary.path == b"/" { "" } else { "/" };
    let (added, changed, deleted) = (part('A', added), part('M', changed), part('D', deleted));
    format!("{added} {changed} {deleted} {} {}{slash}", bar(taken(summary), largest, BAR), escape(&summary.path))
}

fn notices(args: &DiffArgs, changes: &Changes) -> Vec<String> {
    let image = args.image.display();
    let Totals { added, changed, deleted } = changes.totals;
    let part = |count: Count, what| format!("{} {what} ({})", count.files + count.directories, bytes(count.bytes));
    let mut lines = Vec::new();
    if !args.json {
        lines.push(format!(
            "{image}: {}, {}, {}",
            part(added, "added"),
            part(changed, "changed"),
            part(deleted, "deleted")
        ));
    }
    if changes.copies.files > 0 && !args.json {
        let Count { files, bytes: size, .. } = changes.copies;
        lines.push(format!("{image}: copies of files below that differ in nothing: {files} ({})", bytes(size)));
    }
    if changes.renamed_directories > 0 {
        let count = changes.renamed_directories;
        lines.push(format!(
            "{image}: {count} directories were renamed by a kernel overlay; what moved with them is shown as deleted"
        ));
    }
    lines
}

fn bytes(count: u64) -> String {
    Size(count).to_string()
}
