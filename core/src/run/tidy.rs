//! After a writer: what it has deleted is put into the kernel's language, and remembered.
//!
//! Then whoever reads the image next, also an Apptainer that somebody runs by hand, sees it deleted without fuse-overlayfs in
//! between. All of this is a service: whatever fails here, the next start finds out by itself.

use std::path::Path;
use std::time::Duration;

use crate::held::{Held, HeldError, Purpose};
use crate::whiteout;

/// A writer may end this much later than its command; a search that takes longer is left to `overlay info --scan`.
const SEARCH: Duration = Duration::from_millis(300);

/// Looks for whiteouts in the image that was written, translates them, and leaves a mark.
pub(crate) fn tidy(image: &Path) {
    // Somebody else may have it already; where there are no locks nothing would tell, not even whether our own engine's daemons
    // have ended.
    if let Ok(held) = Held::open(image, Purpose::Change)
        && held.lock_unsupported().is_none()
    {
        let _ = translate(&held);
    }
}

fn translate(held: &Held) -> Result<(), HeldError> {
    held.make_clean(false)?;
    let find = || whiteout::find(&held.file, held.window, Some(SEARCH)).ok().flatten();
    if find().is_some_and(|found| found.kinds.fuse > 0) && whiteout::translate(&held.file, held.window).is_ok() {
        find();
    }
    Ok(())
}
