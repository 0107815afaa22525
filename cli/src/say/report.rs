//! What the reports of several verbs have in common: JSON on stdout, and the same words for the same thing.

use std::path::Path;

use anstyle::{AnsiColor, Style};
use condatainer_formats::ext::Ids;
use condatainer_images::system::user::Caller;
use serde::Serialize;

use super::failure::Failure;
use super::{lines, print};

/// Prints the report as `--json` promises it, else says the lines of `text`.
pub(crate) fn give(json: bool, report: &impl Serialize, text: impl FnOnce() -> Vec<String>) -> Result<(), Failure> {
    if json {
        return print::json(report);
    }
    text().iter().for_each(|line| lines::notice(line));
    Ok(())
}

/// Said first, where it is so: nothing keeps others away from the image.
pub(crate) fn unlocked(image: &Path, is_so: bool) -> Option<String> {
    is_so.then(|| format!("{}: its file system has no locks: be sure that nobody uses it", image.display()))
}

/// Said first, where it is so: e2fsck has changed the image.
pub(crate) fn repaired(image: &Path, is_so: bool) -> Option<String> {
    is_so.then(|| format!("{}: was not cleanly unmounted: put in order first", image.display()))
}

/// To whom something belongs, in words.
pub(crate) fn whose(owner: Ids) -> String {
    let is_mine = Caller::current().is_ok_and(|caller| caller.uid == owner.uid);
    if is_mine { "you".into() } else { owner.to_string() }
}

/// Whether the state of an image is good or bad news.
pub(crate) fn style_of(state: &str) -> Style {
    match state {
        "clean" => AnsiColor::Green.on_default(),
        "in-use" => AnsiColor::Yellow.on_default(),
        _ => AnsiColor::Red.on_default(),
    }
}
