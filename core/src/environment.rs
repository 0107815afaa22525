//! The environment of a command: what the job has been given, what the layers set, what was asked for. Pure, a part of planning.
//!
//! Later wins: the job, then the layers from the lowest to the topmost, then the caller's own `--env`.

use crate::facts::{Facts, Kind};
use crate::plan::Moded;
use crate::request::Request;

/// The programs of the modules, lowest first.
pub(crate) fn path(layers: &[Moded<'_>]) -> Vec<String> {
    let modules = in_stack_order(layers).filter(|layer| layer.module.has_bin);
    modules.filter_map(|layer| Some(format!("{}/bin", layer.module.root.as_ref()?))).collect()
}

/// Every variable once, with the value that wins.
pub(crate) fn variables(request: &Request, facts: &Facts, layers: &[Moded<'_>]) -> Vec<(String, String)> {
    let mut all = facts.job_variables.clone();
    all.push(("IN_CONDATAINER".into(), level(facts).to_string()));
    if layers.iter().any(|(layer, mode)| *mode == crate::layer::Mode::Rw && layer.image.is_some()) {
        all.push(("CNT_CONDA_PREFIX".into(), "/ext3/env".into()));
    }
    let modules = in_stack_order(layers).flat_map(|layer| &layer.module.variables);
    all.extend(modules.map(|variable| (variable.name.clone(), variable.value.clone())));
    all.extend(request.env.iter().cloned());
    last_of_each(all)
}

fn level(facts: &Facts) -> u32 {
    facts.nesting.saturating_add(1)
}

/// What bash asks with: that this is a container, and where.
pub(crate) fn prompt(facts: &Facts) -> String {
    let level = level(facts);
    let name = if level > 1 { format!("CNT_{level}") } else { "CNT".into() };
    format!("{name} \\[\\e[0;34m\\]\\w\\[\\e[0m\\]> ")
}

/// What a person at a terminal may want to know.
pub(crate) fn remarks(layers: &[Moded<'_>]) -> Vec<String> {
    let variables = in_stack_order(layers).flat_map(|layer| &layer.module.variables);
    variables
        .map(|variable| format!("{}: {}", variable.name, variable.note.as_ref().unwrap_or(&variable.value)))
        .collect()
}

/// Squashfs in the order given, then images, as they are stacked.
fn in_stack_order<'a>(layers: &'a [Moded<'a>]) -> impl Iterator<Item = &'a crate::facts::LayerFacts> {
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
