//! Why the facts could not be had.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::config::Origin;
use condatainer_images::image::ImageError;

/// Why the facts could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// A layer cannot be used as an image.
    #[error("{}", with_damage_cure(.0))]
    Image(#[from] ImageError),
    /// The base cannot be used as one.
    #[error("{error}{}", origin.as_ref().map_or_else(String::new, |origin| format!("; {}", base_cure(origin))))]
    Base {
        /// What is wrong.
        error: ImageError,
        /// Who has named it, where it was no option.
        origin: Option<Origin>,
    },
    /// A layer that the site gives to everybody.
    #[error("{error}: {} gives it to everybody (policy.always): tell your administrator", file.display())]
    Everybodys {
        /// What is wrong.
        error: ImageError,
        /// The site's file.
        file: PathBuf,
    },
    /// No base image is named anywhere.
    #[error(
        "no base image: name one with -b (in Slurm: --condatainer-base=), CONDATAINER_BASE or 'base' in the configuration; 'condatainer create -s docker://debian:trixie -n debian/13' makes one for -b debian/13"
    )]
    NoBase,
    /// The caller's working directory has been removed.
    #[error("the working directory cannot be used: {0}: it was removed, so go to another")]
    WorkingDirectory(io::Error),
    /// A path of the host that is to be shown.
    #[error("bind {}: {}", path.display(), error.desc())]
    Bind {
        /// The path.
        path: PathBuf,
        /// Why it cannot be.
        error: Errno,
    },
    /// The caller cannot be told.
    #[error("cannot look up the calling user: {0}")]
    Caller(io::Error),
}

/// What is wrong with an image, and what to do about one that is damaged.
fn with_damage_cure(error: &ImageError) -> String {
    let path = error.path();
    let is_image = path.extension().is_some_and(|ending| ending == "img" || ending == "ext3");
    match error {
        ImageError::Corrupt { .. } if is_image => {
            let path = path.display();
            format!("{error}; 'condatainer overlay check {path}' says what is wrong, and --fix repairs it")
        }
        ImageError::Unknown { found: None, .. } if is_image => {
            format!("{error}; if it was an image, its beginning is damaged: 'e2fsck -y COPY' may repair a copy of it")
        }
        _ => error.to_string(),
    }
}

/// What to do about a base that nobody has named by an option.
pub(crate) fn base_cure(origin: &Origin) -> String {
    origin.cure(", or name another with -b (in Slurm: --condatainer-base=)")
}
