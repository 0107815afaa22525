//! Whether an image is still the one that the plan was made for.

use crate::plan::Watch;
use crate::run::error::RunError;
use condatainer_formats::ext::Probe;
use condatainer_images::image::Opened;

/// Compares file and owner; what else it says of itself.
pub(crate) fn probe(opened: &Opened, watch: &Watch) -> Result<Option<Probe>, RunError> {
    let changed = |what| RunError::Changed { path: watch.path.clone(), what };
    if (opened.image.dev, opened.image.ino) != watch.identity {
        return Err(changed("was replaced by another file"));
    }
    let probe = opened.probe().ok().flatten();
    let upper = probe.as_ref().and_then(|probe| probe.upper.owner()).map(|owner| (owner.uid, owner.gid));
    if upper == watch.upper { Ok(probe) } else { Err(changed("changed its owner")) }
}
