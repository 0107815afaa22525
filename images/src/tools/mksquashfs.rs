//! mksquashfs as a child that reads a tar archive from a pipe: which releases can, with which options, and what they say.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::RangeInclusive;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use nix::fcntl::{FcntlArg, fcntl};

use super::programs;
use condatainer_formats::ext::{Ids, Xattr};

/// The first release that reads tar archives.
const FIRST: Version = Version(4, 5);
/// The first release that can be told the root's owner, time and attributes.
const ROOT_OPTIONS: Version = Version(4, 6);
/// One switch between us and mksquashfs for a megabyte; where the system allows less, less.
const PIPE: i32 = 1 << 20;
/// More than this is no message.
const LONGEST: u64 = 1 << 20;

/// In bytes, of an attribute of the root.
const LONGEST_IN_AN_OPTION: usize = 4096;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Small, and quick to read.
    #[default]
    Zstd,
    /// Smallest, slow to read.
    Xz,
    /// What every kernel reads.
    Gzip,
    /// Largest, quickest.
    Lz4,
}

impl Compression {
    /// As mksquashfs calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
        }
    }

    /// What mksquashfs is told, with the level that is taken unless another is asked for.
    ///
    /// By itself it takes zstd's 15, which takes ten times as long as 6, for 7 % (`tests/bench/levels.sh`). All levels are read
    /// equally fast.
    #[must_use]
    pub fn options(self, level: Option<u32>) -> Vec<String> {
        let usual = if self == Self::Zstd { Some(6) } else { None };
        let level = level.or(usual).map(|level| ["-Xcompression-level".to_owned(), level.to_string()]);
        ["-comp".to_owned(), self.name().to_owned()].into_iter().chain(level.into_iter().flatten()).collect()
    }

    /// The levels that it has; `None` where there are none.
    pub(crate) fn levels(self) -> Option<RangeInclusive<u32>> {
        match self {
            Self::Zstd => Some(1..=22),
            Self::Gzip => Some(1..=9),
            Self::Xz | Self::Lz4 => None,
        }
    }
}

/// What is asked of one run.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) compression: Compression,
    /// The usual one otherwise.
    pub(crate) level: Option<u32>,
    /// Bytes that are compressed together.
    pub(crate) block_size: u32,
    /// All otherwise.
    pub(crate) processors: Option<u32>,
    /// Gives everything to root.
    pub(crate) root_owned: bool,
    pub(crate) root: &'a Root,
    /// The owner of everything in the layer, where there is only one.
    pub(crate) only_owner: Option<Ids>,
    /// When the layer was made, and its root changed where nothing else can say that; in seconds since 1970.
    pub(crate) time: u32,
}

/// The root directory of a layer, which no entry of a tar archive can describe to mksquashfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Root {
    /// Permission bits.
    pub(crate) mode: u16,
    pub(crate) ids: Ids,
    /// In seconds since 1970.
    pub(crate) mtime: u32,
    /// Attributes for which [`fits_in_an_option`].
    pub(crate) xattrs: Vec<Xattr>,
}

impl Default for Root {
    fn default() -> Self {
        Self { mode: 0, ids: Ids::ROOT, mtime: 0, xattrs: Vec::new() }
    }
}

/// Why mksquashfs did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not there.
    #[error("mksquashfs was not found; install the package squashfs-tools (4.5 or newer)")]
    Missing,
    /// It cannot read tar archives.
    #[error("mksquashfs {found} is too old ({}); install squashfs-tools 4.5 or newer", program.display())]
    Old {
        /// Where it lies.
        program: PathBuf,
        /// What it says about itself.
        found: String,
    },
    /// It could not be started.
    #[error("mksquashfs could not be started: {0}")]
    Start(io::Error),
    /// It ended with an error, or left something out.
    #[error("mksquashfs failed: {0}")]
    Failed(String),
}

/// Major and minor number of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

/// An mksquashfs that reads tar archives.
#[derive(Debug)]
pub(crate) struct Mksquashfs {
    program: PathBuf,
    version: Version,
}

impl Mksquashfs {
    pub(crate) fn find() -> Result<Self, ToolError> {
        let program = programs::find("mksquashfs").ok_or(ToolError::Missing)?;
        let output = Command::new(&program).arg("-version").env("LC_ALL", "C").stdin(Stdio::null()).output();
        let said = String::from_utf8_lossy(&output.map_err(ToolError::Start)?.stdout).into_owned();
        match parse_version(&said) {
            Some(version) if version >= FIRST => Ok(Self { program, version }),
            Some(Version(major, minor)) => Err(ToolError::Old { program, found: format!("{major}.{minor}") }),
            None => Err(ToolError::Old { program, found: "of an unknown release".into() }),
        }
    }

    /// Whether it can be told the owner, the time and the attributes of a layer's root.
    pub(crate) fn has_root_options(&self) -> bool {
        self.version >= ROOT_OPTIONS
    }

