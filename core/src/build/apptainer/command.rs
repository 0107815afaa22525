//! The command line of `apptainer build`, and the variables that it must not see.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::config::Config;
use crate::machine::engine::MissingEngine;
use crate::machine::survey;
use crate::plan::command_line::contradicting_variables;
use condatainer_images::verbs::seal::Compression;

/// Options of `apptainer build` that would make something else than a SIF, or another one than was asked for.
const CONTRADICTING: [&str; 11] = [
    "DATA",
    "ENCRYPTION_PASSPHRASE",
    "ENCRYPTION_PEM_DATA",
    "ENCRYPTION_PEM_PATH",
    "FORCE",
    "JSON",
    "MKSQUASHFS_ARGS",
    "NO_CLEANUP",
    "SANDBOX",
    "SECTION",
    "UPDATE",
];
const PREFIXES: [&str; 2] = ["APPTAINER_", "SINGULARITY_"];

/// The program that builds: the engine that starts containers too.
///
/// # Errors
/// There is none.
pub fn engine(config: &Config) -> Result<PathBuf, MissingEngine> {
    survey::engine(config).map(|engine| engine.program)
}

/// Whether Apptainer passes arguments on to mksquashfs: since 1.2, and SingularityCE does not.
pub(crate) fn takes_mksquashfs_arguments(engine: &Path) -> bool {
    let help = Command::new(engine).args(["build", "--help"]).stdin(Stdio::null()).output();
    help.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("--mksquashfs-args"))
}

/// One run of `apptainer build`.
#[derive(Debug)]
pub(crate) struct Build<'a> {
    pub(crate) engine: &'a Path,
    /// For everything that Apptainer makes meanwhile. Absolute: a relative one it does not find in its own mount table.
    pub(crate) tmpdir: &'a Path,
    pub(crate) fakeroot: bool,
    /// Nothing: as Apptainer does it by itself.
    pub(crate) compression: Option<Compression>,
    /// Gives everything to root.
    pub(crate) root_owned: bool,
    pub(crate) arguments: &'a [String],
    pub(crate) sif: &'a Path,
    /// A definition file, or what Apptainer takes without one.
    pub(crate) spec: OsString,
}

impl Build<'_> {
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.engine);
        command.args(self.to_args()).env_remove("TERM");
        contradicting().for_each(|name| {
            command.env_remove(name);
        });
        for prefix in PREFIXES {
            command.env(format!("{prefix}TMPDIR"), self.tmpdir);
        }
        command
    }

    fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["build".into(), "--tmpdir".into(), self.tmpdir.into()];
        if self.fakeroot {
            args.push("--fakeroot".into());
        }
        if let Some(text) = self.mksquashfs() {
            // In one word: Apptainer takes every 'f' out of words that begin with one '-' when it becomes root.
            args.push(format!("--mksquashfs-args={text}").into());
        }
        args.extend(self.arguments.iter().map(OsString::from));
        args.extend([self.sif.into(), self.spec.clone()]);
        args
    }

    fn mksquashfs(&self) -> Option<String> {
        let compression = self.compression.map(|compression| compression.options(None));
        let owner = self.root_owned.then(|| "-all-root".into());
        let words: Vec<String> = compression.into_iter().flatten().chain(owner).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}

fn contradicting() -> impl Iterator<Item = String> {
    let of_builds = PREFIXES.into_iter().flat_map(|prefix| CONTRADICTING.map(|name| format!("{prefix}{name}")));
    contradicting_variables().chain(of_builds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let build = Build {
            engine: Path::new("/usr/bin/apptainer"),
            tmpdir: Path::new("/tmp/d/tmp"),
            fakeroot: true,
            compression: Some(Compression::Zstd),
            root_owned: false,
            arguments: &["--build-arg".into(), "x=1".into()],
            sif: Path::new("/tmp/d/image.sif"),
            spec: "/tmp/d/built.def".into(),
        };
        let words = |build: &Build<'_>| {
            let args: Vec<_> = build.to_args().into_iter().map(|arg| arg.into_string().unwrap()).collect();
            args.join("|")
        };
        let expected = "build|--tmpdir|/tmp/d/tmp|--fakeroot|--mksquashfs-args=-comp zstd -Xcompression-level 6|--build-arg|x=1|/tmp/d/image.sif|/tmp/d/built.def";
        assert_eq!(words(&build), expected);
        let plain = Build {
            fakeroot: false,
            root_owned: true,
            arguments: &[],
            compression: None,
            spec: "docker://debian".into(),
            ..build
        };
        assert_eq!(
            words(&plain),
            "build|--tmpdir|/tmp/d/tmp|--mksquashfs-args=-all-root|/tmp/d/image.sif|docker://debian"
        );
    }

    #[test]
    fn variables() {
        let names: Vec<_> = contradicting().collect();
        assert!(
            ["APPTAINER_SANDBOX", "SINGULARITY_FAKEROOT"].iter().all(|name| names.iter().any(|other| other == name))
        );
        assert!(!names.iter().any(|name| name.ends_with("DOCKER_PASSWORD") || name.ends_with("CACHEDIR")));
    }
}
