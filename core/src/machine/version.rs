//! What programs say about themselves: their version, and whether an engine is one.

use std::fmt;

use crate::machine::ask::ask;
use crate::machine::engine::{Engine, Flavour, MissingEngine};

/// A release: major, minor, patch. What is not said is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(major, minor, patch) = self;
        write!(f, "{major}.{minor}")?;
        if *patch > 0 { write!(f, ".{patch}") } else { Ok(()) }
    }
}

/// The version in the first line that begins with the program's name: libraries add lines about themselves, before or after.
pub(crate) fn of(program: &str, said: &str) -> Option<Version> {
    let mut lines = said.lines().filter(|line| line.starts_with(program));
    lines.find_map(|line| line.split_ascii_whitespace().skip(1).find_map(parse))
}

/// The engine that says this about itself, and its version.
pub(crate) fn of_engine(said: &str) -> Option<(Flavour, Version)> {
    let names = [("apptainer", Flavour::Apptainer), ("singularity-ce", Flavour::SingularityCE)];
    names.into_iter().find_map(|(name, flavour)| of(name, said).map(|version| (flavour, version)))
}

/// What there is to say of a program that does not.
pub(crate) const NO_ENGINE: &str = "does not say that it is Apptainer or SingularityCE";

/// After a start that never reached the container: whether the program is an engine at all. To ask before would cost every start
/// the time of a program.
pub(crate) fn no_engine(engine: &Engine) -> Option<MissingEngine> {
    let why = match ask(&engine.program, &["--version"]) {
        Ok(answer) if of_engine(&answer.both()).is_some() => return None,
        Ok(_) => NO_ENGINE.into(),
        Err(error) => error.to_string(),
    };
    Some(MissingEngine::Unusable { program: engine.program.clone(), why, origin: engine.origin.clone() })
}

/// Reads `1.47.0`, `1.13-dev`, `6.1.0-13-amd64`: numbers up to the first thing that is none.
pub(crate) fn parse(word: &str) -> Option<Version> {
    let mut numbers = word.split('.').map_while(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok().map(|number| (number, digits.len() == part.len()))
    });
    let (major, whole) = numbers.next()?;
    let (minor, second_whole) = numbers.next().filter(|_| whole)?;
    let patch = numbers.next().filter(|_| second_whole).map_or(0, |(patch, _)| patch);
    Some(Version(major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the programs of Debian bookworm, trixie and sid print.
    #[test]
    fn what_real_programs_say() {
        let fuse2fs = "fuse2fs 1.47.0 (5-Feb-2023)\nFUSE library version: 2.9.9\nfusermount3 version: 3.14.0\n";
        let newer = "fusermount3 version: 3.18.3\nFUSE library version 3.18.3\nfuse2fs 1.47.4 (6-Mar-2025)\n";
        let overlayfs = "unknown argument ignored: lazytime\nfusermount3 version: 3.14.0\nfuse-overlayfs: version 1.10\nFUSE library version 3.14.0\n";
        let dev = "unknown argument ignored: lazytime\nfuse-overlayfs: version 1.13-dev\n";
        let mke2fs = "mke2fs 1.47.2 (1-Jan-2025)\n\tUsing EXT2FS Library version 1.47.2\n";
        let apptainer = "\u{1b}[33mWARNING:\u{1b}[0m Error getting executable path\napptainer version 1.4.5\n";
        for (program, said, version) in [
            ("fuse2fs", fuse2fs, Version(1, 47, 0)),
            ("fuse2fs", newer, Version(1, 47, 4)),
            ("fuse-overlayfs", overlayfs, Version(1, 10, 0)),
            ("fuse-overlayfs", dev, Version(1, 13, 0)),
            (
                "squashfuse",
                "squashfuse 0.1.104 (c) 2012 Dave Vasilevsky\n\nUsage: squashfuse_ll [options]",
                Version(0, 1, 104),
            ),
            ("squashfuse", "squashfuse 0.5.2 (c) 2012 Dave Vasilevsky\n", Version(0, 5, 2)),
            ("mke2fs", mke2fs, Version(1, 47, 2)),
            ("mksquashfs", "mksquashfs version 4.5.1 (2022/03/17)\ncopyright (C) 2022", Version(4, 5, 1)),
            ("mksquashfs", "mksquashfs version 4.7.5 (2026/03/01)\n", Version(4, 7, 5)),
            ("apptainer", apptainer, Version(1, 4, 5)),
            ("apptainer", "apptainer version 1.3.0-1.el8\n", Version(1, 3, 0)),
            ("singularity-ce", "singularity-ce version 4.3.1-jammy\n", Version(4, 3, 1)),
            ("slurm", "slurm 26.05.5\n", Version(26, 5, 5)),
            ("slurm", "slurm-wlm 22.05.8\n", Version(22, 5, 8)),
            ("fusermount3", "fusermount3 version: 3.17.2\n", Version(3, 17, 2)),
        ] {
            assert_eq!(of(program, said), Some(version), "{said}");
        }
        assert_eq!(of("fuse2fs", "sh: 1: fuse2fs: not found"), None);
    }

    #[test]
    fn kernels() {
        assert_eq!(parse("6.18.44-fc-v669"), Some(Version(6, 18, 44)));
        assert_eq!(parse("4.18.0-513.el8.x86_64"), Some(Version(4, 18, 0)));
        assert_eq!(parse("6.1-rc3"), Some(Version(6, 1, 0)));
        assert_eq!(parse("(2022/03/17)"), None);
        assert_eq!(parse("6"), None);
        assert_eq!(Version(4, 5, 0).to_string(), "4.5");
    }
}
