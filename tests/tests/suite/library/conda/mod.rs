//! Conda environments packed as modules: made by a tool of the conda family from a channel that the test writes itself.

mod kills;
mod mistakes;
mod modules;

use std::time::Duration;

use anyhow::{Result, ensure};
use cluster::{Cache, Output, Release};

use crate::support::{Desk, Expect, Setup, World, tests};

tests! {
    Apptainer, OwnCluster: [modules_are_made_and_run, modules_are_made_again];
    ApptainerOnce, OwnCluster: [
        files_make_modules, images_get_environments, mistakes_are_said, nothing_is_left_of_an_interrupted_one,
    ];
}

/// The tool unpacks and Apptainer packs; a machine that does other things meanwhile needs its time.
const LIMIT: Duration = Duration::from_secs(180);
/// Where `-n` puts modules.
const IMAGES: &str = ".local/share/condatainer/images";

fn modules_are_made_and_run(world: &World, release: Release) -> Result<()> {
    with_channel(world, release, modules::by_packages)
}

fn files_make_modules(world: &World, release: Release) -> Result<()> {
    with_channel(world, release, modules::by_files)
}

fn images_get_environments(world: &World, release: Release) -> Result<()> {
    with_channel(world, release, modules::in_images)
}

fn modules_are_made_again(world: &World, release: Release) -> Result<()> {
    with_channel(world, release, modules::again)
}

fn mistakes_are_said(world: &World, release: Release) -> Result<()> {
    with_channel(world, release, mistakes::all)
}

fn nothing_is_left_of_an_interrupted_one(world: &World, release: Release) -> Result<()> {
    with_channel(world, release, kills::all)
}

/// A cluster with the tool, and a desk with the directory `channel`.
fn with_channel(world: &World, release: Release, run: impl FnOnce(&Desk) -> Result<()>) -> Result<()> {
    let conda = cluster::conda::prepare(&Cache::open(None)?)?;
    let setup = Setup { plugin: None, conda: Some(conda), ..Setup::default() };
    world.with_cluster(release, &setup, |desk| {
        desk.run(&["cp", "-r", cluster::conda::CHANNEL_INSIDE, "channel"])?.success()?;
        run(desk)
    })
}

/// `condatainer create` with these arguments.
fn create(desk: &Desk, arguments: &[&str]) -> Result<Output> {
    desk.command().timeout(LIMIT).run(&[&["condatainer", "create"], arguments].concat())
}

/// A command in a container with these layers.
fn exec(desk: &Desk, layers: &str, command: &[&str]) -> Result<Output> {
    desk.run(&[&["condatainer", "exec", "-o", layers], command].concat())
}

/// Nothing but these files is in the user's image directory, nothing of ours at the desk beside what was there, nothing in /tmp,
/// and no process of a making is alive.
fn nothing_is_left(desk: &Desk, before: &[String], modules: &[&str]) -> Result<()> {
    let files = desk.files()?;
    ensure!(files == before, "left at the desk: {files:?} instead of {before:?}");
    let images = desk.script(&format!("mkdir -p ~/{IMAGES} && ls -A ~/{IMAGES}"))?.success()?.stdout;
    ensure!(images.lines().eq(modules.iter().copied()), "left in the image directory: {images}");
    desk.script("ls -A /tmp | grep condatainer || true")?.says("")?;
    desk.wait_until("! pgrep -u alice -x 'mksquashfs|apptainer|starter'")
}
