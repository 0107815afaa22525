//! The second look: between the probe and the engine's lock a file can be replaced or taken. What was decided must still hold
//! once the lock is held, before any command runs.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::plan::layers::in_use;
use crate::plan::refusal::{Limit, Refusal};
use crate::plan::{Overlay, Plan};
use crate::request::layer::Mode;
use crate::run::error::RunError;
use crate::run::images::as_planned;
use condatainer_formats::ext::Stamp;
use condatainer_images::acquire::usage::usage;
use condatainer_images::image::{self, Opened};
use condatainer_images::overlay::whiteout::{self, Mounter};

/// Compares the base and every layer with what the plan was made for.
pub(crate) fn unchanged(plan: &Plan) -> Result<(), RunError> {
    let is_the_base = |now: Metadata| (now.dev(), now.ino()) == plan.base_identity;
    if !fs::metadata(&plan.base).is_ok_and(is_the_base) {
        return Err(RunError::Changed { path: plan.base.clone(), what: "was removed or replaced" });
    }
    plan.watch.iter().try_for_each(|watch| {
        let changed = |what| RunError::Changed { path: watch.path.clone(), what };
        let now = image::open(&watch.path).map_err(|_| changed("was removed or replaced"))?;
        match (watch.stamp, as_planned::probe(&now, watch)?) {
            (Some(before), Some(probe)) if !still_honoured(plan, &now, before, probe.stamp) => {
                Err(changed("was written to"))
            }
            // It was repaired just now, and nobody has looked since.
            (None, Some(_)) if plan.engine.is_singularity() && !is_honoured(plan, &now) => {
                let (path, limit) = (watch.path.clone(), Limit::Deletions);
                Err(RunError::Refused(Refusal::SingularityCE { path, limit }))
            }
            _ => Ok(()),
        }
    })
}

/// Whether there still is nothing deleted that the kernel's overlay would show. The engine holds its lock now, so what is found
/// stays so; it was mounted once since the plan was made, and that is remembered for the next start. Anything else may have been
/// a writer, and is worth a search of any length.
fn still_honoured(plan: &Plan, opened: &Opened, before: Stamp, now: Stamp) -> bool {
    if now.is_one_mount_after(&before)
        && let Some(found) = whiteout::remembered(&opened.file, &before)
    {
        whiteout::remember(&opened.file, &now, &found);
    }
    let mounted_by_us = now == before || now.is_one_mount_after(&before);
    mounted_by_us || is_honoured(plan, opened)
}

fn is_honoured(plan: &Plan, opened: &Opened) -> bool {
    let Some(window) = opened.image.ext_window() else { return false };
    let mounter = if plan.engine.is_singularity() { Mounter::Root } else { Mounter::User };
    let below = plan.below(&opened.image.path);
    matches!(whiteout::honoured_by(mounter, &opened.file, window, &below, None), Ok(Some(true)))
}

/// After a failed start: the refusal that explains it, if another process took an image in between.
pub(crate) fn who_was_faster(plan: &Plan) -> Option<Refusal> {
    plan.stack.iter().find_map(|overlay| match overlay {
        Overlay::Rw(path) => in_use_now(path, Mode::Rw),
        Overlay::Ro(path) => in_use_now(path, Mode::Ro),
        Overlay::Scratch(_) | Overlay::ScratchImage(_) | Overlay::Memory(_) => None,
    })
}

fn in_use_now(path: &Path, mode: Mode) -> Option<Refusal> {
    in_use(path, mode, &usage(&image::open(path).ok()?))
}
