//! Hard links of a lower layer, where nothing keeps fuse-overlayfs from confusing them: why, and what to do. Pure.
//!
//! The library that our interposer loads into fuse-overlayfs prevents it (`programs/preload/`). This is for the few machines on which it
//! is not loaded.

use std::path::PathBuf;

use serde::Serialize;

/// What happens.
pub(crate) const CONFUSED: &str = "what is written to one of several hard links in a layer below can land in another";

/// A layer in which it can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HardLinks {
    /// A layer, or the base, that has a file with several names.
    pub layer: PathBuf,
    /// The fuse-overlayfs that the engine takes.
    pub program: PathBuf,
    /// Why nothing prevents it.
    pub cause: Cause,
}

/// Why the library is not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The engine looks first into directories of its own, and takes no configuration of ours.
    Bundled,
    /// Our links, or the library, are not installed.
    NoLibrary,
    /// The program is linked statically.
    Static,
}

impl Cause {
    /// The first that holds.
    pub(crate) fn of(has_library: bool, in_reach: bool, takes_preload: bool) -> Option<Self> {
        let causes = [(has_library, Self::NoLibrary), (in_reach, Self::Bundled), (takes_preload, Self::Static)];
        causes.into_iter().find_map(|(is_well, cause)| (!is_well).then_some(cause))
    }

    /// Why, of a program that was named.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Bundled => "it comes with the engine, which loads nothing of ours into it",
            Self::NoLibrary => "there is no library libexec/condatainer/fuse-overlayfs.so for it",
            Self::Static => "it is linked statically, so that no library can be loaded into it",
        }
    }

    /// What to do.
    pub(crate) fn cure(self) -> &'static str {
        match self {
            Self::NoLibrary => "as root: make install makes it in PREFIX/libexec/condatainer",
            Self::Bundled | Self::Static => {
                "keep files with several hard links out of layers: mksquashfs -no-hardlinks makes such a one"
            }
        }
    }
}

impl HardLinks {
    /// The line before a start that writes.
    pub(crate) fn notice(&self) -> String {
        let (layer, program) = (self.layer.display(), self.program.display());
        let (why, cure) = (self.cause.words(), self.cause.cure());
        format!("{layer}: has files with several hard links, and {CONFUSED} with {program}: {why}; {cure}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::facts::{Facts, LayerFacts};
    use crate::plan::tests::{ALICE, img, machine, sqf};
    use crate::plan::{Command, Plan, decide};
    use crate::request::Request;
    use crate::request::layer::Mode;

    fn decided(facts: Facts, layers: Vec<LayerFacts>) -> Plan {
        decide(&Request::default(), &Facts { layers, ..facts }, Command::Argv(vec!["true".into()])).unwrap()
    }

    fn written() -> Vec<LayerFacts> {
        vec![sqf("/a.sqf"), img("/e.img", Some(Mode::Rw), ALICE)]
    }

    #[test]
    fn the_links_are_put_before_the_engines_own_programs() {
        let mut facts = machine();
        let engine = facts.engine.as_mut().unwrap();
        engine.config = Some("/etc/apptainer/apptainer.conf".into());
        engine.interposers = Some("/usr/local/libexec/condatainer".into());
        let with = |own: &[&str], setuid: bool, uid: u32| {
            let mut facts = facts.clone();
            facts.caller.uid = uid;
            let engine = facts.engine.as_mut().unwrap();
            engine.own_programs = own.iter().map(PathBuf::from).collect();
            engine.setuid = setuid;
            decided(facts, written()).to_shell()
        };
        let told = "/usr/bin/apptainer -c apptainer.conf-with-our-links-in-binary-path -q exec";
        let own = ["/usr/libexec/apptainer/bin"];
        assert!(with(&own, false, 1001).starts_with(told), "{}", with(&own, false, 1001));
        for (own, setuid) in [(&[][..], false), (&own, true), (&["/opt/fuse", own[0]], false)] {
            let line = with(own, setuid, 1001);
            assert!(line.starts_with("/usr/bin/apptainer -q exec"), "{own:?} {setuid}: {line}");
        }
        let mut read = facts.clone();
        read.engine.as_mut().unwrap().own_programs = own.iter().map(PathBuf::from).collect();
        let line = decided(read, vec![img("/e.img", None, ALICE)]).to_shell();
        assert!(
            line.contains(" -c apptainer.conf-with-enable-overlay-driver-with-our-links-in-binary-path "),
            "{line}"
        );
    }

    #[test]
    fn who_writes_is_told_of_links_that_are_confused() {
        let (layer, program) = ("/a.sqf".into(), "/usr/bin/fuse-overlayfs".into());
        let mut facts = machine();
        facts.hard_links = Some(HardLinks { layer, program, cause: Cause::Static });
        let notices = decided(facts.clone(), written()).notices;
        let line = "/a.sqf: has files with several hard links, and what is written to one of several hard links in a layer below can \
            land in another with /usr/bin/fuse-overlayfs: it is linked statically";
        assert!(notices.iter().any(|notice| notice.starts_with(line)), "{notices:?}");
        assert!(decided(facts, vec![sqf("/a.sqf")]).notices.is_empty());
    }
}
