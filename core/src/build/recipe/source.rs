//! Images from elsewhere: what `-s` names, as a definition's header has it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::archive::{self, Archive};
use super::definition;
use crate::build::error::BuildError;
use condatainer_images::image::{self, Kind};

/// Registries and daemons, for which `://` follows.
const REMOTE: [&str; 5] = ["docker", "oras", "library", "shub", "docker-daemon"];
/// Files and directories.
const LOCAL: [&str; 4] = ["docker-archive", "oci-archive", "oci", "localimage"];

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Apptainer's name for the kind of source.
    bootstrap: &'static str,
    /// Where it is: a reference, or an absolute path and perhaps `:REFERENCE`.
    from: String,
    /// As it was asked for.
    pub asked: String,
    /// The file or directory, for what is on this machine.
    pub local: Option<PathBuf>,
}

impl Source {
    /// Reads what `-s` was given; paths are seen from `cwd`, and looked at.
    ///
    /// # Errors
    /// Nothing that images come from, or a file that is not there or no image.
    pub fn parse(asked: &str, cwd: &Path) -> Result<Self, BuildError> {
        match split(asked) {
            Split::Remote(bootstrap, from) => {
                Ok(Self { bootstrap, from: from.into(), asked: asked.into(), local: None })
            }
            Split::Local(bootstrap, rest) => Self::local(bootstrap, rest, asked, cwd),
            Split::Path => Self::path(asked, cwd),
            Split::Wrong(why) => Err(BuildError::source(asked, why)),
        }
    }

    fn local(bootstrap: &'static str, rest: &str, asked: &str, cwd: &Path) -> Result<Self, BuildError> {
        let (path, reference) = existing(rest, cwd).ok_or_else(|| BuildError::NoFile { path: cwd.join(rest) })?;
        Self::at(bootstrap, path, reference, asked)
    }

    fn path(asked: &str, cwd: &Path) -> Result<Self, BuildError> {
        let (path, reference) = existing(asked, cwd).ok_or_else(|| BuildError::source(asked, NOWHERE))?;
        Self::at(recognise(&path, asked)?, path, reference, asked)
    }

    fn at(bootstrap: &'static str, path: PathBuf, reference: &str, asked: &str) -> Result<Self, BuildError> {
        let text = path.to_str().filter(|text| !text.contains(['#', '\n', '\\'])).ok_or_else(|| {
            BuildError::source(asked, "its path has a character that a definition cannot hold; use a link to it")
        })?;
        let from = format!("{text}{reference}");
        Ok(Self { bootstrap, from, asked: asked.into(), local: Some(path) })
    }

    /// The source that a definition without sections stands for: one of ours, or what Apptainer records of a build without any.
    pub fn of_definition(text: &[u8], asked: &str) -> Option<Self> {
        let (bootstrap, from) = definition::header(text)?;
        let known = |list: &[&'static str]| list.iter().find(|known| **known == bootstrap).copied();
        if let Some(bootstrap) = known(&REMOTE) {
            return Some(Self { bootstrap, from, asked: asked.into(), local: None });
        }
        let local = existing(&from, Path::new("/")).map(|(path, _)| path);
        // What is gone by now is missed by Apptainer.
        let local = Some(local.unwrap_or_else(|| from.clone().into()));
        known(&LOCAL).map(|bootstrap| Self { bootstrap, from, asked: asked.into(), local })
    }

    /// Whether a user without a subuid range can only have it in a build that is none of root's: Apptainer unpacks an image
    /// with its owners or not at all.
    pub fn keeps_owners(&self) -> bool {
        self.bootstrap == "localimage"
    }

    /// The definition that stands for it.
    pub(crate) fn to_definition(&self) -> Vec<u8> {
        let Self { bootstrap, from, asked, .. } = self;
        format!("# made by condatainer create -s {asked}\nBootstrap: {bootstrap}\nFrom: {from}\n").into_bytes()
    }

    /// As Apptainer takes it without a definition.
    pub fn spec(&self) -> String {
        match (self.bootstrap, &self.local) {
            ("localimage", _) => self.from.clone(),
            (bootstrap, Some(_)) => format!("{bootstrap}:{}", self.from),
            (bootstrap, None) => format!("{bootstrap}://{}", self.from),
        }
    }
}

const NOWHERE: &str = "no such file or directory; an image in a registry is named like docker://debian:trixie";

enum Split<'a> {
    Remote(&'static str, &'a str),
    Local(&'static str, &'a str),
    Path,
    Wrong(String),
}

fn split(asked: &str) -> Split<'_> {
    let known = |list: &[&'static str], scheme: &str| list.iter().find(|known| **known == scheme).copied();
    if let Some((scheme, rest)) = asked.split_once("://") {
        return match (known(&REMOTE, scheme), known(&LOCAL, scheme)) {
            _ if rest.is_empty() || rest.contains(char::is_whitespace) => {
                Split::Wrong(format!("an image must follow {scheme}://, without spaces"))
            }
            (Some(scheme), _) => Split::Remote(scheme, rest),
            (_, Some(scheme)) => Split::Local(scheme, rest),
            _ => Split::Wrong(unknown(scheme)),
        };
    }
    match asked.split_once(':') {
        Some((scheme, rest)) if !rest.is_empty() && known(&LOCAL, scheme).is_some() => {
            Split::Local(known(&LOCAL, scheme).unwrap_or_default(), rest)
        }
        Some((scheme, rest)) if known(&REMOTE, scheme).is_some() => {
            Split::Wrong(format!("write {scheme}://{}", rest.trim_start_matches('/')))
        }
        _ if asked.is_empty() => Split::Wrong("nothing is named".into()),
        _ => Split::Path,
    }
}

