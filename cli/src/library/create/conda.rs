//! `condatainer create` with conda packages: makes a module of an environment.

use std::process::ExitCode;

use condatainer_core::build::conda::{self, CondaError, Report, Request, Spec};
use condatainer_core::config::Given;
use condatainer_formats::size::Size;

use super::args::BuildArgs;
use super::place;
use crate::arguments::compression;
use crate::library::work;
use crate::say::failure::Failure;
use crate::say::report;
use crate::surroundings::Surroundings;

/// What an environment without a file is to hold; nothing where something else is to be built.
pub(crate) fn spec(args: &BuildArgs, around: &Surroundings) -> Result<Option<Spec>, Failure> {
    let failed = |error: CondaError| Failure::failed(error);
    match args.packages.as_slice() {
        [] if args.update => conda::recorded(&place::of_layer(args, around)?).map_err(Failure::failed),
        [] => Ok(None),
        packages if args.name.is_some() || args.prefix.is_some() => Spec::of_words(packages).map(Some).map_err(failed),
        [one] => Spec::of_module(one).map(Some).map_err(failed),
        _ => Err(Failure::usage(
            "it needs a name: -n NAME puts these packages into one module of your image directory, -p PATH anywhere",
        )),
    }
}

pub(crate) fn create(args: BuildArgs, around: &Surroundings, spec: Spec) -> Result<ExitCode, Failure> {
    if !args.arguments.is_empty() || args.fakeroot || args.no_fakeroot {
        return Err(Failure::usage(
            "--fakeroot, --no-fakeroot and what stands after -- are for 'apptainer build'; leave them out with conda packages",
        ));
    }
    around.tell_overruled(&Given { tmpdir: args.tmpdir.as_deref(), conda: args.conda.as_deref(), ..Given::default() });
    let request = Request {
        spec,
        layer: around.cwd.join(place::of_layer(&args, around)?),
        base: around.base(args.base.as_deref()).map_err(Failure::of_a_verb)?,
        update: args.update,
        compression: args.compression.map(compression).unwrap_or_default(),
        tmpdir: work::tmpdir(args.tmpdir, around),
        channels: args.channels,
        conda: args.conda,
        cwd: around.cwd.clone(),
        config: &around.config,
        env: &around.env,
    };
    let report = work::watched(&request.layer, |watch| conda::build(&request, watch))?;
    report::give(args.json, &report, || lines(&report))?;
    Ok(ExitCode::SUCCESS)
}

fn lines(report: &Report) -> Vec<String> {
    let (path, size, prefix) = (report.path.display(), Size(report.size_bytes), &report.prefix);
    let done = if report.replaced { "rebuilt" } else { "made" };
    let (packages, seconds) = (report.packages, report.seconds.round());
    let made = format!("{path}: {done}, {size}, {packages} packages in {prefix}, in {seconds} s");
    let scripts = report.activation.join(", ");
    let activation = format!(
        "{path}: a start does not run its activation scripts ({scripts}): where they matter, source them from {prefix}/etc/conda/activate.d"
    );
    [Some(made), (!report.activation.is_empty()).then_some(activation)].into_iter().flatten().collect()
}
