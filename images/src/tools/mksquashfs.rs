//! mksquashfs as a child that reads a tar archive from a pipe: which releases can, with which options, and what they say.

use std::io;
use std::ops::RangeInclusive;
use std::process::{ChildStdin, ExitStatus};

use nix::fcntl::{FcntlArg, fcntl};

use super::error::ToolError;
use super::reason::stated;
use super::run::{Fed, Tool};
use condatainer_formats::ext::{Ids, Xattr};

/// Its name.
pub const NAME: &str = "mksquashfs";
/// What to install, and from which release on.
pub const PACKAGE: &str = "squashfs-tools (4.5 or newer)";
/// The first release that reads tar archives.
const FIRST: Version = Version(4, 5);
/// The first release that can be told the root's owner, time and attributes.
const ROOT_OPTIONS: Version = Version(4, 6);
/// One switch between us and mksquashfs for a megabyte; where the system allows less, less.
const PIPE: i32 = 1 << 20;
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

/// The memory for 1024 blocks, which keep many processors busy, in MiB; less than 64 MiB is too little for its tables.
fn memory(block_size: u32) -> u32 {
    (block_size / 1024).max(64)
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

/// Major and minor number of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

/// An mksquashfs that reads tar archives.
#[derive(Debug)]
pub(crate) struct Mksquashfs {
    version: Version,
}

impl Mksquashfs {
    /// Looks for it, and asks it for its release.
    pub(crate) fn find() -> Result<Self, ToolError> {
        let mut tool = Tool::new(NAME, PACKAGE)?;
        // Not every release ends that with 0.
        let output = tool.arg("-version").run(i32::MAX)?;
        let found = match parse_version(&String::from_utf8_lossy(&output.stdout)) {
            Some(version) if version >= FIRST => return Ok(Self { version }),
            Some(Version(major, minor)) => format!("{major}.{minor}"),
            None => "of an unknown release".into(),
        };
        let program = tool.program().into();
        Err(ToolError::Old { tool: NAME, program, found, wanted: "squashfs-tools 4.5 or newer" })
    }

    /// Whether it can be told the owner, the time and the attributes of a layer's root.
    pub(crate) fn has_root_options(&self) -> bool {
        self.version >= ROOT_OPTIONS
    }

    /// Starts it, to write to the open file `out`. A signal from the terminal is for us: we end it in order.
    pub(crate) fn start(&self, order: &Order<'_>, out: &str) -> Result<Running, ToolError> {
        let mut tool = Tool::new(NAME, PACKAGE)?;
        tool.args(["-", out, "-tar", "-noappend", "-quiet", "-no-progress", "-xattrs"]);
        tool.args(order.compression.options(order.level)).args(["-b", &order.block_size.to_string()]);
        // Otherwise it reads ahead a quarter of the machine's memory: what it was given would say nothing of what it has done.
        tool.args(["-mem", &format!("{}M", memory(order.block_size))]);
        tool.args(self.root_options(order));
        if let Some(processors) = order.processors {
            tool.args(["-processors", &processors.to_string()]);
        }
        // The environment says it to all releases, and 4.5 has no other way to give the root a time that is not now.
        tool.env("SOURCE_DATE_EPOCH", order.time.to_string()).feed().map(Running)
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
pub(crate) struct Running(Fed);

impl Running {
    /// Where it reads the archive. It sees the end when this is dropped.
    pub(crate) fn input(&mut self) -> Option<ChildStdin> {
        let input = self.0.input()?;
        let _ = fcntl(&input, FcntlArg::F_SETPIPE_SZ(PIPE));
        Some(input)
    }

    /// How it ended, or nothing yet.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.ended()
    }

    /// Waits for an end that is sure to come, because it has said that it cannot go on.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait()
    }

    /// Whether it did all of its work. Something that it leaves out is a failure too, whatever its exit code.
    pub(crate) fn verdict(&mut self, status: ExitStatus) -> Result<(), ToolError> {
        let said = self.0.said().unwrap_or_default();
        match reason(said.lines().map(str::trim).filter(|line| !line.is_empty())) {
            Some(line) if !status.success() || left_out(line) => Err(failed(line)),
            _ if !status.success() => Err(failed(&status.to_string())),
            _ => Ok(()),
        }
    }
}

/// An mksquashfs that ended for this reason.
#[must_use]
pub fn failed(said: &str) -> ToolError {
    ToolError::Failed { tool: NAME, said: said.into() }
}

/// The line that says why: what it states as the reason, else what it leaves out, else the first.
pub fn reason<'a>(lines: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let left = || lines.clone().find(|line| left_out(line));
    stated(lines.clone()).or_else(left).or_else(|| lines.clone().next())
}

fn left_out(line: &str) -> bool {
    ["ignoring", "Could not resolve"].iter().any(|word| line.contains(word))
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
        assert!(left_out("Unrecognised tar xattr prefix system.x, ignoring"));
        assert_eq!(reason([].into_iter()), None);
    }
}
