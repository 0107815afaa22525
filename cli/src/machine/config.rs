//! `condatainer config`: every setting, its value, and where that comes from.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::Args;
use condatainer_core::config::{Key, SYSTEM_FILE, user_file};
use condatainer_images::system::escape::one_line;
use condatainer_images::system::json_paths;
use serde::Serialize;
use serde_json::Value;

use crate::say::failure::Failure;
use crate::say::print;
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    /// The files that exist.
    #[serde(serialize_with = "json_paths::paths")]
    files: Vec<PathBuf>,
    settings: Vec<Key>,
    /// Where layers are found by name, in this order.
    #[serde(serialize_with = "json_paths::paths")]
    image_dirs: Vec<PathBuf>,
}

pub(crate) fn config(args: &ConfigArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::look(Path::new(SYSTEM_FILE)).map_err(Failure::of_a_verb)?;
    let report = Report {
        files: around.config.files(),
        settings: around.config.keys(),
        image_dirs: around.library.dirs().iter().map(|dir| dir.path.clone()).collect(),
    };
    print::report(args.json, &report, || text(&report, user_file(&around.env).as_deref()))?;
    Ok(ExitCode::SUCCESS)
}

fn text(report: &Report, user_file: Option<&Path>) -> String {
    let (bold, dim) = (Style::new().bold(), AnsiColor::BrightBlack.on_default());
    let mut text = String::new();
    for setting in &report.settings {
        let value = one_line(&value(&setting.value));
        let source = one_line(&setting.source.to_string());
        let _ = writeln!(text, "{bold}{:<15}{bold:#}{value}  {dim}({source}){dim:#}", setting.key);
    }
    let dirs: Vec<_> = report.image_dirs.iter().map(|dir| one_line(&dir.display().to_string())).collect();
    let _ = writeln!(text, "{bold}layers by name{bold:#} {}", dirs.join(", "));
    for file in [Some(Path::new(SYSTEM_FILE)), user_file].into_iter().flatten() {
        let there = if report.files.iter().any(|read| read == file) { "read" } else { "not there" };
        let _ = writeln!(text, "{dim}{}: {there}{dim:#}", one_line(&file.display().to_string()));
    }
    text
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(self::value).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
