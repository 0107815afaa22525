//! The library: the layers in all image directories.
//!
//! A name that is written in full costs a few system calls; only ranges, lists and advice read the directories.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use super::dirs::{self, ImageDir};
use super::error::{NameError, Wanted};
use super::name::Name;
use super::suffix::{BASE_SUFFIXES, SUFFIXES};
use super::version;
use crate::config::Config;
use condatainer_images::system::likeness::{ALIKE, likeness};

const MOST_OFFERED: usize = 3;

/// The image directories, in the order in which they are searched, and what may be left out of a name.
#[derive(Clone, Debug, Default)]
pub struct Library {
    dirs: Vec<ImageDir>,
    distro: Option<String>,
}

/// One layer of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: Name,
    /// Its file.
    pub path: PathBuf,
    /// The position of its directory.
    pub dir: usize,
    /// Another directory before this one has the same name.
    pub hidden: bool,
}

impl Library {
    /// The library that the configuration describes.
    #[must_use]
    pub fn configured(config: &Config, env: &HashMap<String, String>) -> Self {
        Self { dirs: dirs::configured(config, env), distro: config.default_distro() }
    }

    /// The directories in the order in which they are searched.
    #[must_use]
    pub fn dirs(&self) -> &[ImageDir] {
        &self.dirs
    }

    /// The file of the layer that this name means. Whatever is asked for, the first directory that has something wins: who may
    /// write to a directory behind it decides nothing.
    ///
    /// # Errors
    /// There is none; the error names what is like it.
    pub fn layer(&self, name: &Name) -> Result<PathBuf, NameError> {
        self.find(name, &SUFFIXES)
    }

    pub(super) fn find(&self, name: &Name, suffixes: &[&str]) -> Result<PathBuf, NameError> {
        let short = self.distro.as_deref().map(|distro| name.below(distro));
        let names = || std::iter::once(name).chain(&short);
        let newest = |dir: &ImageDir| names().find_map(|name| newest_within(dir, name, suffixes));
        let in_range = || self.dirs.iter().find_map(newest);
        let files = || self.dirs.iter().flat_map(|dir| names().flat_map(|name| files(dir, name, suffixes)));
        let in_full = || files().find(|path| path.exists());
        // A link that leads nowhere is there all the same, and is told as that.
        let leading_nowhere = || files().find(|path| path.is_symlink());
        let found = name.is_range().then(in_range).flatten().or_else(in_full).or_else(leading_nowhere);
        let wanted = if suffixes == BASE_SUFFIXES { Wanted::Base } else { Wanted::Layer };
        found.ok_or_else(|| self.not_found(name, wanted))
    }

    /// The directories that are not searched, each with the reason.
    #[must_use]
    pub fn unreadable(&self) -> Vec<String> {
        self.dirs.iter().filter(|dir| trouble(dir).is_some()).map(searched).collect()
    }

    /// Every layer, directory by directory, by name. A directory that is missing or cannot be read has none.
    #[must_use]
    pub fn all(&self) -> Vec<Found> {
        let mut seen = BTreeMap::new();
        let mut all = Vec::new();
        for (dir, place) in self.dirs.iter().enumerate() {
            let mut here = layers(place, &|_| true);
            here.sort();
            for (name, path) in here {
                let hidden = *seen.entry(name.clone()).or_insert(dir) != dir;
                all.push(Found { name, path, dir, hidden });
            }
        }
        all
    }

