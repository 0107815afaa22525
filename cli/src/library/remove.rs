//! `condatainer remove`: takes layers that are found by name, or files, away; with their file of variables.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::machine::survey;
use condatainer_core::request::layer::Layer;
use condatainer_core::request::names::is_path;
use condatainer_formats::size::Size;
use condatainer_images::acquire::usage::Usage;
use condatainer_images::image;
use condatainer_images::system::escape::one_line;

use crate::complete::candidates;
use crate::library::list::matching;
use crate::say;
use crate::say::failure::Failure;
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Layers: names (* and ? stand for anything) or paths
    #[arg(value_name = "LAYER", required = true, add = ArgValueCompleter::new(candidates::layers))]
    pub(crate) layers: Vec<String>,
}

pub(crate) fn remove(args: &RemoveArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::look(Path::new(SYSTEM_FILE)).map_err(Failure::of_a_verb)?;
    let mut files = Vec::new();
    for written in &args.layers {
        for file in files_of(&around, written)? {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    files.iter().try_for_each(|file| refuse_unfit(file))?;
    if !args.yes && !agreed(&files)? {
        return Err(Failure::failed("nothing was removed"));
    }
    for file in &files {
        take_away(file)?;
        say::notice(&format!("{}: removed", file.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is meant: one file, or all whose names match.
fn files_of(around: &Surroundings, written: &str) -> Result<Vec<PathBuf>, Failure> {
    if written.contains(['*', '?']) && !is_path(Path::new(written)) {
        let terms = [written.to_owned()];
        let found: Vec<_> = matching(&around.library, &terms).filter(|found| !found.hidden).map(|f| f.path).collect();
        return match found.is_empty() {
            true => Err(Failure::failed(format!("{written}: no layer has such a name"))),
            false => Ok(found),
        };
    }
    let layer = around.finder().layer(Layer::at(written)).map_err(Failure::failed)?;
    Ok(vec![layer.path])
}

/// Only what can be a layer, and nobody works in.
fn refuse_unfit(file: &Path) -> Result<(), Failure> {
    if file.is_dir() {
        return Err(Failure::failed(format!("{}: a directory: 'rm -r' removes it", file.display())));
    }
    let opened = image::open(file).map_err(Failure::failed)?;
    match survey::usage(&opened) {
        Usage::Free | Usage::Unknown { .. } => Ok(()),
        Usage::Readers { .. } => {
            Err(Failure::failed(format!("{}: in use by readers: wait until they end", file.display())))
        }
        Usage::Writer { holder, seen } => {
            let who = holder.map(|holder| holder.to_string()).or(seen).unwrap_or_else(|| "an unknown process".into());
            Err(Failure::failed(format!("{}: in use for writing by {who}: wait until it ends", file.display())))
        }
    }
}

fn agreed(files: &[PathBuf]) -> Result<bool, Failure> {
    let failed = |error: io::Error| Failure::failed(format!("cannot ask: {error}"));
    if !io::stdin().is_terminal() {
        return Err(Failure::failed("this is not a terminal, so nothing is removed: use -y to remove without asking"));
    }
    let mut out = io::stderr();
    for file in files {
        let size = std::fs::metadata(file).map_or(0, |meta| meta.len());
        let name = one_line(&file.display().to_string());
        writeln!(out, "  {name}  {}", Size(size)).map_err(failed)?;
    }
    write!(out, "Remove {}? [y/N] ", if files.len() == 1 { "it" } else { "all of these" }).map_err(failed)?;
    out.flush().map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// The layer first: a file of variables alone does no harm.
fn take_away(file: &Path) -> Result<(), Failure> {
    let failed =
        |path: &Path, error: io::Error| Failure::failed(format!("{}: cannot be removed: {error}", path.display()));
    std::fs::remove_file(file).map_err(|error| failed(file, error))?;
    let mut beside = file.as_os_str().to_owned();
    beside.push(".env");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(Path::new(&beside), error)),
        _ => Ok(()),
    }
}
