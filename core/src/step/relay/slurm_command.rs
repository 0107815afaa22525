//! One of Slurm's commands, outside of the container that it was called in.
//!
//! It gets the caller's streams, arguments, limits and directory, and its environment without what the container's start has
//! made of it. It ends with the caller, and the caller ends as it does.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use rustix::fs::Mode;
use rustix::net::RecvFlags;

use crate::join::environment::unmerged;
use crate::join::shim::job_of;
use crate::join::system::Below;
use crate::machine::variables::variables_of;
use crate::request::VARIABLE as REQUEST;
use crate::request::held::HELD;
use crate::run::inside;
use crate::run::inside::SHOWN;
use crate::step::channel::receive;
use crate::step::limits;
use condatainer_images::system::process::Process;
use condatainer_programs::command::Variables;
use condatainer_programs::exit_code::NOT_STARTED;
use condatainer_programs::relay::{EXITED, SIGNALED};

/// Signals of a terminal reach all processes of its foreground, so also those that a command of ours may start.
const OF_TERMINALS: [Signal; 4] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGCONT];

/// Runs what the relay at the other end of `call` was called as; `first` is the first process of its container.
///
/// # Errors
/// The relay is gone already.
pub fn run(first: Pid, mut call: UnixStream) -> io::Result<()> {
    let caller = getsockopt(&call, sockopt::PeerCredentials)?.pid();
    let (_, streams) = receive(call.as_fd(), RecvFlags::empty())?;
    let [stdin, stdout, stderr] = <[OwnedFd; 3]>::try_from(streams).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut words = File::from(stderr.try_clone()?);
    let caller = Process::numbered(caller);
    let command = prepared(&caller, &Process::numbered(first), &mut words);
    let ended = command.and_then(|mut command| carried_out(command.stdin(stdin).stdout(stdout).stderr(stderr), &call));
    let answer = ended.unwrap_or_else(|error| {
        let _ = writeln!(words, "condatainer: {}: {error}", caller.name());
        [EXITED, NOT_STARTED]
    });
    call.write_all(&answer)
}

/// The command with all that it takes over, some of which is set on this process.
fn prepared(caller: &Process, first: &Process, words: &mut File) -> io::Result<Command> {
    let unseen =
        |error: io::Error| io::Error::other(format!("the process that called it cannot be looked at: {error}"));
    let arguments = caller.arguments().map_err(unseen)?;
    let called = arguments.first().map(OsStr::new).unwrap_or_default();
    let name = Path::new(called).file_name().unwrap_or_default();
    let outside = variables_of(&Process::this())?;
    let program = program(name, &outside).map_err(io::Error::other)?;
    let mut command = Command::new(&program);
    command.arg0(called).args(arguments.iter().skip(1)).process_group(0).env_clear();
    let variables = variables(caller, first, &outside, &program).map_err(unseen)?;
    command.envs(variables.iter().map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value))));
    let directory = fs::read_link(caller.directory().join("cwd")).map_err(unseen)?;
    if directory.is_dir() {
        command.current_dir(directory);
    } else {
        let (name, there, here) = (name.display(), directory.display(), std::env::current_dir()?);
        let here = here.display();
        let _ = writeln!(words, "condatainer: {name}: {there} is not outside of the container: it runs in {here}");
    }
    let mask = caller.status("Umask").and_then(|mask| u32::from_str_radix(&mask, 8).ok());
    mask.map(Mode::from_raw_mode).map(rustix::process::umask);
    limits::take_over_from(caller);
    Ok(command)
}

/// The file of a command that the site offers, as the job finds it outside of its container.
fn program(name: &OsStr, outside: &Variables) -> Result<PathBuf, &'static str> {
    if name.is_empty() || !inside::programs("slurm").is_some_and(|dir| dir.join(name).is_file()) {
        return Err("it is not among the commands that run outside of a container");
    }
    let path = outside.get(b"PATH".as_slice()).map(Vec::as_slice).unwrap_or_default();
    let directories = path.split(|byte| *byte == b':').map(|dir| PathBuf::from(OsStr::from_bytes(dir)));
    let mut files = directories.filter(|dir| dir.is_absolute()).map(|dir| dir.join(name));
    files.find(|file| file.is_file()).ok_or("no such command in the PATH that this job has outside of the container")
}

/// The caller's variables, as they would be outside of the container.
fn variables(caller: &Process, first: &Process, outside: &Variables, program: &Path) -> io::Result<Variables> {
    let own = variables_of(caller)?;
    let inside = as_started(first)?;
    let mut variables = unmerged(own, outside, &inside);
    keep_request(&mut variables, outside);
    // It is held for as long as the container's command waits for this one.
    variables.extend(inside.get_key_value(HELD.as_bytes()).map(|(name, value)| (name.clone(), value.clone())));
    // Where a shell has found the command.
    if let Some(found) = variables.get_mut(b"_".as_slice()).filter(|found| found.starts_with(SHOWN.as_bytes())) {
        *found = program.as_os_str().as_bytes().to_vec();
    }
    Ok(variables)
}

