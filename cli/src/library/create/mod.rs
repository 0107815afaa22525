//! `condatainer create`: builds a layer.

pub(crate) mod args;
mod conda;
mod place;

use std::path::Path;
use std::process::ExitCode;

use condatainer_core::build::conda::Spec;
use condatainer_core::build::{self, Recipe, Report, Request, Source, Told};
use condatainer_core::config::{Given, SYSTEM_FILE};
use condatainer_formats::size::Size;
use condatainer_images::temporary::on_signal;

use args::BuildArgs;

use crate::arguments::compression;
use crate::library::work::{tmpdir, watched};
use crate::say::failure::Failure;
use crate::say::report;
use crate::surroundings::Surroundings;

pub(crate) fn create(args: BuildArgs) -> Result<ExitCode, Failure> {
    on_signal::remove_on_signals().map_err(Failure::failed)?;
    let around = Surroundings::look(Path::new(SYSTEM_FILE)).map_err(Failure::of_a_verb)?;
    match wanted(&args, &around)? {
        Wanted::Environment(spec) => conda::create(args, &around, spec),
        Wanted::Layer(recipe) => layer(args, &around, recipe),
    }
}

/// What is to be made; a layer of nothing is made of what it has recorded itself.
enum Wanted {
    Environment(Spec),
    Layer(Option<Recipe>),
}

fn wanted(args: &BuildArgs, around: &Surroundings) -> Result<Wanted, Failure> {
    match (&args.file, &args.source) {
        (Some(file), _) => match Told::by_file(file, &around.cwd).map_err(Failure::failed)? {
            Told::Environment(spec) => Ok(Wanted::Environment(spec)),
            Told::Layer(recipe) => Ok(Wanted::Layer(Some(recipe))),
        },
        (_, Some(source)) => {
            let source = Source::parse(source, &around.cwd).map_err(Failure::failed)?;
            Ok(Wanted::Layer(Some(Recipe::Source(source))))
        }
        _ => Ok(conda::spec(args, around)?.map_or(Wanted::Layer(None), Wanted::Environment)),
    }
}

fn layer(args: BuildArgs, around: &Surroundings, recipe: Option<Recipe>) -> Result<ExitCode, Failure> {
    if !args.channels.is_empty() || args.conda.is_some() || args.base.is_some() {
        return Err(Failure::usage("-c, --conda and -b are for conda packages; name some, or leave them out"));
    }
    let json = args.json;
    let request = request(args, around, recipe)?;
    let report = watched(&request.layer, |watch| build::build(&request, watch))?;
    report::give(json, &report, || lines(&report))?;
    Ok(ExitCode::SUCCESS)
}

fn request(args: BuildArgs, around: &Surroundings, recipe: Option<Recipe>) -> Result<Request, Failure> {
    let engine = build::engine(&around.config).map_err(Failure::failed)?;
    let layer = place::of_layer(&args, around)?;
    if recipe.is_none() && !args.update {
        return Err(Failure::usage(
            "nothing to build; name a definition (-f FILE.def), an image (-s docker://debian:trixie), conda packages, or a layer to rebuild (-u)",
        ));
    }
    let given = Given { fakeroot: flag(&args), tmpdir: args.tmpdir.as_deref(), ..Given::default() };
    around.tell_overruled(&given);
    let fakeroot = around.config.fakeroot(flag(&args)).unwrap_or(true);
    let tmpdir = tmpdir(args.tmpdir, around);
    Ok(Request {
        recipe,
        layer,
        update: args.update,
        fakeroot,
        fakeroot_origin: around.config.origin_of_fakeroot(fakeroot),
        compression: args.compression.map(compression),
        tmpdir_origin: around.config.origin_of_tmpdir(&tmpdir),
        tmpdir,
        engine,
        arguments: args.arguments,
    })
}

/// Only what was said; a configuration may have its own mind.
fn flag(args: &BuildArgs) -> Option<bool> {
    match (args.fakeroot, args.no_fakeroot) {
        (_, true) => Some(false),
        (true, _) => Some(true),
        _ => None,
    }
}

fn lines(report: &Report) -> Vec<String> {
    let (path, size) = (report.path.display(), Size(report.size_bytes));
    let done = if report.replaced { "rebuilt" } else { "made" };
    let (seconds, owner) = (report.seconds.round(), if report.root_owned { ", all of it belongs to root" } else { "" });
    let made = format!("{path}: {done}, {size}, {}{owner}, in {seconds} s", report.compression);
    let unrecorded = || format!("{path}: its definition is not recorded in it: -u cannot rebuild it by itself");
    [Some(made), report.definition.is_none().then(unrecorded)].into_iter().flatten().collect()
}
