//! What runs in a container, and in which environment. The same source in the shim, which is the container's first process, and in
//! the library, for tasks that join a step's container.
//!
//! A job is written as `[--path DIR]... [--workspace] [--set NAME=VALUE]... [--prompt TEXT] [--shell SHELL] -- [COMMAND [ARG]...]`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Where environments are kept in a workspace image.
const WORKSPACE_ENV: &str = "/ext3/env";
/// Where the C library keeps its locales, one directory each or all in `locale-archive`.
const LOCALES: &str = "/usr/lib/locale";
/// Variables that name files of the host, which mean nothing where there are none.
const HOST_FILES: [&str; 2] = ["CURL_CA_BUNDLE", "SSL_CERT_FILE"];
/// There is no such file.
pub(crate) const ENOENT: i32 = 2;
/// The file is there, but what it names as its interpreter is not.
pub(crate) const ELIBBAD: i32 = 80;

/// An environment.
pub(crate) type Variables = BTreeMap<OsString, OsString>;

/// What the arguments ask for.
#[derive(Debug)]
pub(crate) struct Job {
    path: Vec<OsString>,
    workspace: bool,
    set: Vec<(OsString, OsString)>,
    prompt: Option<OsString>,
    /// Tried first where there is no command.
    pub(crate) shell: Option<OsString>,
    /// The program and its arguments; none for a shell.
    pub(crate) command: Vec<OsString>,
}

impl Job {
    /// `None` where the words are not a job.
    pub(crate) fn parse(mut words: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut job = Self {
            path: Vec::new(),
            workspace: false,
            set: Vec::new(),
            prompt: None,
            shell: None,
            command: Vec::new(),
        };
        loop {
            match words.next()?.as_bytes() {
                b"--path" => job.path.push(words.next()?),
                b"--workspace" => job.workspace = true,
                b"--set" => job.set.push(split_assignment(&words.next()?)?),
                b"--prompt" => job.prompt = Some(words.next()?),
                b"--shell" => job.shell = Some(words.next()?),
                b"--" => break,
                _ => return None,
            }
        }
        job.command = words.collect();
        Some(job)
    }

    /// Execs the command, in the container's environment and what the job adds to it; returns only the errno of a failure.
    pub(crate) fn become_command(&self, variables: &Variables) -> i32 {
        let mut candidates = if self.command.is_empty() { self.shells() } else { vec![self.command.clone()] };
        let mut errno = ENOENT;
        while !candidates.is_empty() {
            let argv = candidates.remove(0);
            let failure = self.prepared(&argv, variables).exec();
            errno = failure.raw_os_error().unwrap_or(ENOENT);
            if errno == ENOENT && argv[0].as_bytes().contains(&b'/') && Path::new(&argv[0]).exists() {
                errno = ELIBBAD;
            }
            if errno != ENOENT {
                break;
            }
        }
        errno
    }

    /// The user's shell if the container has it, else bash, else sh.
    fn shells(&self) -> Vec<Vec<OsString>> {
        let shells = self.shell.iter().cloned().chain([OsString::from("/bin/bash"), OsString::from("/bin/sh")]);
        shells.map(|shell| vec![shell]).collect()
    }

    fn prepared(&self, argv: &[OsString], variables: &Variables) -> Command {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).env_clear().envs(variables).env("PATH", self.search_path(variables));
        if Path::new(WORKSPACE_ENV).join("bin").is_dir() {
            command.envs([
                ("CONDA_PREFIX", WORKSPACE_ENV),
                ("CONDA_DEFAULT_ENV", "env"),
                ("MAMBA_ROOT_PREFIX", WORKSPACE_ENV),
            ]);
            let python = Path::new(WORKSPACE_ENV).join("bin/python");
            command.envs(python.exists().then_some(("RETICULATE_PYTHON", python)));
        }
        let is_missing = |name: &&&str| get(variables, name).is_some_and(|file| !Path::new(file).exists());
        for name in HOST_FILES.iter().filter(is_missing) {
            command.env_remove(name);
        }
        if !locale_exists(variables) {
            command.envs([("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8")]);
        }
        // Other shells would show what bash puts into a prompt as it is written.
        if let Some(prompt) = &self.prompt
            && Path::new(&argv[0]).file_name() == Some(OsStr::new("bash"))
        {
            command.env("PS1", prompt).envs(prompt_command(variables, prompt).map(|text| ("PROMPT_COMMAND", text)));
        }
        command.envs(self.set.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The programs of the topmost layer first, then those below, then the container's own.
    fn search_path(&self, variables: &Variables) -> OsString {
        let workspace = Path::new(WORKSPACE_ENV).join("bin");
        let own = get(variables, "PATH").cloned();
        let has_workspace = self.workspace || workspace.is_dir();
        let workspace = has_workspace.then(|| workspace.into_os_string());
        let dirs: Vec<OsString> = workspace.into_iter().chain(self.path.iter().rev().cloned()).chain(own).collect();
        dirs.join(OsStr::new(":"))
    }
}

fn split_assignment(text: &OsStr) -> Option<(OsString, OsString)> {
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|b| *b == b'=')?;
    Some((OsStr::from_bytes(&bytes[..at]).into(), OsStr::from_bytes(&bytes[at + 1..]).into()))
}

/// A variable that is not empty.
fn get<'a>(variables: &'a Variables, name: &str) -> Option<&'a OsString> {
    variables.get(OsStr::new(name)).filter(|value| !value.is_empty())
}

/// Apptainer forces its own prompt on bash: its PROMPT_COMMAND ends in `PS1="Apptainer> "`, perhaps with more behind it.
fn prompt_command(variables: &Variables, prompt: &OsStr) -> Option<OsString> {
    const FORCED: &str = "PS1=\"";
    let forced = get(variables, "PROMPT_COMMAND")?.to_str()?;
    let start = forced.rfind(FORCED)? + FORCED.len();
    let end = start + forced[start..].find('"')?;
    let mut text = OsString::from(&forced[..start]);
    text.push(prompt);
    text.push(&forced[end..]);
    Some(text)
}

/// Whether the container has the language that the host is set to: else every program warns.
fn locale_exists(variables: &Variables) -> bool {
    let Some(name) = get(variables, "LC_ALL").or_else(|| get(variables, "LANG")) else { return true };
    let Some(name) = name.to_str() else { return true };
    let language = name.split('.').next().unwrap_or_default();
    let places = [Path::new(LOCALES).join(name), Path::new(LOCALES).join(format!("{language}.utf8"))];
    matches!(language, "C" | "POSIX")
        || Path::new(LOCALES).join("locale-archive").exists()
        || places.iter().any(|place| place.exists())
}