fn unknown(scheme: &str) -> String {
    format!(
        "images do not come from '{scheme}://'; what there is: docker://, oras://, library://, docker-daemon://, docker-archive:, oci-archive:, oci:, localimage:, or the path of an archive or image"
    )
}

/// The path in `text` that is there, made absolute, and the `:REFERENCE` behind it.
fn existing<'a>(text: &'a str, cwd: &Path) -> Option<(PathBuf, &'a str)> {
    let mut end = text.len();
    loop {
        let (path, reference) = (text.get(..end)?, text.get(end..)?);
        let there = cwd.join(path);
        if !path.is_empty() && there.exists() {
            return Some((there, reference));
        }
        end = path.rfind(':')?;
    }
}

/// What kind of source a file or directory is, by its content.
fn recognise(path: &Path, asked: &str) -> Result<&'static str, BuildError> {
    if path.is_dir() {
        let layout = path.join("oci-layout").is_file() || path.join("index.json").is_file();
        return Ok(if layout { "oci" } else { "localimage" });
    }
    let unreadable = |error| BuildError::Unreadable { path: path.into(), error };
    let file = File::open(path).map_err(unreadable)?;
    match archive::recognise(&file).map_err(unreadable)? {
        Some(Archive::Docker) => Ok("docker-archive"),
        Some(Archive::Oci) => Ok("oci-archive"),
        Some(Archive::Other) => Err(BuildError::source(
            asked,
            "is an archive, but of no image (it has neither oci-layout nor manifest.json); unpack a root file system, and give the directory",
        )),
        Some(Archive::Compressed) => Err(BuildError::source(
            asked,
            format!("is compressed, and Apptainer reads plain archives only; 'gunzip -k {asked}' makes one"),
        )),
        None => local_image(path, asked),
    }
}

fn local_image(path: &Path, asked: &str) -> Result<&'static str, BuildError> {
    let opened = image::open(path)?;
    let is_workspace = matches!(opened.image.kind, Kind::Ext(_))
        && opened.probe().ok().flatten().is_some_and(|probe| probe.upper.owner().is_some());
    if is_workspace {
        return Err(BuildError::source(
            asked,
            format!("is a workspace image; 'condatainer overlay seal {asked}' makes a layer of it"),
        ));
    }
    Ok("localimage")
}

/// The length of a local source that is one file, in bytes: what comes of it is hardly smaller.
pub(crate) fn size(source: &Source) -> u64 {
    let meta = source.local.as_deref().and_then(|path| fs::metadata(path).ok());
    meta.filter(std::fs::Metadata::is_file).map_or(0, |meta| meta.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(asked: &str) -> Result<Source, String> {
        Source::parse(asked, Path::new("/usr")).map_err(|error| error.to_string())
    }

    #[test]
    fn registries() {
        let source = parse("docker://debian:trixie").unwrap();
        assert_eq!((source.bootstrap, source.from.as_str(), source.local.as_ref()), ("docker", "debian:trixie", None));
        assert_eq!(source.spec(), "docker://debian:trixie");
        assert_eq!(parse("oras://host:5000/a/b:1").unwrap().spec(), "oras://host:5000/a/b:1");
    }

    #[test]
    fn wrong_ones() {
        let message = |asked: &str| parse(asked).unwrap_err();
        assert_eq!(message("docker:debian"), "-s docker:debian: write docker://debian");
        assert_eq!(message("docker://"), "-s docker://: an image must follow docker://, without spaces");
        assert!(message("https://x/y.sif").contains("do not come from 'https://'"));
        assert!(message("debian").contains("named like docker://debian:trixie"));
        assert!(message("oci:nowhere:latest").contains("/usr/nowhere:latest: no such file"));
        assert!(message("bin/env").contains("is a program"), "{}", message("bin/env"));
    }

    #[test]
    fn paths_are_absolute_and_may_have_a_reference() {
        let source = parse("localimage:lib").unwrap();
        assert_eq!((source.from.as_str(), source.spec().as_str()), ("/usr/lib", "/usr/lib"));
        let source = parse("oci:lib:v1.0").unwrap();
        assert_eq!((source.from.as_str(), source.spec().as_str()), ("/usr/lib:v1.0", "oci:/usr/lib:v1.0"));
        assert_eq!(source.local, Some("/usr/lib".into()));
    }

    #[test]
    fn from_definitions() {
        let of = |text: &str| Source::of_definition(text.as_bytes(), "recorded").map(|source| source.spec());
        let source = parse("docker://debian:trixie").unwrap();
        let text = String::from_utf8(source.to_definition()).unwrap();
        assert_eq!(of(&text).as_deref(), Some("docker://debian:trixie"));
        assert_eq!(of("bootstrap: localimage\nfrom: /usr/lib\n\n").as_deref(), Some("/usr/lib"));
        assert_eq!(of("Bootstrap: oci\nFrom: /usr/lib:1\n").as_deref(), Some("oci:/usr/lib:1"));
        assert_eq!(of("Bootstrap: docker\nFrom: debian\n%post\n true\n"), None);
        assert_eq!(of("Bootstrap: docker\nFrom: debian\nRegistry: x\n"), None);
        assert_eq!(of("Bootstrap: debootstrap\nFrom: x\n"), None);
    }

    #[test]
    fn layouts_and_directories() {
        let dir = tempfile::tempdir().unwrap();
        let asked = dir.path().to_str().unwrap();
        assert_eq!(Source::parse(asked, Path::new("/")).unwrap().bootstrap, "localimage");
        fs::write(dir.path().join("oci-layout"), "{}").unwrap();
        assert_eq!(Source::parse(asked, Path::new("/")).unwrap().bootstrap, "oci");
    }
}
