//! The plan: the complete decision about a start, as data. Pure: no file, process or environment is looked at here.
//!
//! [`decide`] takes a request and the facts and either says exactly what will run or refuses with a reason and a cure. It asks in
//! this order: which mode each layer gets and whether it can have it ([`layers`]), whether the start is one of fakeroot
//! ([`fakeroot`]), whether the caller may enter what is in the images ([`search_permission`]), what this engine can do with the
//! layers ([`engine`]), who mounts them and how they are stacked ([`mounting`]), where the command starts ([`working_directory`]),
//! which directories of the host are bound ([`binds`]) and what the command's environment is ([`environment`]). The answer is a
//! [`Plan`] ([`decision`]), which [`command_line`] turns into words, or a [`Refusal`]. A plan can be printed (`--dry-run`), compared
//! in a test, and is what [`crate::run`] carries out.

pub(crate) mod binds;
pub(crate) mod command_line;
mod decision;
pub(crate) mod engine;
mod environment;
pub mod fakeroot;
pub(crate) mod layers;
pub mod mounting;
pub mod refusal;
pub(crate) mod search_permission;
pub mod working_directory;

pub use decision::{Command, Overlay, Plan, Watch};
pub use layers::{Moded, check, check_for_engine};

use crate::config::Mounts;
use crate::machine::engine::{Engine, Flavour};
use crate::machine::facts::{Facts, LayerFacts, Whiteouts};
use crate::machine::hard_links::HardLinks;
use crate::plan::engine::{setuid, singularity};
use crate::plan::mounting::{Mounting, stack};
use crate::plan::refusal::Refusal;
use crate::plan::search_permission::As;
use crate::plan::working_directory::Directory;
use crate::request::Request;
use crate::request::layer::Mode;
use condatainer_images::acquire::usage::Usage;
use condatainer_images::system::fakeroot::Fakeroot;
use condatainer_stack::namespace::user::Users;

/// Decides what to start.
///
/// # Errors
/// A [`Refusal`] for whatever cannot work, before anything is started or changed.
pub fn decide(request: &Request, facts: &Facts, command: Command) -> Result<Plan, Refusal> {
    let plan = one_way(request, facts, command.clone())?;
    if plan.mounts.own().is_none() || facts.mounts.asked != Mounts::Auto {
        return Ok(plan);
    }
    let mut engines = facts.clone();
    engines.mounts.asked = Mounts::Engine;
    let otherwise = one_way(request, &engines, command).ok().map(Box::new);
    Ok(Plan { otherwise, ..plan })
}

/// Whether the engine would mount the layers of this request, or could not where that is the way out, as long as nobody has
/// [searched](crate::machine::survey::search_for_engine) them: one that takes no fuse-overlayfs must know that it needs none.
#[must_use]
pub fn needs_search(request: &Request, facts: &Facts) -> bool {
    let has_no_way_out = |plan: &Plan| facts.mounts.asked == Mounts::Auto && plan.otherwise.is_none();
    let plan = decide(request, facts, Command::Shell(None));
    plan.map_or(true, |plan| plan.mounts.own().is_none() || has_no_way_out(&plan))
}

fn one_way(request: &Request, facts: &Facts, command: Command) -> Result<Plan, Refusal> {
    let engine = facts.engine.clone().map_err(Refusal::NoEngine)?;
    let by_kernel = singularity::mounts_by_kernel(&engine, facts);
    if !facts.user_namespaces && facts.caller.uid != 0 && !by_kernel {
        return Err(Refusal::NoUserNamespaces(engine.flavour));
    }
    let checked = layers::check(request, &facts.base, &facts.layers, facts.job.as_deref());
    let layers = checked.map_err(|refusal| refusal.of(engine.flavour))?;
    let writer = layers.iter().find(|(_, mode)| *mode == Mode::Rw).map(|(layer, _)| *layer);
    layers::within_file_limit(facts.file_limit, writer)?;
    let tmp = layers::is_temporary(request, &layers);
    let fakeroot = fakeroot::decide(request, facts, writer, mounting::is_ours(facts, &layers, tmp))?;
    let is_root_inside = fakeroot.is_some_and(|fakeroot| fakeroot != Fakeroot::Root);
    let is_singularity = engine.is_singularity();
    let bind = binds::all(&request.bind, &facts.host, &facts.working_directory, is_root_inside);
    let mounts = mounting::decide(facts, &layers, fakeroot, &bind, tmp)?;
    let ours = mounts.own().is_some();
    match (fakeroot, ours) {
        // Its root may do everything with all ids that it is shown.
        (Some(_), true) => {}
        (None, true) => search_permission::check(&layers, tmp, As::Owner(facts.caller.uid))?,
        (None, false) if !is_singularity => search_permission::check(&layers, tmp, As::User(facts.caller.uid))?,
        (Some(fakeroot), false) if !is_singularity => search_permission::check(&layers, tmp, As::Root(Some(fakeroot)))?,
        (_, false) => {}
    }
    if !ours {
        if is_singularity {
            singularity::check(&engine, facts, &layers, fakeroot)?;
        }
        layers::check_for_engine(&layers).map_err(|refusal| refusal.of(engine.flavour))?;
    }
    let mut overlay_driver = !ours && !is_singularity && stack::needs_overlay_driver(&facts.base, &layers, tmp);
    if overlay_driver && !engine.takes_configuration(facts.caller.uid) {
        setuid::check_without_driver(facts, &layers, tmp)?;
        overlay_driver = false;
    }
    let in_image = !ours && singularity::wants_scratch_image(&engine, facts, fakeroot);
    let scratch = tmp.then(|| stack::scratch(facts, &mounts, in_image)).transpose()?;
    Ok(Plan {
        notices: notices(request, facts, fakeroot, &layers, ours).into_iter().chain(mounts.notice(&layers)).collect(),
        userns: needs_user_namespace(&engine, facts, fakeroot, &mounts),
        mounts,
        links_first: engine.needs_links_first(facts.caller.uid),
        stack: stack::stack(&layers, scratch),
        engine,
        base: facts.base.path.clone(),
        base_identity: facts.base.identity,
        fakeroot,
        overlay_driver,
        gpus: facts.gpus.clone(),
        bind,
        directory: Directory::decide(request.workdir.as_deref(), &facts.working_directory)?,
        workdir: request.workdir.clone(),
        path: environment::path(&layers),
        workspace: writer.is_some_and(|writer| writer.image.is_some()),
        env: environment::variables(request, facts, &layers, ours),
        prompt: environment::prompt(facts, &layers, tmp),
        remarks: environment::remarks(&layers),
        command,
        // Whoever only reads them replays their journal in memory.
        repair: layers
            .iter()
            .filter(|(l, mode)| (!ours || *mode == Mode::Rw) && layers::needs_repair(l, *mode))
            .map(|(l, _)| l.path.clone())
            .collect(),
        watch: facts.layers.iter().map(|layer| watch(layer, overlay_driver || ours)).collect(),
        holds: writer.filter(|w| w.image.is_some()).map(|w| w.path.clone()),
        log: facts.log.clone(),
        otherwise: None,
    })
}

