//! Whether the caller may enter what he asks for: an image's `upper`, which becomes the container's root directory, and `/ext3/env/bin`,
//! where its programs are. Pure, a part of planning.
//!
//! Where we mount, what belongs to others is shown as his, so only an owner who has locked himself out is refused.
//!
//! Without the first there is no container, and Apptainer does not say why. Without the second there is one, in which a program of
//! the base's answers to the same name: a wrong result and no error.

use crate::machine::directories::ImageDirectory;
use crate::machine::facts::{Kind, LayerFacts};
use crate::plan::layers::Moded;
use crate::plan::refusal::Refusal;
use crate::request::layer::Mode;
use condatainer_formats::ext::Owner;
use condatainer_images::system::escape::shell_word;
use condatainer_images::system::fakeroot::{Fakeroot, LAST_MAPPED};

/// How the caller comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As {
    /// As himself.
    User(u32),
    /// As root inside, in this way; it need not be known yet.
    Root(Option<Fakeroot>),
    /// As himself, where what belongs to others is shown as his.
    Owner(u32),
}

/// Refuses the first directory that is closed to the caller. Real root enters everything.
pub(crate) fn check(layers: &[Moded<'_>], tmp: bool, who: As) -> Result<(), Refusal> {
    if matches!(who, As::User(0) | As::Owner(0) | As::Root(Some(Fakeroot::Root))) {
        return Ok(());
    }
    let closed = |(layer, mode): Moded<'_>, directory: &ImageDirectory| Refusal::Closed {
        path: layer.path.clone(),
        directory: directory.clone(),
        cure: cure(layer, mode, directory, who),
    };
    if let Some(top) = topmost(layers, tmp)
        && let Some(directory) = on_the_way(top.0).first().filter(|directory| !opens_root(directory, who))
    {
        return Err(closed(top, directory));
    }
    let Some(programs) = in_order(layers).rfind(|(layer, _)| on_the_way(layer).len() > 1) else { return Ok(()) };
    // What is his own the writer can open himself.
    let is_own = |directory: &ImageDirectory| matches!(who, As::Owner(_)) || who == As::User(directory.owner.uid);
    let may_open = |directory: &ImageDirectory| programs.1 == Mode::Rw && is_own(directory);
    let shut = on_the_way(programs.0).iter().skip(1).find(|directory| !opens(directory, who));
    shut.filter(|directory| !may_open(directory)).map_or(Ok(()), |directory| Err(closed(programs, directory)))
}

fn on_the_way(layer: &LayerFacts) -> &[ImageDirectory] {
    layer.image.as_ref().map_or(&[], |image| &image.program_path)
}