    fn not_found(&self, name: &Name, wanted: Wanted) -> NameError {
        let mut near: Vec<(f64, String)> = Vec::new();
        // Versions of one program stand together.
        let (mut program, mut alike) = (String::new(), 0.0);
        for found in self.all().into_iter().filter(|found| !found.hidden) {
            let this = found.name.as_str().rsplit_once('/').map_or(found.name.as_str(), |(program, _)| program);
            if this != program || self.is_short(this) {
                (program, alike) = (this.into(), layers_likeness(name.as_str(), found.name.as_str()));
            }
            if alike >= ALIKE {
                let name = found.name.as_str();
                let short = self.distro.as_deref().and_then(|distro| name.strip_prefix(distro)?.strip_prefix('/'));
                near.push((alike, short.unwrap_or(name).into()));
            }
        }
        near.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| version::compare(version_of(y), version_of(x))));
        near.truncate(MOST_OFFERED);
        NameError::NotFound {
            name: name.to_string(),
            wanted,
            near: near.into_iter().map(|(_, name)| name).collect(),
            dirs: self.dirs.iter().map(searched).collect(),
        }
    }

    /// Whether what follows is a name of its own and no version.
    fn is_short(&self, program: &str) -> bool {
        self.distro.as_deref() == Some(program)
    }
}

/// Where a name in full can be, in the order in which it is looked for.
fn files(dir: &ImageDir, name: &Name, suffixes: &[&str]) -> Vec<PathBuf> {
    if dir.stranger.is_some() {
        return Vec::new();
    }
    let stem = name.file_stem();
    suffixes.iter().map(|suffix| dir.path.join(format!("{stem}.{suffix}"))).collect()
}

/// The newest version in a directory that will do.
fn newest_within(dir: &ImageDir, name: &Name, suffixes: &[&str]) -> Option<PathBuf> {
    let all = layers(dir, &|file| file.starts_with(name.program()) && has_one_of(file, suffixes));
    let fitting = all.iter().filter_map(|(found, _)| Some((found, name.version_within(found)?)));
    let (newest, _) = fitting.max_by(|(_, a), (_, b)| version::compare(a, b))?;
    files(dir, newest, suffixes).into_iter().find(|path| path.exists() || path.is_symlink())
}

/// The layers in a directory whose file names may be meant; looking at a name more closely costs more than finding it.
fn layers(dir: &ImageDir, may_be_meant: &dyn Fn(&str) -> bool) -> Vec<(Name, PathBuf)> {
    let entries = fs::read_dir(&dir.path).into_iter().flatten().flatten().filter(|_| dir.stranger.is_none());
    let names = entries.filter_map(|entry| {
        let file = entry.file_name();
        let file = file.to_str().filter(|file| may_be_meant(file))?;
        Some((Name::of_file(file)?, dir.path.join(file)))
    });
    names.collect()
}

/// Written as [`files`] writes it.
fn has_one_of(file: &str, suffixes: &[&str]) -> bool {
    file.rsplit_once('.').is_some_and(|(_, suffix)| suffixes.contains(&suffix))
}

fn version_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(_, version)| version)
}

/// How much two names are alike: another version of the same program is the next best thing, then a slip of the finger.
fn layers_likeness(asked: &str, there: &str) -> f64 {
    let asked = asked.split('/').next().unwrap_or_default();
    let first = there.split('/').next().unwrap_or_default();
    // The last part too: it is the program where the first one is a distro.
    let last = there.rsplit('/').next().unwrap_or_default();
    likeness(asked, first).max(if last == first { 0.0 } else { likeness(asked, last) })
}

/// A directory, with the reason if it cannot be read.
fn searched(dir: &ImageDir) -> String {
    match trouble(dir) {
        Some(reason) => format!("{} ({reason})", dir.path.display()),
        None => dir.path.display().to_string(),
    }
}

/// Why a directory is not searched; one that is not there has no layers, which is no trouble.
fn trouble(dir: &ImageDir) -> Option<String> {
    if let Some(owner) = &dir.stranger {
        return Some(format!("it belongs to {owner} and not to you"));
    }
    let error = fs::read_dir(&dir.path).err().filter(|error| error.kind() != io::ErrorKind::NotFound)?;
    Some(error.raw_os_error().map_or("it cannot be read", |code| Errno::from_raw(code).desc()).into())
}
