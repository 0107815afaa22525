//! What the Tab key offers: names of layers, and files that can be one, besides what the definitions of the arguments tell.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter};
use condatainer_core::config::SYSTEM_FILE;
use condatainer_core::join::running::{self, RunningContainer};
use condatainer_core::request::layer::Layer;
use condatainer_core::request::names::is_path;
use condatainer_images::image::{self, Kind};
use condatainer_images::system::escape::one_line;

use crate::surroundings::Surroundings;

/// Layers: names, and files that can be one; after one and a colon its modes. In a list it is about the last of them.
pub(crate) fn layers(current: &OsStr) -> Vec<CompletionCandidate> {
    let bytes = current.as_bytes();
    let last = bytes.iter().rposition(|byte| *byte == b',').map_or(0, |comma| comma + 1);
    let (before, current) = (OsStr::from_bytes(&bytes[..last]), OsStr::from_bytes(&bytes[last..]));
    let all = match modes(current) {
        Some(modes) => modes,
        None => {
            let files = files(current, &["sqf", "sqsh", "squashfs", "img", "ext3", "sif"]);
            names(current).into_iter().chain(files).collect()
        }
    };
    all.into_iter().map(|candidate| candidate.add_prefix(before)).collect()
}

/// The modes that a layer can have, where its path or name stands before a colon.
fn modes(current: &OsStr) -> Option<Vec<CompletionCandidate>> {
    let (layer, begun) = current.to_str()?.rsplit_once(':')?;
    let around = Surroundings::look(Path::new(SYSTEM_FILE)).ok()?;
    let found = around.finder().layer(Layer::parse(layer).ok()?).ok()?;
    let is_squashfs = matches!(image::identify(&found.path).ok()?.kind, Kind::Squashfs);
    let possible = MODES.iter().filter(|(mode, _)| mode.starts_with(begun) && (!is_squashfs || *mode == "ro"));
    let candidates =
        possible.map(|(mode, help)| CompletionCandidate::new(format!("{layer}:{mode}")).help(Some((*help).into())));
    Some(candidates.filter(is_plain).collect())
}

const MODES: [(&str, &str); 3] =
    [("ro", "nothing is modified"), ("rw", "what is written stays"), ("tmp", "what is written is gone at the end")];

/// What can be joined on this machine: the caller's steps and sessions, and images.
pub(crate) fn containers(current: &OsStr) -> Vec<CompletionCandidate> {
    let begun = current.to_string_lossy();
    let own = running::all().into_iter().filter(RunningContainer::is_own);
    let numbers = own.map(|one| (one.name(), one.layers.join(","))).filter(|(name, _)| name.starts_with(&*begun));
    let numbers = numbers.map(|(name, layers)| CompletionCandidate::new(name).help(Some(one_line(&layers).into())));
    numbers.filter(is_plain).chain(images(current)).collect()
}

/// bash puts what it is offered into the command line as it is. Whoever can name a file in a directory of layers could have the
/// shell run something, so what a shell would obey is not offered.
fn is_plain(candidate: &CompletionCandidate) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=@:,%".contains(c);
    candidate.get_value().to_str().is_some_and(|text| text.strip_prefix("~/").unwrap_or(text).chars().all(is_plain))
}

/// Bases: as layers, without what cannot be one.
pub(crate) fn bases(current: &OsStr) -> Vec<CompletionCandidate> {
    names(current).into_iter().chain(files(current, &["sif", "sqf", "sqsh", "squashfs"])).collect()
}

/// Images that are written to.
pub(crate) fn images(current: &OsStr) -> Vec<CompletionCandidate> {
    files(current, &["img", "ext3"])
}

fn names(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    if is_path(Path::new(&*current)) {
        return Vec::new();
    }
    let Ok(around) = Surroundings::look(Path::new(SYSTEM_FILE)) else { return Vec::new() };
    let distro = around.config.default_distro().map(|distro| format!("{distro}/"));
    let mut names: Vec<String> = Vec::new();
    for found in around.library.all().into_iter().filter(|found| !found.hidden) {
        let name = found.name.to_string();
        names.extend(distro.as_ref().and_then(|distro| name.strip_prefix(distro)).map(String::from));
        names.push(name);
    }
    names.retain(|name| name.starts_with(&*current));
    names.sort();
    names.dedup();
    names.into_iter().map(CompletionCandidate::new).filter(is_plain).collect()
}

fn files(current: &OsStr, endings: &'static [&'static str]) -> Vec<CompletionCandidate> {
    let fits = |path: &Path| path.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known));
    let found = PathCompleter::any().filter(move |path| path.is_dir() || fits(path)).complete(current);
    found.into_iter().filter(is_plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_obey_is_not_offered() {
        let offered = |text: &str| is_plain(&CompletionCandidate::new(text));
        for plain in ["samtools/1.16", "~/env.img", "größe.img", "/srv/a_b-c+d@e.sqf", "a,b:rw"] {
            assert!(offered(plain), "{plain}");
        }
        for other in [
            "a$(x)", "`x`", "a;x", "a b", "a\nb", "a'b", "a\"b", "a\\b", "a*", "a?", "[a]", "{a,b}", "~a", "a&", "a|b",
            "a>b", "a!b", "#a",
        ] {
            assert!(!offered(other), "{other}");
        }
    }
}
