//! Building, as its user sees it: what happens meanwhile, and how a signal breaks it off; and where the work is done.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use condatainer_core::build::{BuildError, News, Watch};
use condatainer_images::system::stop::Stop;

use crate::say;
use crate::say::failure::Failure;
use crate::say::progress::{Progress, Unit};
use crate::surroundings::Surroundings;

/// Builds what is to lie at `path`, shows what happens meanwhile, and lets a signal break it off.
pub(crate) fn watched<R>(path: &Path, build: impl FnOnce(Watch<'_>) -> Result<R, BuildError>) -> Result<R, Failure> {
    let stop = Stop::listen().map_err(Failure::failed)?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let progress = Progress::new(name, Unit::Bytes, "writing the rest to the disk");
    progress.spin("starting");
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

/// What a tool's words mean to whoever waits for it; the words themselves are for `-v`, and for a failure.
fn show(news: News<'_>, progress: &Progress) {
    match news {
        News::Line(line) if say::is_verbose() => say::foreign(line),
        News::Line(line) => stage(line).iter().for_each(|stage| progress.spin(stage)),
        News::Written(done, total) => progress.at(done, total),
        News::Nothing => {}
    }
}

/// Beginnings of what Apptainer, micromamba, mamba and conda say when something new begins, without case.
const STAGES: [(&[&str], &str); 8] = [
    (&["fetching", "copying blob", "getting image source", "downloading oci"], "fetching the image"),
    (&["extracting oci", "unpacking", "converting"], "unpacking the image"),
    (&["running setup", "running post", "running test"], "running the definition's script"),
    (&["creating sif"], "packing the layer"),
    (
        &["collecting package", "channels", "loading repodata", "getting repodata", "resolving", "solving", "reading"],
        "looking for packages that go together",
    ),
    (&["download", "confirm changes", "the following new", "package plan"], "downloading packages"),
    (&["linking", "preparing transaction", "executing transaction", "transaction starting"], "installing packages"),
    (&["installing pip", "collecting ", "installing collected"], "installing packages with pip"),
];

fn stage(line: &str) -> Option<&'static str> {
    let plain = line.trim_start().trim_start_matches("INFO:").trim_start().to_lowercase();
    let begins = |words: &&[&str]| words.iter().any(|word| plain.starts_with(word));
    STAGES.iter().find(|(words, _)| begins(words)).map(|(_, stage)| *stage)
}

/// Apptainer's own last words come first, unless all of them were shown.
fn failure(error: BuildError) -> Failure {
    if !say::is_verbose() {
        error.last_lines().iter().for_each(|line| say::foreign(line));
    }
    Failure::failed(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_tools_mean_something() {
        for (line, expected) in [
            ("INFO:    Starting build...", None),
            ("INFO:    Fetching OCI image...", Some("fetching the image")),
            ("INFO:    Extracting OCI image...", Some("unpacking the image")),
            ("INFO:    Running post scriptlet", Some("running the definition's script")),
            ("+ apt-get install -y gcc", None),
            ("INFO:    Creating SIF file...", Some("packing the layer")),
            (
                "Collecting package metadata (repodata.json): ...working...",
                Some("looking for packages that go together"),
            ),
            ("Linking numpy-2.1", Some("installing packages")),
            ("Collecting numpy==2.1", Some("installing packages with pip")),
        ] {
            assert_eq!(stage(line), expected, "{line}");
        }
    }
}
