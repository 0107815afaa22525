//! What is wrong with a definition, in words that say what to do.

/// What is wrong with a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing but comments.
    Empty,
    /// No text.
    NotText,
    /// Larger than 1 MiB.
    TooLong,
    /// A Dockerfile.
    Dockerfile,
    /// It says nowhere what to begin with.
    NoBootstrap,
    /// The image to begin with has no name. Apptainer would take the working directory for a local one, with all that is in it.
    NoFrom,
}

impl Flaw {
    /// Whether it is something that has a name of its own.
    pub(super) fn is_something_else(self) -> bool {
        matches!(self, Self::NotText | Self::TooLong | Self::Dockerfile)
    }

    /// What is wrong and what to do, behind the path and a colon.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Empty => {
                "is empty; a definition begins with two lines like 'Bootstrap: docker' and 'From: debian:trixie'"
            }
            Self::NotText => "is not a text, so it is no definition; an image is given with -s",
            Self::TooLong => "is longer than 1 MiB, so it is no definition; an image is given with -s",
            Self::Dockerfile => {
                "is a Dockerfile, which Apptainer does not build; save what podman or docker builds from it in an archive, and give that with -s"
            }
            Self::NoFrom => {
                "does not name the image to begin with in a line 'From:'; a definition begins with two lines like 'Bootstrap: docker' and 'From: debian:trixie'"
            }
            Self::NoBootstrap => {
                "has no line 'Bootstrap:'; a definition begins with two lines like 'Bootstrap: docker' and 'From: debian:trixie'"
            }
        }
    }
}
