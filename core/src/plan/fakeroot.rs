//! Fakeroot: whether a start runs as the container's root, in which of Apptainer's ways, and whether that can work.

use crate::machine::engine::{Engine, Flavour};
use crate::machine::facts::{Facts, LayerFacts};
use crate::plan::engine::singularity;
use crate::plan::layers::Moded;
use crate::plan::refusal::Refusal;
use crate::request::Request;
use crate::request::layer::Mode;
use condatainer_images::system::fakeroot::{Fakeroot, maps};
use condatainer_images::system::user::Caller;

/// Which kind of fakeroot the request gets on this machine; `None` for plain mode. `ours` says that we mount the layers.
///
/// # Errors
/// Fakeroot is wanted and impossible, or the engine writes the image and it belongs to somebody whom the mode cannot write as.
pub(crate) fn decide(
    request: &Request,
    facts: &Facts,
    writer: Option<&LayerFacts>,
    ours: bool,
) -> Result<Option<Fakeroot>, Refusal> {
    // SingularityCE's fakeroot leaves images out, so it would help nobody.
    let is_singularity = !ours && facts.engine.as_ref().is_ok_and(Engine::is_singularity);
    let automatic = || !is_singularity && first_of_root(&facts.layers).is_some();
    let wanted = request.fakeroot.unwrap_or_else(automatic);
    let fakeroot = wanted.then(|| offered(&facts.caller, facts.newuidmap)).transpose()?;
    match writer {
        Some(layer) if is_singularity && fakeroot.is_none() => {
            singularity::check_owner(layer, facts.caller.uid)?;
            check_owner(layer, fakeroot, request, facts).map(|()| fakeroot)
        }
        // Where we mount, what is in an image is its user's or its root's, whoever has written it.
        Some(layer) if !ours => check_owner(layer, fakeroot, request, facts).map(|()| fakeroot),
        _ => Ok(fakeroot),
    }
}

/// What the caller gets on a machine that has user namespaces and `newuidmap`, or lacks them.
///
/// # Errors
/// Why fakeroot is not usable.
pub fn usable(caller: &Caller, user_namespaces: bool, newuidmap: bool) -> Result<Fakeroot, Refusal> {
    if !user_namespaces {
        return Err(Refusal::NoUserNamespaces(Flavour::Apptainer));
    }
    offered(caller, newuidmap)
}

fn offered(caller: &Caller, newuidmap: bool) -> Result<Fakeroot, Refusal> {
    match (caller.uid, caller.has_subids, newuidmap) {
        (0, _, _) => Ok(Fakeroot::Root),
        (_, true, true) => Ok(Fakeroot::Subuid),
        (_, true, false) => Err(Refusal::NoNewuidmap),
        (_, false, _) => Ok(Fakeroot::RootMapped),
    }
}

/// The first layer whose upper belongs to root: that turns fakeroot on.
pub(crate) fn first_of_root(layers: &[LayerFacts]) -> Option<&LayerFacts> {
    layers.iter().find(|layer| upper(layer).is_some_and(|(uid, _)| uid == 0))
}

fn upper(layer: &LayerFacts) -> Option<(u32, u32)> {
    layer.image.as_ref().and_then(|image| image.upper)
}

/// The owner of a written upper must exist in the container's user namespace, else Apptainer cannot make it an upper layer.
fn check_owner(
    layer: &LayerFacts,
    fakeroot: Option<Fakeroot>,
    request: &Request,
    facts: &Facts,
) -> Result<(), Refusal> {
    let Some(owner) = upper(layer) else { return Ok(()) };
    let caller = (facts.caller.uid, facts.caller.gid);
    let usable = maps(owner, caller, fakeroot);
    if usable {
        return Ok(());
    }
    let fakeroot_helps =
        offered(&facts.caller, facts.newuidmap).is_ok_and(|offered| maps(owner, caller, Some(offered)));
    let (automatic, origin) = (request.fakeroot.is_none(), facts.fakeroot_origin.clone());
    Err(Refusal::WrongOwner { path: layer.path.clone(), owner, caller, fakeroot, fakeroot_helps, automatic, origin })
}

/// The one line that says why the container's user is root, or that nothing can be written.
pub(crate) fn notice(
    request: &Request,
    facts: &Facts,
    fakeroot: Option<Fakeroot>,
    layers: &[Moded<'_>],
) -> Option<String> {
    if fakeroot.is_none_or(|f| f == Fakeroot::Root) {
        return None;
    }
    if request.fakeroot.is_none() {
        let layer = first_of_root(&facts.layers)?;
        return Some(format!(
            "fakeroot turned on: {} belongs to root (--no-fakeroot turns it off)",
            layer.path.display()
        ));
    }
    let writes = request.tmp || layers.iter().any(|(_, mode)| *mode != Mode::Ro);
    (!writes).then(|| {
        "fakeroot without a writable image: nothing can be written (add :rw or :tmp to the image, or use --tmp)".into()
    })
}