/// What is called from a container runs in one unless it is told not to: a script that clears its environment has told nothing, and
/// its steps would run on the host. Who means that says `--condatainer-off`.
fn keep_request(variables: &mut Variables, outside: &Variables) {
    if let Some(request) = outside.get(REQUEST.as_bytes()) {
        variables.entry(REQUEST.into()).or_insert_with(|| request.clone());
    }
}

/// What the container's start gave to those in there.
fn as_started(first: &Process) -> io::Result<Variables> {
    let (job, container, files) = (job_of(first)?, variables_of(first)?, Below(first.root()));
    Ok(job.environment(&files, &container))
}

/// Runs the command to its end, and passes on the signals that come in meanwhile.
fn carried_out(command: &mut Command, call: &UnixStream) -> io::Result<[u8; 2]> {
    let mut signals = call.try_clone()?;
    let program = PathBuf::from(command.get_program());
    let failed = |error| io::Error::other(format!("{} cannot be started: {error}", program.display()));
    let mut child = command.spawn().map_err(failed)?;
    let running = Arc::new(Running::new(&child));
    let command = Arc::clone(&running);
    std::thread::spawn(move || {
        let mut signal = [0];
        while signals.read_exact(&mut signal).is_ok() {
            command.pass_on(signal[0]);
        }
        // Its caller was killed, so it is. Not its group: a child of srun's survives, to cancel the step.
        command.signal(|pid| kill(pid, Signal::SIGKILL));
    });
    Ok(answer(running.wait(&mut child)?))
}

/// A command that signals are sent to for as long as its number is its own: once it is waited for, another process may get it.
struct Running {
    pid: Pid,
    is_over: Mutex<bool>,
}

impl Running {
    fn new(child: &Child) -> Self {
        Self { pid: Pid::from_raw(child.id().cast_signed()), is_over: Mutex::new(false) }
    }

    fn pass_on(&self, signal: u8) {
        match Signal::try_from(i32::from(signal)) {
            Ok(signal) if OF_TERMINALS.contains(&signal) => self.signal(|pid| killpg(pid, signal)),
            Ok(signal) => self.signal(|pid| kill(pid, signal)),
            // One of the real-time signals.
            Err(_) => {}
        }
    }

    fn signal(&self, send: impl FnOnce(Pid) -> nix::Result<()>) {
        let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_over {
            let _ = send(self.pid);
        }
    }

    /// Waits for its end. A zombie keeps its number until the last line here.
    fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        while waitid(Id::Pid(self.pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        child.wait()
    }
}

fn answer(status: ExitStatus) -> [u8; 2] {
    match (status.code(), status.signal()) {
        (Some(code), _) => [EXITED, code.to_le_bytes()[0]],
        (_, signal) => [SIGNALED, signal.unwrap_or_default().to_le_bytes()[0]],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_anothers_by_now_gets_no_signal() {
        let sleeper = || Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let mut command = sleeper();
        let running = Running::new(&command);
        running.pass_on(Signal::SIGTERM as u8);
        assert_eq!(running.wait(&mut command).unwrap().signal(), Some(Signal::SIGTERM as i32));
        // As if another process had got the number.
        let mut stranger = sleeper();
        let running = Running { pid: Pid::from_raw(stranger.id().cast_signed()), ..running };
        [Signal::SIGTERM, Signal::SIGINT].iter().for_each(|signal| running.pass_on(*signal as u8));
        running.signal(|_| unreachable!("its caller's end reaches it"));
        stranger.kill().unwrap();
        assert_eq!(stranger.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
    }

    #[test]
    fn a_request_is_kept_and_not_changed() {
        let variables =
            |text: &str| -> Variables { text.split_once('=').map(|(k, v)| (k.into(), v.into())).into_iter().collect() };
        let outside = variables("SLURM_CONDATAINER=job's");
        for (own, expected) in [("A=1", "job's"), ("SLURM_CONDATAINER=own", "own"), ("SLURM_CONDATAINER=", "")] {
            let mut own = variables(own);
            keep_request(&mut own, &outside);
            assert_eq!(own[REQUEST.as_bytes()], expected.as_bytes());
            keep_request(&mut own, &Variables::new());
        }
        let mut none = variables("A=1");
        keep_request(&mut none, &Variables::new());
        assert_eq!(none, variables("A=1"));
    }
}
