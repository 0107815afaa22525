//! What a setuid Apptainer can do with a stack. Pure.
//!
//! It is started in a user namespace, and then does what an unprivileged one does, but takes no configuration other than its own
//! from users (measured with 1.4.5). So it cannot be told to read by fuse-overlayfs where it would not do so by itself.

use crate::machine::facts::{Facts, Kind};
use crate::plan::layers::Moded;
use crate::plan::mounting::stack::shows_deleted;
use crate::plan::refusal::Refusal;
use crate::request::layer::Mode;

/// Refuses a stack that needs fuse-overlayfs and does not get it: that is taken only for what is written to, on top of an image
/// file, since users' image files are mounted by FUSE.
pub(crate) fn check_without_driver(facts: &Facts, layers: &[Moded<'_>], tmp: bool) -> Result<(), Refusal> {
    let mut kinds = layers.iter().map(|(layer, _)| layer.kind).chain([facts.base.kind]);
    if kinds.all(|kind| kind == Kind::Directory) {
        return Err(Refusal::SetuidWithDirectories { base: facts.base.path.clone() });
    }
    if tmp || layers.iter().any(|(_, mode)| *mode == Mode::Rw) {
        return Ok(());
    }
    let layer = layers.iter().find(|(layer, mode)| shows_deleted(layer, *mode)).map(|(layer, _)| &layer.path);
    Err(Refusal::SetuidShowsDeleted { path: layer.unwrap_or(&facts.base.path).clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::facts::{BaseFacts, LayerFacts, Whiteouts};
    use crate::plan::tests::{ALICE, caller, img, layer, machine};
    use crate::plan::{Command, Plan, decide};
    use crate::request::Request;
    use condatainer_formats::ext::Stamp;

    fn setuid() -> Facts {
        let mut facts = machine();
        facts.engine.as_mut().unwrap().setuid = true;
        facts
    }

    fn decided(facts: Facts, layers: Vec<LayerFacts>) -> Result<Plan, Refusal> {
        decide(&Request::default(), &Facts { layers, ..facts }, Command::Argv(vec!["true".into()]))
    }

    fn directory(mode: Mode) -> LayerFacts {
        layer("/d", Some(mode), Kind::Directory, None)
    }

    #[test]
    fn it_is_started_in_a_user_namespace() {
        let mut clean = img("/e.img", None, ALICE);
        clean.image.as_mut().unwrap().whiteouts = Whiteouts::Honoured(Stamp::default());
        let written = [Mode::Rw, Mode::Tmp].map(|mode| img("/e.img", Some(mode), ALICE));
        for layer in written.into_iter().chain([clean, directory(Mode::Rw), directory(Mode::Tmp)]) {
            let line = decided(setuid(), vec![layer]).unwrap().to_shell();
            assert!(line.starts_with("/usr/bin/apptainer -q exec --userns "), "{line}");
        }
    }

    #[test]
    fn a_reader_who_might_see_what_is_deleted_is_told_what_helps() {
        let said = |layers| decided(setuid(), layers).unwrap_err().to_string();
        let sqf = layer("/a.sqf", None, Kind::Squashfs, None);
        let advice = "/e.img: a setuid Apptainer may show again what is deleted in it, where no layer is written: use :tmp or :rw";
        assert!(said(vec![sqf, img("/e.img", None, ALICE)]).starts_with(advice));
        assert!(said(vec![directory(Mode::Ro)]).starts_with("/d: a setuid Apptainer may show"));
        let below = |mode| vec![img("/e.img", None, ALICE), img("/w.img", Some(mode), ALICE)];
        assert!(decided(setuid(), below(Mode::Tmp)).is_ok() && decided(setuid(), below(Mode::Rw)).is_ok());
    }

    #[test]
    fn directories_on_a_directory_stay_with_the_kernel() {
        let base = || BaseFacts {
            path: "/base".into(),
            kind: Kind::Directory,
            identity: (0, 0),
            shows_deleted: false,
            origin: None,
            distrust: None,
        };
        for mode in [Mode::Ro, Mode::Tmp] {
            let refused = decided(Facts { base: base(), ..setuid() }, vec![directory(mode)]).unwrap_err();
            assert!(matches!(refused, Refusal::SetuidWithDirectories { .. }), "{refused}");
        }
    }

    #[test]
    fn root_is_started_as_without_the_setuid_starter() {
        let root = || Facts { caller: caller(0, false), ..setuid() };
        assert!(decided(root(), vec![img("/e.img", None, (0, 0))]).unwrap().overlay_driver);
        for layers in [Vec::new(), vec![img("/e.img", Some(Mode::Rw), (0, 0))]] {
            assert!(!decided(root(), layers).unwrap().userns);
        }
    }
}