/// Those that are stacked on the squashfs files, lowest first.
fn in_order<'a>(layers: &'a [Moded<'a>]) -> impl DoubleEndedIterator<Item = Moded<'a>> {
    let of = |written: bool| layers.iter().filter(move |(_, mode)| (*mode == Mode::Rw) == written);
    of(false).chain(of(true)).filter(|(layer, _)| layer.kind != Kind::Squashfs).copied()
}

/// The layer whose root directory is the container's; a directory of this machine's is that for `:tmp`.
fn topmost<'a>(layers: &'a [Moded<'a>], tmp: bool) -> Option<Moded<'a>> {
    if tmp { None } else { in_order(layers).next_back() }
}

/// Apptainer enters the root directory before it has any privilege over other ids.
fn opens_root(directory: &ImageDirectory, who: As) -> bool {
    let Owner { uid, gid, .. } = directory.owner;
    match who {
        As::User(me) => has_bit(directory, uid == me, directory.in_group),
        As::Root(_) => has_bit(directory, uid == 0, gid == 0),
        As::Owner(_) => has_bit(directory, true, false),
    }
}

/// Root inside enters every directory whose ids exist in there.
fn opens(directory: &ImageDirectory, who: As) -> bool {
    let Owner { uid, gid, .. } = directory.owner;
    match who {
        As::User(me) => has_bit(directory, uid == me, directory.in_group),
        As::Root(Some(Fakeroot::RootMapped)) if (uid, gid) != (0, 0) => has_bit(directory, uid == 0, gid == 0),
        As::Root(_) if uid.max(gid) > LAST_MAPPED => has_bit(directory, false, false),
        As::Root(_) => true,
        As::Owner(_) => has_bit(directory, true, false),
    }
}

/// The permission to search, as the kernel looks for it: the first class that fits decides.
fn has_bit(directory: &ImageDirectory, is_owner: bool, in_group: bool) -> bool {
    let bit = match (is_owner, in_group) {
        (true, _) => 0o100,
        (false, true) => 0o010,
        (false, false) => 0o001,
    };
    directory.owner.mode & bit != 0
}

/// What to do. `overlay chown` moves the ids of upper's owner; others in an upper that is right stay, unless told.
fn cure(layer: &LayerFacts, mode: Mode, directory: &ImageDirectory, who: As) -> String {
    let (path, name) = (shell_word(&layer.path.display().to_string()), &directory.path);
    let is_mine = |directory: &ImageDirectory| matches!(who, As::User(me) | As::Owner(me) if me == directory.owner.uid);
    match (is_mine(directory), name.as_str()) {
        (true, "/") => format!("run `debugfs -w -R 'sif upper mode 04{:04o}' {path}`", directory.owner.mode | 0o700),
        (true, _) if mode != Mode::Rw => format!("run `condatainer exec -w -o {path} -- chmod u+x {name}`"),
        _ if on_the_way(layer).first().is_some_and(is_mine) => {
            format!("run `condatainer overlay chown --all -p {name} {path}`")
        }
        _ => format!("run `condatainer overlay chown {path}` (on a copy, if the image is not yours)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{img, sqf, with_image};
    use condatainer_formats::ext::Owner;

    fn directory(path: &str, uid: u32, gid: u32, mode: u16) -> ImageDirectory {
        ImageDirectory { path: path.into(), owner: Owner { uid, gid, mode }, in_group: gid == 1001 }
    }

    fn image(root: (u32, u32, u16), ext3: Option<(u32, u32, u16)>) -> LayerFacts {
        let directories = [("/", Some(root)), ("/ext3", ext3)];
        let directories = directories
            .into_iter()
            .filter_map(|(path, directory)| directory.map(|(uid, gid, mode)| self::directory(path, uid, gid, mode)));
        with_image(img("/e.img", None, (root.0, root.1)), |image| image.program_path = directories.collect())
    }

    const ALICE: As = As::User(1001);
    fn check(layers: &[Moded<'_>], who: As) -> Result<(), Refusal> {
        super::check(layers, layers.iter().any(|(_, mode)| *mode == Mode::Tmp), who)
    }

    const RANGE: As = As::Root(Some(Fakeroot::Subuid));
    const ALONE: As = As::Root(Some(Fakeroot::RootMapped));
    const SHOWN: As = As::Owner(1001);

    #[test]
    fn the_root_directory() {
        for (owner, who, opens) in [
            ((1001, 1001, 0o700), ALICE, true),
            ((1001, 1001, 0o677), ALICE, false),
            ((1002, 1002, 0o700), ALICE, false),
            ((1002, 1002, 0o701), ALICE, true),
            ((1002, 1001, 0o750), ALICE, true),
            ((1002, 1001, 0o701), ALICE, false),
            ((1002, 1002, 0o700), As::User(0), true),
            ((0, 0, 0o700), RANGE, true),
            ((0, 0, 0o700), ALICE, false),
            ((1002, 1002, 0o700), RANGE, false),
            ((1002, 0, 0o710), ALONE, true),
            ((100_000, 100_000, 0o700), RANGE, false),
        ] {
            let layer = image(owner, None);
            for mode in [Mode::Ro, Mode::Rw] {
                assert_eq!(check(&[(&layer, mode)], who).is_ok(), opens, "{owner:?} {who:?}");
            }
            assert!(check(&[(&layer, Mode::Tmp)], who).is_ok());
        }
    }

    #[test]
    fn the_directory_of_the_programs() {
        for (owner, who, opens) in [
            ((1002, 1002, 0o700), ALICE, false),
            ((1002, 1002, 0o755), ALICE, true),
            ((1002, 1002, 0o700), RANGE, true),
            ((1002, 1002, 0o700), ALONE, false),
            ((1002, 1002, 0o755), ALONE, true),
            ((0, 0, 0o000), ALONE, true),
            ((70_000, 1002, 0o700), RANGE, false),
            ((1002, 1002, 0o700), SHOWN, true),
            ((1002, 1002, 0o077), SHOWN, false),
            ((1002, 1002, 0o077), As::Owner(0), true),
        ] {
            let layer = image((0, 0, 0o755), Some(owner));
            assert_eq!(check(&[(&layer, Mode::Ro)], who).is_ok(), opens, "{owner:?} {who:?}");
            assert_eq!(check(&[(&layer, Mode::Tmp)], who).is_ok(), opens, "{owner:?} {who:?}");
        }
        let own = image((1001, 1001, 0o755), Some((1001, 1001, 0o600)));
        assert!(check(&[(&own, Mode::Rw)], ALICE).is_ok() && check(&[(&own, Mode::Ro)], ALICE).is_err());
    }

    #[test]
    fn only_what_shows_counts() {
        let (closed, open) = (
            image((1002, 1002, 0o700), Some((1002, 1002, 0o700))),
            image((1001, 1001, 0o755), Some((1001, 1001, 0o755))),
        );
        let squashfs = sqf("/t.sqf");
        assert!(check(&[(&closed, Mode::Ro), (&open, Mode::Ro), (&squashfs, Mode::Ro)], ALICE).is_ok());
        assert!(check(&[(&open, Mode::Ro), (&closed, Mode::Ro)], ALICE).is_err());
        assert!(check(&[(&open, Mode::Rw), (&closed, Mode::Ro)], ALICE).is_ok());
        assert!(check(&[], ALICE).is_ok());
    }

    #[test]
    fn words() {
        let said = |image: &LayerFacts, mode| check(&[(image, mode)], ALICE).unwrap_err().to_string();
        assert_eq!(
            said(&image((1002, 1003, 0o700), None), Mode::Ro),
            "/e.img: its upper, which becomes the container's root directory, cannot be entered by you: it belongs to 1002:1003 and has mode 0700: run `condatainer overlay chown /e.img` (on a copy, if the image is not yours)"
        );
        let own = said(&image((1001, 1001, 0o600), None), Mode::Ro);
        assert!(own.ends_with("run `debugfs -w -R 'sif upper mode 040700' /e.img`"), "{own}");
        let own = said(&image((1001, 1001, 0o755), Some((1001, 1001, 0o600))), Mode::Ro);
        assert!(own.ends_with("run `condatainer exec -w -o /e.img -- chmod u+x /ext3`"), "{own}");
        let inner = said(&image((1001, 1001, 0o755), Some((1002, 1002, 0o700))), Mode::Rw);
        assert!(
            inner.contains("the directory /ext3 in it")
                && inner.ends_with("run `condatainer overlay chown --all -p /ext3 /e.img`"),
            "{inner}"
        );
    }
}
