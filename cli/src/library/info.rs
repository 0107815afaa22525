//! `condatainer info`: a layer by its name or path; what it is, whom it belongs to, and whether it is in use. Prints the same report for
//! `condatainer overlay info`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use anstyle::{AnsiColor, Style};
use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::request::layer::Layer;
use condatainer_formats::size::Size;
use condatainer_images::image::SquashfsInfo;
use condatainer_images::module::Module;
use condatainer_images::system::escape::one_line;
use condatainer_images::verbs::info::{self, Content, DirectoryInfo, ExtInfo, Info, PartitionInfo, Top};

use crate::complete::candidates;
use crate::library::table;
use crate::say::bar::bar;
use crate::say::failure::Failure;
use crate::say::{print, report};
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
pub(crate) struct LayerInfoArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Also look for whiteouts, the marks of deleted files; takes a look at every directory in an image
    #[arg(long)]
    pub(crate) scan: bool,
    /// A layer: its name or its path
    #[arg(value_name = "LAYER", add = ArgValueCompleter::new(candidates::layers))]
    pub(crate) layer: PathBuf,
}

/// Characters of a bar.
const BAR: usize = 30;
/// Room for the names of the lines.
const WIDTH: usize = 12;

/// One line: its name, what it says, and whether that is good or bad news.
type Line = (&'static str, String, Style);

pub(crate) fn layer(args: &LayerInfoArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::look(Path::new(SYSTEM_FILE)).map_err(Failure::of_a_verb)?;
    let written = Layer::at(args.layer.clone());
    let layer = around.finder().layer(written).map_err(Failure::failed)?;
    show(&layer.path, args.scan, args.json)
}

/// Shows what is at the path.
pub(crate) fn show(path: &Path, scan: bool, json: bool) -> Result<ExitCode, Failure> {
    let info = info::info(path, scan).map_err(Failure::failed)?;
    print::report(json, &info, || match table::of_images(&info) {
        Some(table) => table,
        None => text(&info),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn text(info: &Info) -> String {
    let mut lines = vec![
        plain("path", one_line(&info.path.to_string_lossy())),
        plain("kind", info.kind.into()),
        plain("size", format!("{} ({} on disk)", bytes(info.size_bytes), bytes(info.allocated_bytes))),
    ];
    lines.extend(info.partitions.iter().map(partition));
    lines.extend(match &info.content {
        Content::Ext(ext) => of_ext(ext),
        Content::Squashfs(squashfs) => of_squashfs(squashfs),
        Content::Directory(directory) => of_directory(directory),
        Content::Nothing {} => Vec::new(),
    });
    lines.extend(info.module.iter().flat_map(of_module));
    let bold = Style::new().bold();
    lines.iter().fold(String::new(), |mut text, (name, value, style)| {
        let _ = writeln!(text, "{bold}{name:<WIDTH$}{bold:#}{style}{value}{style:#}");
        text
    })
}

fn of_ext(ext: &ExtInfo) -> Vec<Line> {
    let block = u64::from(ext.block_size);
    let free = bytes(ext.blocks_free.saturating_mul(block));
    let total = bytes(ext.blocks_total.saturating_mul(block));
    let mut lines = vec![
        used(ext),
        plain("free", format!("{free} of {total}, {} of {} inodes", ext.inodes_free, ext.inodes_total)),
        top("upper", ext.upper.as_ref(), ext.upper_problem.as_deref()),
        top("work", ext.work.as_ref(), ext.work_problem.as_deref()),
        ("state", ext.state.into(), report::style_of(ext.state)),
        plain("locked by", ext.locked_by.as_deref().map_or_else(|| "nobody".into(), one_line)),
    ];
    lines.extend(ext.lent_by.map(|owner| plain("lent", format!("to root (overlay with-root); goes back to {owner}"))));
    lines.extend(whiteouts(ext));
    lines.push(match &ext.apptainer_reason {
        None => plain("apptainer", "accepts it".into()),
        Some(why) => ("apptainer", format!("refuses it: {why}"), bad()),
    });
    if !ext.label.is_empty() {
        lines.push(plain("label", one_line(&ext.label)));
    }
    lines.push(plain("uuid", ext.uuid.clone()));
    lines.push(plain("features", ext.features.join(" ")));
    lines
}

/// How much of the image is taken, drawn.
fn used(ext: &ExtInfo) -> Line {
    let taken = ext.blocks_total.saturating_sub(ext.blocks_free);
    let percent = u128::from(taken) * 100 / u128::from(ext.blocks_total.max(1));
    let style = if percent >= 90 { AnsiColor::Yellow.on_default() } else { Style::new() };
    ("used", format!("{}▏ {percent} %", bar(taken, ext.blocks_total, BAR)), style)
}

fn of_module(module: &Module) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    lines.extend(module.whatis.as_ref().map(|whatis| plain("what it is", one_line(whatis))));
    lines.extend(module.root.as_ref().map(|root| plain("lies at", one_line(root))));
    if let (true, Some(root)) = (module.has_bin, &module.root) {
        lines.push(plain("in PATH", one_line(&format!("{root}/bin"))));
    }
    for variable in &module.variables {
        let note = variable.note.as_ref().map(|note| format!("  ({note})")).unwrap_or_default();
        lines.push(plain("sets", one_line(&format!("{}={}{note}", variable.name, variable.value))));
    }
    lines.extend(module.problem.as_ref().map(|problem| ("variables", one_line(problem), bad())));
    lines
}

fn whiteouts(ext: &ExtInfo) -> Option<Line> {
    let (name, counts) = (ext.whiteouts?, ext.whiteout_counts?);
    if name == "none" {
        return Some(plain("whiteouts", name.into()));
    }
    let detail = format!(
        "{name} ({} files .wh.*, {} opaque directories, {} devices 0/0)",
        counts.fuse, counts.opaque, counts.kernel
    );
    Some(plain("whiteouts", detail))
}

fn of_squashfs(squashfs: &SquashfsInfo) -> Vec<Line> {
    let created = UNIX_EPOCH + Duration::from_secs(squashfs.created.into());
    vec![
        plain(
            "holds",
            format!(
                "{} inodes, {} in blocks of {}",
                squashfs.inodes_total,
                bytes(squashfs.bytes_used),
                bytes(squashfs.block_size.into())
            ),
        ),
        plain("compression", squashfs.compression.into()),
        plain("created", humantime::format_rfc3339_seconds(created).to_string()),
        plain("ids", squashfs.ids.to_string()),
    ]
}

fn of_directory(directory: &DirectoryInfo) -> Vec<Line> {
    let shown_as = match directory.upper {
        Some(_) => "through its upper",
        None => "as it is",
    };
    let mut lines = vec![plain("entries", directory.entries.to_string()), plain("shown", shown_as.into())];
    for (name, found, problem) in
        [("upper", &directory.upper, &directory.upper_problem), ("work", &directory.work, &directory.work_problem)]
    {
        if found.is_some() || problem.is_some() {
            lines.push(top(name, found.as_ref(), problem.as_deref()));
        }
    }
    lines
}

fn partition(partition: &PartitionInfo) -> Line {
    let word = |value: String| value.to_lowercase();
    let (kind, role) = (word(format!("{:?}", partition.kind)), word(format!("{:?}", partition.role)));
    let name = one_line(&partition.name);
    plain(
        "partition",
        format!("{} {role}, {kind}, {} {name}", partition.id, bytes(partition.size_bytes)).trim_end().into(),
    )
}

fn top(name: &'static str, found: Option<&Top>, problem: Option<&str>) -> Line {
    match (found, problem) {
        (Some(top), _) => plain(name, format!("{}:{} {}", top.uid, top.gid, top.mode)),
        (None, problem) => (name, problem.map_or_else(|| "missing".into(), one_line), bad()),
    }
}

fn plain(name: &'static str, value: String) -> Line {
    (name, value, Style::new())
}

fn bad() -> Style {
    AnsiColor::Red.on_default()
}

/// Bytes in binary units.
fn bytes(count: u64) -> String {
    Size(count).to_string()
}
