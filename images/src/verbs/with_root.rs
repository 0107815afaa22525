//! An image that is lent to root for one command, and then given back to whom it belonged.
//!
//! `apt` and `dpkg` want to be root in an image of root's; everything else is better done in an image of one's own. The steps are:
//! note on the image whose it is, give it to root, run the command, give it back, strike the note out. Each can be cut off at any
//! instant. An image that is found with a note, and free, is given back by the next who has a use for it.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::acquire::{AcquireError, LockedImage, Purpose};
use crate::verbs::chown::loan::{self, Note};
use crate::verbs::chown::{ChownError, Report, Request, chown_locked};
use condatainer_formats::ext::{Ids, probe};

/// What others are told who want the image meanwhile.
const VERB: &str = "overlay with-root";
/// How long the way back waits for an image that is in use: a start that came in between and is refused ends soon.
const PATIENCE: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_millis(50);

/// An image that is root's now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lent {
    /// To whom it goes back; `None` for an image that is root's anyway.
    pub owner: Option<Ids>,
    /// Whether the image says so itself: without the note nobody will know if this process is killed.
    pub noted: bool,
    /// Whether e2fsck cleaned the image first.
    pub replayed: bool,
}

/// Gives the image at `path` to root, after noting on it whose it is. One that is on loan already goes back to its first owner.
///
/// # Errors
/// As [`crate::verbs::chown::chown`]; where nothing was changed, there is no note either, but that of an earlier loan.
pub fn lend(path: &Path) -> Result<Lent, ChownError> {
    lend_telling(path, &mut |_, _| {})
}

fn lend_telling(path: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Lent, ChownError> {
    let locked = LockedImage::open(path, Purpose::Change)?.announce(VERB);
    let replayed = locked.make_clean(true)?;
    let found = probe(&locked.file, locked.window).map_err(|error| ChownError::ext(path, error))?;
    let now = found.upper.require("upper").map_err(|error| ChownError::ext(path, error))?.ids();
    let earlier = Note::read(&locked.file);
    let owner = earlier.as_ref().map_or(now, Note::owner);
    if owner.uid == 0 {
        return Ok(Lent { owner: None, noted: false, replayed });
    }
    let noted = Note::of(owner).write(&locked.file).is_ok();
    let lent = chown_locked(&locked, &Request::new(Ids::ROOT, owner), progress);
    lent.inspect_err(|error| match earlier {
        _ if error.may_have_written() => {}
        // What was lent then is root's still; where this fails, our own note says the same.
        Some(earlier) => earlier.write(&locked.file).unwrap_or_default(),
        None => loan::strike(&locked.file),
    })?;
    Ok(Lent { owner: Some(owner), noted, replayed })
}

/// Gives the image at `path` back to `owner`, waiting a moment where it is in use.
///
/// # Errors
/// As [`crate::verbs::chown::chown`]. The note stays, so the next use of the image tries again.
pub fn give_back(path: &Path, owner: Ids) -> Result<Report, ChownError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match give_back_now(path, owner) {
            // A Ctrl-C at the terminal reaches e2fsck too.
            Err(ChownError::Acquire(AcquireError::Busy { .. } | AcquireError::Tool { .. }))
                if Instant::now() < deadline =>
            {
                std::thread::sleep(INTERVAL);
            }
            done => return done,
        }
    }
}

fn give_back_now(path: &Path, owner: Ids) -> Result<Report, ChownError> {
    let locked = LockedImage::open(path, Purpose::Change)?.announce(VERB);
    let replayed = locked.make_clean(true)?;
    let report = chown_locked(&locked, &Request::new(owner, owner), &mut |_, _| {})?;
    loan::strike(&locked.file);
    Ok(Report { replayed, ..report })
}

/// To whom the image at `path` goes back, where it is on loan to root.
#[must_use]
pub fn lent_by(path: &Path) -> Option<Ids> {
    Note::read_at(path).map(|note| note.owner())
}

/// Gives the image at `path` back if this user has lent it and was killed meanwhile; tells to whom. `None` where that is not so.
///
/// # Errors
/// As [`give_back`], but somebody who uses the image is not waited for.
pub fn finish(path: &Path) -> Option<Result<Ids, ChownError>> {
    let owner = Note::read_at(path).filter(Note::is_left_by_me)?.owner();
    Some(give_back_now(path, owner).map(|_| owner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::e2fsprogs;
    use crate::verbs::chown::chown;
    use std::fs::{self, File};

    const OWNER: Ids = Ids { uid: 1001, gid: 50 };

    /// An image of OWNER's with inodes in several tables, in a directory whose files can carry notes.
    fn image() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let (path, tree) = (dir.path().join("env.img"), dir.path().join("tree"));
        ["upper", "work"].iter().for_each(|name| fs::create_dir_all(tree.join(name)).unwrap());
        (0..20).for_each(|file| fs::write(tree.join(format!("upper/{file}")), "").unwrap());
        File::create(&path).and_then(|file| file.set_len(32 << 20)).unwrap();
        e2fsprogs::tool("mke2fs")
            .unwrap()
            .args(["-q", "-F", "-t", "ext3", "-b", "1024", "-N", "64", "-d"])
            .args([&tree, &path])
            .run(0)
            .unwrap();
        chown(&path, &Request { all: true, ..Request::new(OWNER, OWNER) }, &mut |_, _| {}).unwrap();
        (dir, path)
    }

    /// Lends an image that loses its end once this share of the work (in thirds: looking, writing, reading back) is done.
    fn lend_and_lose(path: &Path, thirds: u64) -> ChownError {
        let file = File::options().write(true).open(path).unwrap();
        let mut lose = |done: u64, total: u64| {
            if done * 3 >= total * thirds {
                file.set_len(4096).unwrap();
            }
        };
        lend_telling(path, &mut lose).unwrap_err()
    }

    #[test]
    fn the_note_stays_once_owners_may_have_changed() {
        for (thirds, stays) in [(0, false), (1, true), (2, true)] {
            let (_dir, path) = image();
            let error = lend_and_lose(&path, thirds);
            assert_eq!(error.may_have_written(), stays, "{error}");
            assert_eq!(lent_by(&path), stays.then_some(OWNER), "{error}");
        }
    }

    #[test]
    fn the_note_of_an_earlier_loan_stays() {
        let (_dir, path) = image();
        lend(&path).unwrap();
        let note = Note::read_at(&path);
        assert!(!lend_and_lose(&path, 0).may_have_written());
        assert!(note.is_some() && Note::read_at(&path) == note);
    }
}
