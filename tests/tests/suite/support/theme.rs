//! Themes and tests as data, so that what does not run on a release can be named.

use anyhow::Result;
use cluster::{Release, cgroup};

use crate::support::{Desk, World, singularity};

/// All themes.
pub(crate) struct Suite {
    pub(crate) themes: Vec<Theme>,
}

/// The tests of one file.
pub(crate) struct Theme {
    pub(crate) name: &'static str,
    pub(crate) tests: Vec<Test>,
}

/// What a test must find on a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Slurm only; where there is no Apptainer a stand-in takes its place (see `fake-apptainer.sh`).
    Slurm,
    /// The real Apptainer: images are really mounted. On the newest release we mount the layers, on the others the engine does.
    Apptainer,
    /// The same, once, on the newest release: what is proved is in the hands of neither Slurm nor of whoever mounts. The test says itself who
    /// mounts, and types nothing of Slurm's; or it is about what comes before any mount (whose files they are, what a build makes of its
    /// input) or after it (what a shell of a layer reads). All releases have the same Apptainer. What a verb does to an image is no such
    /// test: the releases have different e2fsprogs.
    ApptainerOnce,
    /// Apptainer, and a host that limits memory by cgroups v1.
    MemoryCgroups,
    /// SingularityCE in Apptainer's place, on the newest release; where somebody has brought it.
    SingularityCE,
    /// An Apptainer with a setuid starter, on the newest release.
    SetuidApptainer,
    /// One release, whose own ways are shown.
    Only(Release),
}

/// Where a test runs.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// In a directory of its own on the cluster that all tests of a release share.
    Desk(fn(&Desk) -> Result<()>),
    /// On clusters that the test starts itself, because it changes them.
    OwnCluster(fn(&World, Release) -> Result<()>),
}

/// One test.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) needs: Needs,
    pub(crate) place: Place,
}

impl Test {
    /// Whether the release has what the test needs.
    pub(crate) fn runs_on(&self, release: Release) -> bool {
        match self.needs {
            Needs::Slurm => true,
            Needs::Apptainer => release.has_apptainer(),
            Needs::MemoryCgroups => release.has_apptainer() && cgroup::limits_memory(),
            Needs::SingularityCE => release == Release::Sid && singularity().is_some(),
            Needs::SetuidApptainer | Needs::ApptainerOnce => release == Release::Sid,
            Needs::Only(only) => only == release,
        }
    }
}

impl Suite {
    /// Every test with the name of its theme.
    pub(crate) fn tests(&self) -> impl Iterator<Item = (&'static str, &Test)> {
        self.themes.iter().flat_map(|theme| theme.tests.iter().map(|test| (theme.name, test)))
    }
}

/// How often something is tried that chance decides: a few times, or many where the proof is wanted in full (`make soak`).
pub(crate) fn times(few: u32, many: u32) -> u32 {
    if std::env::var_os("CONDATAINER_SOAK").is_some() { many } else { few }
}

/// Lists the tests of a theme. A function that is not listed is dead code, which the compiler reports.
macro_rules! tests {
    ($($needs:expr, $place:ident: [$($name:ident),* $(,)?];)*) => {
        pub(crate) fn tests() -> Vec<$crate::support::Test> {
            use $crate::support::{Needs::*, Place, Test};
            vec![$($(Test { name: stringify!($name), needs: $needs, place: Place::$place($name) },)*)*]
        }
    };
}

pub(crate) use tests;
