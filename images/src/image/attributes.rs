//! The extended attributes that an image file may have from us. No byte of the image changes with them, and they go wherever the
//! file goes.

/// Which whiteouts it has ([`crate::overlay::whiteout`]).
pub(crate) const WHITEOUTS: &str = "user.condatainer.whiteouts";
/// Whose it was before root got it on loan ([`crate::verbs::with_root`]).
pub(crate) const LOAN: &str = "user.condatainer.with-root";
/// That its user has been told that it would be better sealed ([`crate::verbs::seal`]). Nothing else depends on it.
pub(crate) const SEAL_ADVISED: &str = "user.condatainer.seal-advised";
