//! The shim: the first process inside a container, which becomes the user's command.
//!
//! Apptainer exits with 255 for its own failures and for a command that it cannot find, so its exit code alone proves nothing.
//! The shim tells the caller over a socket that the container stands, waits for its word, and reports why an exec failed. It
//! sets the environment literally (Apptainer's own `--env` is evaluated by a shell) and leaves nothing behind: it is linked
//! statically, lives in a memory file and is started through an inherited descriptor, so the image needs no mount point, no
//! shell and no libc for it.
//!
//! Called as `/proc/self/fd/IMAGE SOCKET IMAGE [--path DIR]... [--workspace] [--set NAME=VALUE]... [--prompt TEXT] [--shell SHELL]
//! -- [COMMAND [ARG]...]`.
//! Says on the socket: `S` when it runs; then, after the answer `G`, `E` and the errno in decimal if the exec failed.

use std::ffi::{OsStr, OsString};
use std::io::{Error, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Where environments are kept in a workspace image.
const WORKSPACE_ENV: &str = "/ext3/env";
/// Where the C library keeps its locales, one directory each or all in `locale-archive`.
const LOCALES: &str = "/usr/lib/locale";
/// Variables that name files of the host, which mean nothing where there are none.
const HOST_FILES: [&str; 2] = ["CURL_CA_BUNDLE", "SSL_CERT_FILE"];
const NOT_STARTED: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
const ENOENT: i32 = 2;
/// Reported when the file is there but what it names as its interpreter is not.
const ELIBBAD: i32 = 80;

/// What the arguments ask for.
struct Job {
    socket: RawFd,
    image: RawFd,
    path: Vec<OsString>,
    workspace: bool,
    set: Vec<(OsString, OsString)>,
    prompt: Option<OsString>,
    shell: Option<OsString>,
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    let Some(job) = parse(std::env::args_os().skip(1)) else { return ExitCode::from(NOT_STARTED) };
    let Ok(mut caller) = adopt(&job) else { return ExitCode::from(NOT_STARTED) };
    if !may_start(&mut caller) {
        return ExitCode::from(NOT_STARTED);
    }
    let errno = become_command(&job);
    let _ = write!(caller, "E{errno}");
    ExitCode::from(if errno == ENOENT { NOT_FOUND } else { NOT_EXECUTABLE })
}

fn parse(mut args: impl Iterator<Item = OsString>) -> Option<Job> {
    let number = |arg: OsString| arg.to_str()?.parse().ok();
    let (socket, image) = (number(args.next()?)?, number(args.next()?)?);
    let mut job = Job {
        socket,
        image,
        path: Vec::new(),
        workspace: false,
        set: Vec::new(),
        prompt: None,
        shell: None,
        command: Vec::new(),
    };
    loop {
        match args.next()?.as_bytes() {
            b"--path" => job.path.push(args.next()?),
            b"--workspace" => job.workspace = true,
            b"--set" => job.set.push(split_assignment(&args.next()?)?),
            b"--prompt" => job.prompt = Some(args.next()?),
            b"--shell" => job.shell = Some(args.next()?),
            b"--" => break,
            _ => return None,
        }
    }
    job.command = args.collect();
    Some(job)
}

fn split_assignment(text: &OsStr) -> Option<(OsString, OsString)> {
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|b| *b == b'=')?;
    Some((OsStr::from_bytes(&bytes[..at]).into(), OsStr::from_bytes(&bytes[at + 1..]).into()))
}

/// Takes over the inherited descriptors, so that none of them reaches the command: a clone is close-on-exec.
fn adopt(job: &Job) -> Result<UnixStream, Error> {
    // SAFETY: the caller opened these two descriptors for this process and named them in the arguments; nothing here has used them.
    let (socket, image) = unsafe { (OwnedFd::from_raw_fd(job.socket), OwnedFd::from_raw_fd(job.image)) };
    drop(image);
    Ok(UnixStream::from(socket.try_clone()?))
}

