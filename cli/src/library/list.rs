//! `condatainer list`: the layers that can be named, directory by directory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::Args;
use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::request::names::{Found, Library};
use condatainer_formats::size::Size;
use condatainer_images::image;
use condatainer_images::module::Module;
use condatainer_images::system::escape::one_line;
use condatainer_images::system::json_paths;
use serde::Serialize;
use wildmatch::WildMatch;

use crate::say;
use crate::say::failure::{Code, Failure};
use crate::say::print;
use crate::surroundings::Surroundings;

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only names that contain each of these; * and ? stand for anything
    #[arg(value_name = "TERM")]
    pub(crate) terms: Vec<String>,
    /// Names only, one a line
    #[arg(long, conflicts_with = "json")]
    pub(crate) names: bool,
    /// With --json, also say what each is for
    #[arg(short, long)]
    pub(crate) whatis: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// One layer, as `--json` promises it.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    #[serde(serialize_with = "json_paths::path")]
    path: PathBuf,
    size_bytes: u64,
    /// Another directory before this one has the same name.
    hidden: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    whatis: Option<String>,
}

pub(crate) fn list(args: &ListArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::look(Path::new(SYSTEM_FILE)).map_err(Failure::of_a_verb)?;
    for dir in around.library.unreadable() {
        say::notice(&dir);
    }
    let found: Vec<Found> = matching(&around.library, &args.terms).collect();
    if found.is_empty() && !args.terms.is_empty() {
        return Err(Failure::new(Code::Failed, format!("{}: no layer has such a name", args.terms.join(" "))));
    }
    if args.json {
        print::json(&look(&found, args.whatis))?;
    } else if args.names {
        print::stream(|out| {
            let mut shown = found.iter().filter(|found| !found.hidden);
            shown.try_for_each(|found| writeln!(out, "{}", one_line(found.name.as_str())))
        })?;
    } else {
        print::styled(&text(&around.library, &found, &look(&found, true)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Every layer whose name has all the terms.
pub(crate) fn matching<'a>(library: &Library, terms: &'a [String]) -> impl Iterator<Item = Found> + use<'a> {
    let matches = |name: &str, term: &str| match term.contains(['*', '?']) {
        true => WildMatch::new_case_insensitive(term).matches(name),
        false => name.to_lowercase().contains(&term.to_lowercase()),
    };
    library.all().into_iter().filter(move |found| terms.iter().all(|term| matches(found.name.as_str(), term)))
}

/// A file system in a network answers many at once as quickly as one.
const AT_ONCE: usize = 16;

/// What there is to say of each; what it is for stands in its file.
fn look(found: &[Found], whatis: bool) -> Vec<Listed> {
    let share = found.len().div_ceil(AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let look = |part: &'_ [Found]| part.iter().map(|found| listed(found, whatis)).collect::<Vec<_>>();
        let threads: Vec<_> = found.chunks(share).map(|part| scope.spawn(move || look(part))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

fn listed(found: &Found, whatis: bool) -> Listed {
    Listed {
        name: found.name.to_string(),
        path: found.path.clone(),
        size_bytes: size(&found.path),
        hidden: found.hidden,
        whatis: whatis.then(|| whatis_of(&found.path)).flatten(),
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

fn whatis_of(path: &Path) -> Option<String> {
    let opened = image::open(path).ok()?;
    Module::read(path, &opened).whatis
}

fn text(library: &Library, found: &[Found], listed: &[Listed]) -> String {
    let (bold, dim, cyan) = (Style::new().bold(), AnsiColor::BrightBlack.on_default(), AnsiColor::Cyan.on_default());
    let width = found.iter().map(|found| found.name.as_str().chars().count()).max().unwrap_or(0).max(4);
    let mut text = String::new();
    for (number, dir) in library.dirs().iter().enumerate() {
        let here: Vec<_> = found.iter().zip(listed).filter(|(found, _)| found.dir == number).collect();
        if here.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{bold}{}{bold:#}", one_line(&dir.path.display().to_string()));
        for (found, listed) in here {
            let size = Size(listed.size_bytes).to_string();
            let style = if found.hidden { dim } else { cyan };
            let remark = match (found.hidden, &listed.whatis) {
                (true, _) => "  (hidden by the one above)".into(),
                (_, Some(whatis)) => format!("  {}", one_line(whatis)),
                _ => String::new(),
            };
            let _ = writeln!(text, "  {style}{:<width$}{style:#}  {size:>10}{remark}", one_line(&listed.name));
        }
    }
    if !text.is_empty() {
        text.insert_str(0, &format!("{dim}  {:<width$}  {:>10}  WHAT IT IS FOR{dim:#}\n", "NAME", "SIZE"));
    }
    if text.is_empty() {
        let dirs: Vec<_> = library.dirs().iter().map(|dir| one_line(&dir.path.display().to_string())).collect();
        let _ = writeln!(text, "no layers in {}: 'condatainer create' makes some (see --help)", dirs.join(", "));
    }
    text
}
