//! The documents: every command in them is typed on a cluster, in their order, and what they say comes of it is what comes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::document::{self, Part};
use cluster::{Cache, Release};

use crate::support::{Desk, Setup, World, tests};

tests! {
    Only(Release::Sid), OwnCluster: [the_first_pages, the_guide, the_recipes, the_administration];
}

/// Packages are fetched, installed and packed.
const LIMIT: Duration = Duration::from_secs(300);

/// Each document begins in an empty home, but for pip's configuration.
const EMPTY: &str = "cd /home/alice && scancel -u alice; until [ -z \"$(squeue -h -u alice)\" ]; do sleep 0.1; done
    find . -mindepth 1 -depth ! -path './.config' ! -path './.config/pip*' -delete; rm -f /tmp/ready";

fn the_first_pages(world: &World, release: Release) -> Result<()> {
    all_is_true(world, release, Part::Start)
}

fn the_guide(world: &World, release: Release) -> Result<()> {
    all_is_true(world, release, Part::Guide)
}

fn the_recipes(world: &World, release: Release) -> Result<()> {
    all_is_true(world, release, Part::Recipes)
}

fn the_administration(world: &World, release: Release) -> Result<()> {
    all_is_true(world, release, Part::Administration)
}

fn all_is_true(world: &World, release: Release, part: Part) -> Result<()> {
    let conda = cluster::conda::prepare(&Cache::open(None)?)?;
    let setup = Setup { modules: true, online: true, pip: true, conda: Some(conda), ..Setup::default() };
    world.with_cluster(release, &setup, |desk| {
        let mut wrong = Vec::new();
        for document in part.documents()? {
            let name = document.display();
            typed(desk, true, EMPTY).with_context(|| format!("before {name}"))?;
            for run in document::runs(&document::read(&document)?) {
                let output = typed(desk, run.as_root, &run.script())?;
                wrong.extend(run.wrong(&output)?.into_iter().map(|words| format!("{name}, {words}")));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        Ok(())
    })
}

fn typed(desk: &Desk, as_root: bool, script: &str) -> Result<String> {
    let command = desk.cluster.command(if as_root { "root" } else { "alice" });
    Ok(command.cwd("/home/alice").timeout(LIMIT).script(script)?.success()?.stdout)
}
