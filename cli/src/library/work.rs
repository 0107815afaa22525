//! Building, as its user sees it: what happens meanwhile, and how a signal breaks it off; and where the work is done.

use std::ops::ControlFlow;
use std::path::PathBuf;

use condatainer_core::build::{BuildError, News, Watch};
use condatainer_images::system::stop::Stop;

use crate::say;
use crate::say::failure::Failure;
use crate::say::progress::Progress;
use crate::surroundings::Surroundings;

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
        error.last_lines().iter().for_each(|line| say::foreign(line));
    }
    Failure::failed(error)
}
