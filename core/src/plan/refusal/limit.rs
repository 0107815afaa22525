//! The limits of SingularityCE in words, each with the way out.

use std::path::{Path, PathBuf};

use crate::config::{Origin, drop_option};
use crate::machine::engine::Unsupported;

/// A limit of SingularityCE.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// What is in the image or directory.
    Unsupported(Unsupported),
    /// Image layers are mounted by the kernel, which this installation may not ask for it.
    NotSetuid(PathBuf),
    /// It would start without the layer, and not say so.
    FakerootWithImages(Option<Origin>),
    /// It lets only root have both.
    DirectoryWithImages,
    /// No mode can write the image.
    OwnedByRoot,
    /// Whiteouts of fuse-overlayfs in an image.
    Deletions,
}

impl Limit {
    /// What there is to say about the image or directory at `path`.
    pub(crate) fn said_of(&self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Unsupported(Unsupported::Compression(name)) => format!(
                "SingularityCE does not accept a squashfs file that is compressed with {name}: make it anew with gzip ('mksquashfs -comp gzip', 'condatainer overlay seal --compression gzip'), or use Apptainer"
            ),
            Self::NotSetuid(program) => format!(
                "SingularityCE mounts image layers only where it is installed setuid, and {} is not: use a directory as layer, or Apptainer",
                program.display()
            ),
            Self::FakerootWithImages(origin) => format!(
                "SingularityCE leaves image layers out under fakeroot: {}, or use Apptainer",
                drop_option("--fakeroot", "true", origin.as_ref())
            ),
            Self::DirectoryWithImages => {
                "a setuid SingularityCE stacks no directory together with image layers: put it into a squashfs file ('mksquashfs -comp gzip'), or use Apptainer".into()
            }
            Self::OwnedByRoot => format!(
                "its upper belongs to root, and SingularityCE's fakeroot leaves image layers out, so nobody but root could write it: run 'condatainer overlay chown {path}', or use Apptainer"
            ),
            Self::Unsupported(Unsupported::DeletionsInDirectory) => {
                "SingularityCE would show again what Apptainer has deleted in this directory (it holds files .wh.NAME): use an image, or Apptainer".into()
            }
            Self::Deletions => format!(
                "SingularityCE would show again what Apptainer has deleted in it: run 'condatainer overlay check --fix {path}'; where that does not help, use Apptainer"
            ),
        }
    }
}