/// An unprivileged installation makes one unasked, and root does without. In a namespace of ours only root has the right to mount.
fn needs_user_namespace(engine: &Engine, facts: &Facts, fakeroot: Option<Fakeroot>, mounts: &Mounting) -> bool {
    if let Some(own) = mounts.own() {
        return matches!(own.users, Users::Caller { .. }) && (engine.setuid || engine.is_singularity());
    }
    match engine.flavour {
        Flavour::Apptainer => engine.setuid && facts.caller.uid != 0,
        Flavour::SingularityCE => {
            let in_fakeroot = fakeroot.is_some_and(|fakeroot| fakeroot != Fakeroot::Root);
            in_fakeroot || !singularity::mounts_by_kernel(engine, facts)
        }
    }
}

/// What the user should know before the start; every other decision is silent.
fn notices(
    request: &Request,
    facts: &Facts,
    fakeroot: Option<Fakeroot>,
    layers: &[Moded<'_>],
    ours: bool,
) -> Vec<String> {
    let unlocked = layers.iter().filter(|(_, mode)| *mode == Mode::Rw).find_map(|(layer, _)| match &layer.image.as_ref()?.usage {
        Usage::Unknown { reason } => Some(format!(
            "{}: this file system has no locks ({reason}): nothing notices another writer, so be sure to be the only one",
            layer.path.display()
        )),
        _ => None,
    });
    let unread = layers.iter().filter_map(|(layer, _)| layer.module.problem.as_ref());
    let unread = unread.map(|problem| format!("{problem}: the variables in it are not set"));
    let written = || layers.iter().filter(|(_, mode)| *mode == Mode::Rw);
    let nearly_full = written().find_map(|(layer, _)| {
        let (path, free) = (layer.path.display(), layer.image.as_ref()?.short_of_space? >> 20);
        // A program is told by our server what has no room.
        let lost = if ours { "" } else { ": what does not fit is lost, perhaps without an error" };
        Some(format!("{path}: only {free} MiB are free on its disk{lost}"))
    });
    let full = written().find_map(|(layer, _)| {
        let (path, lack) = (layer.path.display(), layer.image.as_ref()?.lack?);
        let (what, cure) = (lack.words(), lack.cure());
        let resize = format!("run 'condatainer overlay resize {cure} {path}' first");
        let lost = if ours { "" } else { "what does not fit is lost, perhaps without an error; " };
        Some(format!("{path}: {what}: {lost}{resize}"))
    });
    let writes = request.tmp || layers.iter().any(|(_, mode)| *mode != Mode::Ro);
    // Only fuse-overlayfs confuses them.
    let confused = facts.hard_links.as_ref().filter(|_| writes && !ours).map(HardLinks::notice);
    let first = fakeroot::notice(request, facts, fakeroot, layers);
    first.into_iter().chain(unlocked).chain(nearly_full).chain(full).chain(confused).chain(unread).collect()
}

fn watch(layer: &LayerFacts, honours_all: bool) -> Watch {
    let honoured = layer.image.as_ref().and_then(|image| match image.whiteouts {
        Whiteouts::Honoured(stamp) => Some(stamp),
        Whiteouts::OfFuse | Whiteouts::Unknown => None,
    });
    Watch {
        stamp: honoured.filter(|_| !honours_all),
        path: layer.path.clone(),
        identity: layer.identity,
        upper: layer.image.as_ref().and_then(|image| image.upper),
    }
}

#[cfg(test)]
pub(crate) mod tests;