/// Says that the container stands and waits until the caller has looked at the images again.
fn may_start(caller: &mut UnixStream) -> bool {
    let mut answer = [0];
    caller.write_all(b"S").is_ok() && caller.read_exact(&mut answer).is_ok() && answer == *b"G"
}

/// Execs the command; returns only the errno of a failure.
fn become_command(job: &Job) -> i32 {
    let mut candidates = if job.command.is_empty() { shells(job) } else { vec![job.command.clone()] };
    let mut errno = ENOENT;
    while !candidates.is_empty() {
        let argv = candidates.remove(0);
        let failure = command(job, &argv).exec();
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
fn shells(job: &Job) -> Vec<Vec<OsString>> {
    job.shell.iter().cloned().chain([OsString::from("/bin/bash"), OsString::from("/bin/sh")]).map(|s| vec![s]).collect()
}

fn command(job: &Job, argv: &[OsString]) -> Command {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).env("PATH", search_path(job));
    if Path::new(WORKSPACE_ENV).join("bin").is_dir() {
        command.envs([
            ("CONDA_PREFIX", WORKSPACE_ENV),
            ("CONDA_DEFAULT_ENV", "env"),
            ("MAMBA_ROOT_PREFIX", WORKSPACE_ENV),
        ]);
        let python = Path::new(WORKSPACE_ENV).join("bin/python");
        command.envs(python.exists().then_some(("RETICULATE_PYTHON", python)));
    }
    for name in HOST_FILES.iter().filter(|name| std::env::var_os(name).is_some_and(|file| !Path::new(&file).exists())) {
        command.env_remove(name);
    }
    if !locale_exists() {
        command.envs([("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8")]);
    }
    // Other shells would show what bash puts into a prompt as it is written.
    if let Some(prompt) = &job.prompt
        && Path::new(&argv[0]).file_name() == Some(OsStr::new("bash"))
    {
        command.env("PS1", prompt).envs(prompt_command(prompt).map(|text| ("PROMPT_COMMAND", text)));
    }
    command.envs(job.set.iter().map(|(name, value)| (name, value)));
    command
}

/// Apptainer forces its own prompt on bash: its PROMPT_COMMAND ends in `PS1="Apptainer> "`, perhaps with more behind it.
fn prompt_command(prompt: &OsStr) -> Option<OsString> {
    const FORCED: &str = "PS1=\"";
    let forced = std::env::var("PROMPT_COMMAND").ok()?;
    let start = forced.rfind(FORCED)? + FORCED.len();
    let end = start + forced[start..].find('"')?;
    let mut text = OsString::from(&forced[..start]);
    text.push(prompt);
    text.push(&forced[end..]);
    Some(text)
}

/// The programs of the topmost layer first, then those below, then the container's own.
fn search_path(job: &Job) -> OsString {
    let workspace = Path::new(WORKSPACE_ENV).join("bin");
    let own = std::env::var_os("PATH").filter(|path| !path.is_empty());
    let has_workspace = job.workspace || workspace.is_dir();
    let workspace = has_workspace.then(|| workspace.into_os_string());
    let dirs: Vec<OsString> = workspace.into_iter().chain(job.path.iter().rev().cloned()).chain(own).collect();
    dirs.join(OsStr::new(":"))
}

/// Whether the container has the language that the host is set to: else every program warns.
fn locale_exists() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let Some(name) = set("LC_ALL").or_else(|| set("LANG")) else { return true };
    let Some(name) = name.to_str() else { return true };
    let language = name.split('.').next().unwrap_or_default();
    let places = [Path::new(LOCALES).join(name), Path::new(LOCALES).join(format!("{language}.utf8"))];
    matches!(language, "C" | "POSIX")
        || Path::new(LOCALES).join("locale-archive").exists()
        || places.iter().any(|place| place.exists())
}
