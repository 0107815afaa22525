//! A look at a request where a job is submitted, so that a mistake costs seconds and not hours in the queue.
//!
//! Locks and states may change until the job starts, and a node may have files that are not here; all else is checked.

use nix::errno::Errno;
use nix::unistd::geteuid;

use crate::config::{Config, Mounts};
use crate::machine::facts::{BaseFacts, LayerFacts};
use crate::machine::survey::{self, SurveyError};
use crate::plan::refusal::Refusal;
use crate::plan::search_permission::{self, As};
use crate::plan::{self, fakeroot, layers, mounting};
use crate::request::Request;
use crate::request::layer::Mode;
use condatainer_images::image::ImageError;

/// Why a job would not start.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    /// Something is no image, or missing.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// The parts do not go together.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Looks at every image that must exist here; one below a node-local directory may exist on the nodes only. With all of them here,
/// `-w` becomes the mode of the layer that it means.
///
/// # Errors
/// What cannot work wherever the job starts.
pub fn check(request: &mut Request, config: &Config) -> Result<(), SubmissionError> {
    for bind in &request.bind {
        here(survey::binds(std::slice::from_ref(bind)), config)?;
    }
    let base = here(survey::base_of(request, request.base.clone(), config), config)?;
    let mut layers: Vec<LayerFacts> = Vec::new();
    let mut complete = true;
    for layer in &request.layers {
        match here(survey::layer_at_submission(layer, config), config)? {
            Some(found) => layers.push(found),
            None => complete = false,
        }
    }
    for layer in request.site_layers(&config.policy) {
        here(survey::layer_at_submission(&layer, config), config)?;
    }
    match base {
        Some(base) if complete => check_together(request, &base, &layers, config),
        _ => Ok(()),
    }
}

fn check_together(
    request: &mut Request,
    base: &BaseFacts,
    layers: &[LayerFacts],
    config: &Config,
) -> Result<(), SubmissionError> {
    let mounts = config.mounts(request.mounts);
    let moded = plan::check(request, base, layers, None)?;
    let written = moded.iter().find(|(_, mode)| *mode == Mode::Rw);
    let not_ours = written.and_then(|(layer, _)| mounting::not_written(layer));
    // Whether we can mount the others is for the node to say.
    let is_engines = mounts == Mounts::Engine || not_ours.is_some();
    if let (Some(why), Mounts::Own) = (not_ours, mounts) {
        let origin = if request.mounts == Some(mounts) { None } else { config.origin_of_mounts(mounts) };
        return Err(Refusal::NotOurs { why, origin }.into());
    }
    if is_engines {
        plan::check_for_engine(&moded)?;
    }
    let as_root = request.fakeroot.unwrap_or_else(|| fakeroot::first_of_root(layers).is_some());
    let tmp = layers::is_temporary(request, &moded);
    let me = geteuid().as_raw();
    match (as_root, is_engines) {
        (true, true) => search_permission::check(&moded, tmp, As::Root(None))?,
        (false, true) => search_permission::check(&moded, tmp, As::User(me))?,
        (false, false) => search_permission::check(&moded, tmp, As::Owner(me))?,
        (true, false) => {}
    }
    let written = moded.iter().position(|(_, mode)| *mode == Mode::Rw);
    if let Some(layer) = written.and_then(|at| request.layers.get_mut(at)) {
        layer.mode = Some(Mode::Rw);
        request.write = false;
    }
    Ok(())
}

fn here<T>(found: Result<T, SurveyError>, config: &Config) -> Result<Option<T>, SurveyError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(
            SurveyError::Image(ImageError::NotFound { path, .. })
            | SurveyError::Everybodys { error: ImageError::NotFound { path, .. }, .. }
            | SurveyError::Base { error: ImageError::NotFound { path, .. }, .. },
        ) if config.is_node_path(&path) => Ok(None),
        Err(SurveyError::Bind { path, error }) if error == Errno::ENOENT && config.is_node_path(&path) => Ok(None),
        Err(error) => Err(error),
    }
}
