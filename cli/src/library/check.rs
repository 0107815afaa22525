//! `condatainer check`: whether everything is there that scripts need.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::request::layer::Layer;
use condatainer_core::request::names::Finder;
use condatainer_core::request::script::Script;
use condatainer_images::system::escape::{one_line, shell_words};
use serde::Serialize;

use crate::say;
use crate::say::failure::{Code, Failure};
use crate::say::print;
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
pub(crate) struct ScriptCheckArgs {
    /// Take 'module load' and 'ml' lines for dependencies too
    #[arg(long)]
    pub(crate) module: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Scripts, or directories whose .sh files are looked at
    #[arg(required = true, value_name = "SCRIPT|DIR", value_hint = clap::ValueHint::FilePath)]
    pub(crate) paths: Vec<PathBuf>,
}

/// Beside a layer that is not there: what it can be made of, in the order in which it is looked for.
const RECIPES: [&str; 3] = ["yml", "yaml", "def"];

/// What is said about all scripts.
#[derive(Debug, Serialize)]
struct Report {
    /// How many dependencies are not there.
    missing: usize,
    dependencies: Vec<Needed>,
}

/// One layer that one script needs.
#[derive(Debug, Serialize)]
struct Needed {
    script: PathBuf,
    /// The line that names it; `null` for a `#CNT` line.
    line: Option<usize>,
    /// As the script names it.
    layer: String,
    /// Its file, if it is there.
    path: Option<PathBuf>,
    /// If not: why, and what to do.
    problem: Option<String>,
}

pub(crate) fn check(args: &ScriptCheckArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::look(Path::new(SYSTEM_FILE)).map_err(Failure::of_a_verb)?;
    let mut dependencies = Vec::new();
    for path in scripts(&args.paths)? {
        let script = Script::read(&path, args.module).map_err(Failure::failed)?;
        dependencies.extend(needed(&script, &around)?);
    }
    let report = Report { missing: dependencies.iter().filter(|one| one.path.is_none()).count(), dependencies };
    if args.json {
        print::json(&report)?;
    } else {
        show(&report)?;
    }
    Ok(if report.missing == 0 { ExitCode::SUCCESS } else { ExitCode::from(Code::Failed as u8) })
}

/// The files that are meant; a directory stands for the `.sh` files in it.
fn scripts(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut scripts = Vec::new();
    for path in paths {
        if !path.is_dir() {
            scripts.push(path.clone());
            continue;
        }
        let entries = path.read_dir().map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
        let files = entries.flatten().map(|entry| entry.path());
        let mut here: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "sh")).collect();
        here.sort();
        if here.is_empty() {
            say::notice(&format!("{}: there are no .sh files in it", path.display()));
        }
        scripts.extend(here);
    }
    Ok(scripts)
}

/// Everything that a script needs; relative paths start where its job would.
fn needed(script: &Script, around: &Surroundings) -> Result<Vec<Needed>, Failure> {
    let dir = script.header.chdir(&[]).map_or_else(|| around.cwd.clone(), |dir| around.cwd.join(dir));
    let finder = Finder { cwd: &dir, ..around.finder() };
    let mut all = Vec::new();
    for dependency in &script.dependencies {
        all.push((Some(dependency.line), dependency.layer.clone()));
    }
    for list in &script.settings.overlays {
        let layers = Layer::parse_list(list).map_err(Failure::failed)?;
        all.extend(layers.into_iter().map(|layer| (None, layer)));
    }
    let mut needed: Vec<Needed> =
        all.into_iter().map(|(line, layer)| look(script, line, layer, &finder, around)).collect();
    if let Some(base) = &script.settings.base {
        let found = finder.base(Path::new(base)).map(|base| base.path).map_err(|e| e.to_string());
        needed.push(told(script, None, base.clone(), found, around));
    }
    Ok(needed)
}

fn look(script: &Script, line: Option<usize>, layer: Layer, finder: &Finder<'_>, around: &Surroundings) -> Needed {
    let text = layer.path.display().to_string();
    let found = finder.layer(layer).map(|layer| layer.path).map_err(|e| e.to_string());
    told(script, line, text, found, around)
}

fn told(
    script: &Script,
    line: Option<usize>,
    layer: String,
    found: Result<PathBuf, String>,
    around: &Surroundings,
) -> Needed {
    let there =
        found.and_then(
            |path| {
                if path.exists() || around.config.is_node_path(&path) { Ok(path) } else { Err(advice(&path)) }
            },
        );
    let (path, problem) = match there {
        Ok(path) => (Some(path), None),
        Err(problem) => (None, Some(problem)),
    };
    Needed { script: script.path.clone(), line, layer, path, problem }
}

/// How a file that is not there can be made.
fn advice(path: &Path) -> String {
    let target = path.display().to_string();
    let beside = |ending: &&str| Some(path.with_extension(ending)).filter(|recipe| recipe.is_file());
    if let Some(recipe) = RECIPES.iter().find_map(beside) {
        let recipe = recipe.display().to_string();
        let command = shell_words(&["condatainer", "create", "-f", &recipe, "-p", &target]);
        return format!("{target}: is not there, but {recipe} is: {command}");
    }
    if let Some(recipe) = beside(&"sh") {
        return format!("{target}: is not there; {} is, but build scripts are not supported", recipe.display());
    }
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("img" | "ext3") => format!("{target}: is not there: {}", shell_words(&["condatainer", "o", &target])),
        _ => format!("{target}: no such file"),
    }
}

/// One line each: whether it is there, who needs it, what it is called, where it is or what is to be done.
fn show(report: &Report) -> Result<(), Failure> {
    let place = |one: &Needed| match one.line {
        Some(line) => format!("{}:{line}", one.script.display()),
        None => one.script.display().to_string(),
    };
    let width = |text: &dyn Fn(&Needed) -> String| {
        report.dependencies.iter().map(|d| text(d).chars().count()).max().unwrap_or(0)
    };
    let (places, layers) = (width(&place), width(&|one| one.layer.clone()));
    print::stream(|out| {
        for one in &report.dependencies {
            let state = if one.path.is_some() { "ok" } else { "missing" };
            let path = one.path.as_ref().map(|path| path.display().to_string());
            let what = path.or_else(|| one.problem.clone()).unwrap_or_default();
            let line = format!("{state:<7}  {:<places$}  {:<layers$}  {what}", place(one), one.layer);
            writeln!(out, "{}", one_line(&line))?;
        }
        Ok(())
    })
}
