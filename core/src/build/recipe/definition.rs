//! Definition files: what is wrong with one, the one that stands for an image from elsewhere, and the one that is really built,
//! which records the definition in the layer. Bytes in, bytes out.
//!
//! Apptainer splits a file at lines that begin with `Bootstrap:` into stages, a stage at lines whose first word begins with `%`
//! into sections, and joins sections `%files` without arguments (`pkg/build/types/parser`). So a `%files` at the very end is the
//! last stage's, whatever is before it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::flaw::Flaw;
use crate::build::error::BuildError;

/// Where the original program records the definition, and so do we.
pub(crate) const RECORDED: &str = "/.cnt-build-script.def";
/// Where Apptainer records it, with what was added; all there is in layers that others have built.
pub(crate) const OF_APPTAINER: &str = "/.singularity.d/Singularity";
/// More than this is no definition, in bytes.
const LONGEST: u64 = 1 << 20;

/// The bytes of a file that may be a definition.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BuildError::NoFile { path: path.into() }),
        Err(error) => Err(BuildError::Unreadable { path: path.into(), error }),
    }
}

/// Refuses what Apptainer could not make sense of either, but would say in other words.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Flaw> {
    let lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !is_blank(line));
    match lines.clone().next() {
        _ if bytes.contains(&0) => Err(Flaw::NotText),
        _ if bytes.len() as u64 > LONGEST => Err(Flaw::TooLong),
        None => Err(Flaw::Empty),
        Some(first) if is_dockerfile(first) => Err(Flaw::Dockerfile),
        Some(_) if !lines.clone().any(is_bootstrap) => Err(Flaw::NoBootstrap),
        Some(_) if lines.clone().filter_map(named_by).count() > lines.filter(|line| names_image(line)).count() => {
            Err(Flaw::NoFrom)
        }
        Some(_) => Ok(()),
    }
}

/// Whether the first line that counts says what to begin with.
pub(super) fn begins_with_bootstrap(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !is_blank(line));
    lines.next().is_some_and(is_bootstrap)
}

fn is_blank(line: &[u8]) -> bool {
    line.is_empty() || line.starts_with(b"#")
}

fn is_bootstrap(line: &[u8]) -> bool {
    let key = line.split(|&byte| byte == b':').next().unwrap_or_default();
    key.len() < line.len() && key.trim_ascii().eq_ignore_ascii_case(b"bootstrap")
}

/// Agents that begin with an image, of which `From:` tells the name; others make a system from packages, or from nothing.
const AGENTS: [&str; 9] =
    ["docker", "docker-archive", "docker-daemon", "library", "localimage", "oci", "oci-archive", "oras", "shub"];

/// The agent of a stage that wants a name.
fn named_by(line: &[u8]) -> Option<&'static str> {
    let value = value_of(line, "bootstrap")?;
    AGENTS.into_iter().find(|agent| value.eq_ignore_ascii_case(agent.as_bytes()))
}

fn names_image(line: &[u8]) -> bool {
    value_of(line, "from").is_some_and(|value| !value.is_empty())
}

/// What stands behind `KEY:`, without a comment.
fn value_of<'a>(line: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (before, value) = (line.get(..colon)?, line.get(colon + 1..)?);
    let value = value.split(|&byte| byte == b'#').next().unwrap_or_default();
    before.trim_ascii().eq_ignore_ascii_case(key.as_bytes()).then(|| value.trim_ascii())
}

fn is_dockerfile(first: &[u8]) -> bool {
    let word = first.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    word.len() < first.len() && [b"FROM".as_slice(), b"ARG"].iter().any(|word_of| word.eq_ignore_ascii_case(word_of))
}

/// Bootstrap and From of a definition that says nothing else.
pub(super) fn header(bytes: &[u8]) -> Option<(String, String)> {
    let (mut bootstrap, mut from) = (None, None);
    for line in std::str::from_utf8(bytes).ok()?.lines().map(str::trim).filter(|line| !is_blank(line.as_bytes())) {
        let (key, value) = line.split_once(':')?;
        match key.trim().to_ascii_lowercase().as_str() {
            "bootstrap" => bootstrap = Some(value.trim().into()),
            "from" => from = Some(value.trim().into()),
            _ => return None,
        }
    }
    Some((bootstrap?, from?))
}

/// The definition with a section more, that records the file `copy`, which holds the definition as it is.
pub(crate) fn recording(definition: &[u8], copy: &str) -> Vec<u8> {
    let mut bytes = definition.to_vec();
    // An empty line, so that a line which is to be continued does not swallow the section.
    bytes.extend_from_slice(format!("\n\n%files\n    \"{copy}\" {RECORDED}\n").as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flaws() {
        let flaw = |text: &str| check(text.as_bytes()).err();
        assert_eq!(flaw("Bootstrap: docker\nFrom: debian\n"), None);
        assert_eq!(flaw("# a comment\r\n\r\nBOOTSTRAP : docker\r\nFrom: debian\r\n"), None);
        assert_eq!(flaw("From: debian\nBootstrap: docker\n"), None, "the order is free");
        assert_eq!(flaw(""), Some(Flaw::Empty));
        assert_eq!(flaw("\n  # only words\n"), Some(Flaw::Empty));
        assert_eq!(flaw("%post\n true\n"), Some(Flaw::NoBootstrap));
        assert_eq!(flaw("bootstrap\n"), Some(Flaw::NoBootstrap));
        assert_eq!(flaw("FROM debian AS x\n"), Some(Flaw::Dockerfile));
        assert_eq!(flaw("From: debian\n"), Some(Flaw::NoBootstrap));
        assert_eq!(flaw("Bootstrap: localimage\n"), Some(Flaw::NoFrom));
        assert_eq!(flaw("bootstrap: Docker # x\nFrom: # none\n%post\n true\n"), Some(Flaw::NoFrom));
        assert_eq!(flaw("Bootstrap: docker\nFrom: {{ A }}\nBootstrap: oci\n"), Some(Flaw::NoFrom));
        assert_eq!(flaw("Bootstrap: debootstrap\nOSVersion: trixie\n"), None);
        assert_eq!(flaw("Bootstrap: scratch\n"), None);
        assert_eq!(flaw("SIF\0"), Some(Flaw::NotText));
    }

    #[test]
    fn the_section_is_the_last_stages() {
        let text = "Bootstrap: docker\nFrom: a\nStage: one\n\nBootstrap: docker\nFrom: b\n%files from one\n /x /x";
        let built = String::from_utf8(recording(text.as_bytes(), "/tmp/d/definition")).unwrap();
        assert_eq!(built, format!("{text}\n\n%files\n    \"/tmp/d/definition\" /.cnt-build-script.def\n"));
    }
}
