//! Building: a definition, or an image from a registry or a file, becomes a read-only squashfs layer.
//!
//! `apptainer build` makes a SIF in a temporary directory. Its system partition is a squashfs already, so the layer is that byte
//! range, copied to a draft beside its place and renamed when it is on disk. The compression is chosen by arguments for the
//! mksquashfs that Apptainer calls itself: a sandbox packed by us afterwards would be written twice, and outside of Apptainer's
//! user namespace the owners in it are other numbers.
//!
//! [`recipe`] tells what a layer is made from; [`apptainer`] builds definitions and images, [`conda`] environments. Both run their
//! tool by [`process`] in a [`work_dir`], and write to a [`target`].

mod apptainer;
pub mod conda;
mod error;
mod last_lines;
mod packed;
mod process;
mod progress;
mod recipe;
mod request;
mod target;
mod work_dir;

pub use apptainer::command::engine;
pub use error::BuildError;
pub use progress::{News, Watch};
pub use recipe::flaw::Flaw;
pub use recipe::source::Source;
pub use recipe::{Recipe, Told};
pub use request::{Report, Request};

/// Builds the layer.
///
/// # Errors
/// See [`BuildError`]; then nothing is left at the layer's path, and what was there before is as it was.
pub fn build(request: &Request, watch: Watch<'_>) -> Result<Report, BuildError> {
    apptainer::build::run(request, watch)
}