    /// Starts it, to write to the open file `out`.
    pub(crate) fn start(&self, order: &Order<'_>, out: &str) -> Result<Running, ToolError> {
        let messages = tempfile::tempfile().map_err(ToolError::Start)?;
        let copy = || messages.try_clone().map(Stdio::from).map_err(ToolError::Start);
        let mut command = Command::new(&self.program);
        command.args(["-", out, "-tar", "-noappend", "-quiet", "-no-progress", "-xattrs"]);
        command.args(order.compression.options(order.level)).args(["-b", &order.block_size.to_string()]);
        command.args(self.root_options(order));
        if let Some(processors) = order.processors {
            command.args(["-processors", &processors.to_string()]);
        }
        // The environment says it to all releases, and 4.5 has no other way to give the root a time that is not now.
        command.env("SOURCE_DATE_EPOCH", order.time.to_string()).env("LC_ALL", "C");
        // A signal from the terminal is for us: we end it in order.
        command.process_group(0).stdin(Stdio::piped()).stdout(copy()?).stderr(copy()?);
        Ok(Running { child: command.spawn().map_err(ToolError::Start)?, messages })
    }

    fn root_options(&self, order: &Order<'_>) -> Vec<String> {
        let root = order.root;
        let pair = |name: &str, value: String| [name.to_owned(), value];
        let mut options = Vec::from(pair("-root-mode", format!("{:o}", root.mode)));
        match order.only_owner {
            _ if order.root_owned => options.push("-all-root".into()),
            Some(Ids { uid, gid }) if !self.has_root_options() => {
                options.extend(pair("-force-uid", uid.to_string()));
                options.extend(pair("-force-gid", gid.to_string()));
            }
            _ => {}
        }
        if self.has_root_options() {
            let Ids { uid, gid } = if order.root_owned { Ids::ROOT } else { root.ids };
            options.extend(pair("-root-uid", uid.to_string()));
            options.extend(pair("-root-gid", gid.to_string()));
            options.extend(pair("-root-time", root.mtime.to_string()));
            for xattr in &root.xattrs {
                options.extend(pair("-p", pseudo_xattr(xattr)));
            }
        }
        options
    }
}

/// Whether an attribute of the root can be told: it travels on a command line, in a little language with blanks and quotes.
pub(crate) fn fits_in_an_option(xattr: &Xattr) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    xattr.name.iter().all(plain) && xattr.value.len() <= LONGEST_IN_AN_OPTION
}

/// A definition `/ x NAME=0xVALUE`.
fn pseudo_xattr(xattr: &Xattr) -> String {
    let value: String = xattr.value.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("/ x {}=0x{value}", String::from_utf8_lossy(&xattr.name))
}

fn parse_version(said: &str) -> Option<Version> {
    let rest = said.lines().find_map(|line| line.strip_prefix("mksquashfs version "))?;
    let mut numbers = rest.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some(Version(numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// mksquashfs at work. It is ended when this is dropped before its time.
pub(crate) struct Running {
    child: Child,
    messages: File,
}

impl Running {
    /// Where it reads the archive. It sees the end when this is dropped.
    pub(crate) fn input(&mut self) -> Option<ChildStdin> {
        let input = self.child.stdin.take()?;
        let _ = fcntl(&input, FcntlArg::F_SETPIPE_SZ(PIPE));
        Some(input)
    }

    /// How it ended, or nothing yet.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for an end that is sure to come, because it has said that it cannot go on.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// What it says. Something that it leaves out is a failure too, whatever its exit code.
    pub(crate) fn verdict(&mut self, status: ExitStatus) -> Result<(), ToolError> {
        let mut said = String::new();
        let read = self.messages.rewind().and_then(|()| (&self.messages).take(LONGEST).read_to_string(&mut said));
        let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        match essence(lines) {
            Some(line) if read.is_ok() && (!status.success() || left_out(line)) => Err(ToolError::Failed(line.into())),
            _ if !status.success() => Err(ToolError::Failed(status.to_string())),
            _ => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The line that says why: one with a reason of the system, else one that it calls fatal, else what it leaves out, else the first.
pub fn essence<'a>(lines: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let reason = lines.clone().find(|line| line.contains("failed because"));
    let fatal = || lines.clone().find_map(|line| line.split_once("FATAL ERROR:").map(|(_, why)| why.trim()));
    let left = || lines.clone().find(|line| left_out(line));
    reason.or_else(fatal).or_else(left).or_else(|| lines.clone().next())
}

fn left_out(line: &str) -> bool {
    ["ignoring", "Could not resolve"].iter().any(|word| line.contains(word))
}

/// The open file as a path that the child can open too, whatever its own name has become.
pub fn path_of(file: &File) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(parse_version("mksquashfs version 4.5.1 (2022/03/17)\ncopyright"), Some(Version(4, 5)));
        assert_eq!(parse_version("mksquashfs version 4.6.1-git (2023)"), Some(Version(4, 6)));
        assert_eq!(parse_version("mksquashfs version 5.0"), Some(Version(5, 0)));
        assert!(parse_version("mksquashfs version 4.4 (2019/08/29)").unwrap() < FIRST);
        assert_eq!(parse_version("not found"), None);
    }

    #[test]
    fn reasons() {
        let full =
            ["Write on output file failed because No space left on device", "FATAL ERROR: Failed to write to output"];
        assert_eq!(essence(full.into_iter()), Some(full[0]));
        assert_eq!(essence(["Warning: x", "FATAL ERROR: no memory"].into_iter()), Some("no memory"));
        assert!(left_out("Unrecognised tar xattr prefix system.x, ignoring"));
        assert_eq!(essence([].into_iter()), None);
    }
}
