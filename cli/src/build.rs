//! `condatainer create`: builds a layer.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use condatainer_core::build::conda::Spec;
use condatainer_core::build::{self, BuildError, News, Recipe, Report, Request, Source, Told, Watch};
use condatainer_core::config::{Given, SYSTEM_FILE};
use condatainer_images::system::stop::Stop;
use condatainer_images::temporary::on_signal;
use indicatif::BinaryBytes;

use crate::args::BuildArgs;
use crate::exit::Failure;
use crate::progress::Progress;
use crate::start::Surroundings;
use crate::{conda, place, report, say, seal};

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
    let report = watched(|watch| build::build(&request, watch))?;
    report::give(json, &report, || lines(&report))?;
    Ok(ExitCode::SUCCESS)
}

/// Builds, shows what happens meanwhile, and lets a signal break it off.
pub(crate) fn watched<R>(build: impl FnOnce(Watch<'_>) -> Result<R, BuildError>) -> Result<R, Failure> {
    let stop = Stop::listen().map_err(Failure::failed)?;
    let progress = Progress::bytes();
    let mut watch = |news: News<'_>| {
        show(news, &progress);
        if stop.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let built = build(&mut watch);
    progress.finish();
    built.map_err(failure)
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
        compression: args.compression.map(seal::compression),
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

/// The directory named for us, else the one that the user keeps for Apptainer's builds.
pub(crate) fn tmpdir(flag: Option<PathBuf>, around: &Surroundings) -> PathBuf {
    let of = |name: &str| around.env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    around
        .config
        .build_tmpdir(flag)
        .or_else(|| of("APPTAINER_TMPDIR"))
        .or_else(|| of("TMPDIR"))
        .unwrap_or_else(|| "/tmp".into())
}

fn show(news: News<'_>, progress: &Progress) {
    match news {
        News::Line(line) if say::is_verbose() => say::foreign(line),
        News::Line(line) => progress.spin(line),
        News::Written(done, total) => {
            if done == 0 {
                progress.measure();
            }
            progress.at(done, total);
        }
        News::Nothing => {}
    }
}

/// Apptainer's own last words come first, unless all of them were shown.
fn failure(error: BuildError) -> Failure {
    if !say::is_verbose() {
        error.said().iter().for_each(|line| say::foreign(line));
    }
    Failure::failed(error)
}

fn lines(report: &Report) -> Vec<String> {
    let (path, size) = (report.path.display(), BinaryBytes(report.size_bytes));
    let done = if report.replaced { "rebuilt" } else { "made" };
    let (seconds, owner) = (report.seconds.round(), if report.root_owned { ", all of it belongs to root" } else { "" });
    let made = format!("{path}: {done}, {size}, {}{owner}, in {seconds} s", report.compression);
    let unrecorded = || format!("{path}: its definition is not recorded in it: -u cannot rebuild it by itself");
    [Some(made), report.definition.is_none().then(unrecorded)].into_iter().flatten().collect()
}
