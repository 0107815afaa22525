//! `#CNT` lines: options for the container, words and quotes as in a shell.

use std::path::Path;

use crate::request::bind::Bind;
use crate::request::envelope::parse_assignment;
use crate::request::layer::Layer;

use super::error::LineError;

/// What the lines ask for together. Paths are as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `-w`
    pub write: bool,
    /// `--tmp`
    pub tmp: bool,
    /// `-f`, `--no-fakeroot`
    pub fakeroot: Option<bool>,
    /// `-b`
    pub base: Option<String>,
    /// `-o`, lists
    pub overlays: Vec<String>,
    /// `--bind`, lists
    pub bind: Vec<String>,
    /// `--env`
    pub env: Vec<(String, String)>,
    /// `--pwd`
    pub pwd: Option<String>,
}

/// What stands behind the mark, if this is such a line: blanks may stand before it, and an option follows. Anything else that
/// begins so (`#CNTRL`, `#CNT is the count`) is a comment, perhaps in a script that has never heard of us.
pub(super) fn text_of(line: &[u8]) -> Option<&[u8]> {
    let rest = line.trim_ascii_start().strip_prefix(b"#CNT")?.trim_ascii_start();
    matches!(rest, [b'-', b'-' | b'a'..=b'z' | b'A'..=b'Z', ..]).then_some(rest)
}

impl Settings {
    /// Adds what one line asks for.
    pub(super) fn add(&mut self, text: &[u8]) -> Result<(), LineError> {
        let text = str::from_utf8(text).map_err(|_| LineError::NotText)?;
        let mut words = shlex::split(text).ok_or(LineError::Quotes)?.into_iter();
        while let Some(word) = words.next() {
            let (option, attached) = match word.split_once('=') {
                Some((option, value)) => (option.to_string(), Some(value.to_string())),
                None => (word, None),
            };
            self.set(&option, attached, &mut words)?;
        }
        Ok(())
    }

    fn set(
        &mut self,
        option: &str,
        attached: Option<String>,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<(), LineError> {
        let is_flag = attached.is_none();
        let mut value = || attached.clone().or_else(|| rest.next()).ok_or_else(|| LineError::NoValue(option.into()));
        match option {
            "-b" | "--base" | "--base-image" => self.base = Some(value()?),
            "-o" | "--overlay" => self.overlays.push(checked(value()?, |list| Layer::parse_list(list).map(drop))?),
            "--bind" => self.bind.push(checked(value()?, bind)?),
            "--env" => self.env.push(parse_assignment(&value()?)?),
            "--pwd" => self.pwd = Some(value()?),
            "-w" | "--writable" | "--writable-img" if is_flag => self.write = true,
            "--tmp" if is_flag => self.tmp = true,
            "-f" | "--fakeroot" if is_flag => self.fakeroot = Some(true),
            "--no-fakeroot" if is_flag => self.fakeroot = Some(false),
            "-w" | "--writable" | "--writable-img" | "--tmp" | "-f" | "--fakeroot" | "--no-fakeroot" => {
                return Err(LineError::NoFlag(option.into()));
            }
            _ => return Err(LineError::Unknown(option.into())),
        }
        Ok(())
    }
}

fn checked<E: Into<LineError>>(value: String, check: impl Fn(&str) -> Result<(), E>) -> Result<String, LineError> {
    check(&value).map(|()| value).map_err(Into::into)
}

/// Whether binds can be read; where they are relative to is of no consequence for that.
fn bind(list: &str) -> Result<(), crate::request::bind::BindError> {
    Bind::parse_list(list, Path::new("/"), Some(Path::new("/"))).map(drop)
}
