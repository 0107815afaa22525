//! The environment of a command: what the job has been given, what the layers set, what was asked for. Pure, a part of planning.
//!
//! Later wins: the job, then the layers from the lowest to the topmost, then the caller's own `--env`.

use std::path::{Path, PathBuf};

use crate::machine::engine::Engine;
use crate::machine::facts::{Facts, Kind, LayerFacts};
use crate::plan::layers::Moded;
use crate::request::Request;
use crate::request::held::{self, HELD};
use crate::request::layer::Mode;
use condatainer_images::module::Module;

const PATH: &str = "PATH";

/// Where programs are found before the container's own, lowest first: those of the modules, and before each what the layer's own
/// PATH names. That PATH goes in front and never in place of the container's, or not even `sh` would be found.
pub(crate) fn path(layers: &[Moded<'_>]) -> Vec<String> {
    in_stack_order(layers).flat_map(|layer| programs(&layer.module)).collect()
}

fn programs(module: &Module) -> Vec<String> {
    let bin = module.root.iter().filter(|_| module.has_bin).map(|root| format!("{root}/bin"));
    let own = module.variables.iter().filter(|variable| variable.name == PATH);
    let own = own.flat_map(|variable| directories(&variable.value).rev().map(String::from).collect::<Vec<_>>());
    bin.chain(own).collect()
}

/// The directories that a PATH names, without `$PATH`, by which people write what comes behind.
fn directories(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split(':').map(str::trim).filter(|dir| dir.starts_with('/'))
}

/// Every variable once, with the value that wins.
pub(crate) fn variables(
    request: &Request,
    facts: &Facts,
    layers: &[Moded<'_>],
    mounted_by_us: bool,
) -> Vec<(String, String)> {
    let mut all = facts.job_variables.clone();
    if mounted_by_us {
        let is_singularity = facts.engine.as_ref().is_ok_and(Engine::is_singularity);
        all.extend(name_of_container(&facts.base.path, is_singularity));
    }
    all.push(("IN_CONDATAINER".into(), level(facts).to_string()));
    let held = held(facts, layers);
    if !held.is_empty() {
        all.push((HELD.into(), held::told(facts.job.as_deref(), &held)));
    }
    if layers.iter().any(|(layer, mode)| *mode == Mode::Rw && layer.image.is_some()) {
        all.push(("CNT_CONDA_PREFIX".into(), "/ext3/env".into()));
    }
    let modules = in_stack_order(layers).flat_map(|layer| &layer.module.variables);
    all.extend(
        modules
            .filter(|variable| variable.name != PATH)
            .map(|variable| (variable.name.clone(), variable.value.clone())),
    );
    all.extend(request.env.iter().cloned());
    last_of_each(all)
}

/// What the engine would say of the base. It says so of the directory that it was given.
fn name_of_container(base: &Path, is_singularity: bool) -> impl Iterator<Item = (String, String)> {
    let name = base.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let values = [("CONTAINER", base.display().to_string()), ("NAME", name)];
    let prefixed = |prefix: &str| values.clone().map(|(name, value)| (format!("{prefix}_{name}"), value));
    let apptainer = (!is_singularity).then(|| prefixed("APPTAINER"));
    apptainer.into_iter().chain([prefixed("SINGULARITY")]).flatten()
}

/// The images that this container holds, and those around it.
fn held(facts: &Facts, layers: &[Moded<'_>]) -> Vec<PathBuf> {
    let images = layers.iter().filter(|(layer, _)| layer.image.is_some()).map(|(layer, _)| &layer.path);
    images.chain(&facts.held_around).cloned().collect()
}

fn level(facts: &Facts) -> u32 {
    facts.nesting.saturating_add(1)
}

/// What a prompt says: the image that is written to, else the topmost one, else the topmost layer, else the base; and its mode. In
/// a container in a container also which one that is.
pub(crate) fn prompt(facts: &Facts, layers: &[Moded<'_>], tmp: bool) -> String {
    let of_mode = |wanted: Mode| layers.iter().find(move |(_, mode)| *mode == wanted);
    let topmost = || layers.iter().rfind(|(layer, _)| layer.kind != Kind::Squashfs).or(layers.last());
    let named = of_mode(Mode::Rw).or_else(|| of_mode(Mode::Tmp)).or_else(topmost);
    let (path, mode) = named.map_or((&facts.base.path, Mode::Ro), |(layer, mode)| (&layer.path, *mode));
    let mode = if tmp { Mode::Tmp } else { mode };
    let name = visible(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy());
    match level(facts) {
        1 => format!("{name} {mode}"),
        level => format!("{level}: {name} {mode}"),
    }
}

/// Nothing that a terminal obeys. Shells are kept from what they would obey where they ask.
fn visible(name: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    name.chars().map(|c| if is_hidden(c) { '?' } else { c }).collect()
}

/// What a person at a terminal may want to know.
pub(crate) fn remarks(layers: &[Moded<'_>]) -> Vec<String> {
    let variables = in_stack_order(layers).flat_map(|layer| &layer.module.variables);
    variables
        .map(|variable| format!("{}: {}", variable.name, variable.note.as_ref().unwrap_or(&variable.value)))
        .collect()
}

/// Squashfs in the order given, then images, as they are stacked.
fn in_stack_order<'a>(layers: &'a [Moded<'a>]) -> impl Iterator<Item = &'a LayerFacts> {
    let of =
        |squashfs: bool| layers.iter().map(|(layer, _)| *layer).filter(move |l| (l.kind == Kind::Squashfs) == squashfs);
    of(true).chain(of(false))
}

fn last_of_each(all: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut kept: Vec<(String, String)> = Vec::new();
    for (name, value) in all {
        kept.retain(|(earlier, _)| *earlier != name);
        kept.push((name, value));
    }
    kept
}

#[cfg(test)]
#[path = "tests/environment.rs"]
mod tests;
