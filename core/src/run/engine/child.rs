//! The engine as a child process, and the command behind it.

use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::machine::engine::{Engine, MissingEngine};
use crate::machine::survey::PROGRAM;
use crate::plan::command_line::contradicting_variables;
use crate::plan::refusal::Refusal;
use crate::request::ARGUMENTS_VARIABLE;
use crate::run::engine::shim_socket::{Report, ShimSocket};
use crate::run::engine::signals::{Forward, Incoming, Signals};
use crate::run::engine_mounts::daemons::{self, Asked};
use crate::run::error::{Ended, RunError, system};
use condatainer_images::system::stop;
use condatainer_stack::process::ENTER;

/// What this program is called where it is not yet another.
const NAME: &str = "condatainer";
/// How often the command is looked for, in milliseconds. Its end is noticed late by at most this; the end of the engine at once.
const COMMAND_CHECK: u16 = 500;
const TEARDOWN_CHECK: u16 = 50;
/// Less than the second that Apptainer waits itself (imagedriver.go, waitTimeout).
const TEARDOWN: Duration = Duration::from_millis(300);
/// After this whoever waits wants to know what for.
const SLOW: Duration = Duration::from_secs(2);
/// An engine that was asked to end, and has run no command, has ended by then if it can.
const LATE: Duration = Duration::from_secs(5);

/// What is not on the disk yet is worth more than one Ctrl-C.
const OFTEN_ENOUGH: u32 = 3;

/// Signals by which a user says that he does not want to wait.
const IMPATIENT: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// The running engine.
#[derive(Debug)]
pub(crate) struct Child {
    engine: Pid,
    command: Option<Pid>,
    /// Its number may be another's by now.
    command_is_over: bool,
    socket: ShimSocket,
    signals: Signals,
    interrupted: Option<Signal>,
    /// How often the user has said since the end that he does not want to wait.
    hurried: u32,
    ended: Option<WaitStatus>,
}

/// What the engine reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// What its caller does: they are the command's.
    Callers,
    /// Nothing but its own words, to standard error.
    Words,
}

/// The engine is there, and is no program that the system runs.
pub(crate) fn not_started(engine: &Engine, why: impl Display) -> RunError {
    let why = format!("cannot be started: {why}");
    let (program, origin) = (engine.program.clone(), engine.origin.clone());
    Refusal::NoEngine(MissingEngine::Unusable { program, why, origin }).into()
}

/// What is waited for besides signals.
enum Beside<'a> {
    Nothing,
    Socket,
    Others(&'a [BorrowedFd<'a>]),
}

impl Child {
    /// Starts the engine with these arguments, in this directory if not in the caller's; its interposers stand in front of its FUSE
    /// programs. With a `way_in` it starts what is led in by that, and becomes the engine.
    pub(crate) fn spawn(
        argv: &[String],
        engine: &Engine,
        socket: ShimSocket,
        forward: Forward,
        streams: Streams,
        directory: Option<&Path>,
        way_in: Option<OwnedFd>,
    ) -> Result<Self, RunError> {
        let signals = Signals::listen(forward)?;
        // Whoever has waited for an image, or has lent it, was listening before; it is not wanted any more.
        if let Some(signal) = stop::noted() {
            return Err(RunError::Interrupted(signal));
        }
        let (program, arguments) = argv.split_first().ok_or_else(|| system("no engine")(Errno::EINVAL.into()))?;
        let mut command = Command::new(if way_in.is_some() { PROGRAM } else { program });
        if way_in.is_some() {
            command.arg0(NAME).args([ENTER, program]);
        }
        command.args(arguments).env_remove(ARGUMENTS_VARIABLE);
        contradicting_variables().for_each(|name| {
            command.env_remove(name);
        });
        if let Some(dir) = &engine.interposers {
            command.env("PATH", daemons::path_with(dir, &engine.own_programs, way_in.is_none()));
        }
        // It believes PWD, and would follow a link that the container has not got.
        if let Some(directory) = directory {
            command.current_dir(directory).env("PWD", directory);
        }
        if streams == Streams::Words {
            command.stdin(Stdio::null()).stdout(Stdio::null());
        }
        if let Some(way_in) = way_in {
            command.stdin(way_in);
        }
        let child = command.spawn().map_err(|error| not_started(engine, error))?;
        // It holds the other end of the way in.
        drop(command);
        let engine = i32::try_from(child.id()).map_err(|_| system("bad process id")(Errno::EINVAL.into()))?;
        Ok(Self {
            engine: Pid::from_raw(engine),
            command: None,
            command_is_over: false,
            socket,
            signals,
            interrupted: None,
            hurried: 0,
            ended: None,
        })
    }

    /// The number of its process.
    pub(crate) fn number(&self) -> u32 {
        self.engine.as_raw().unsigned_abs()
    }

    /// Waits until the shim runs in the container, or the engine has ended without it. `late` is called again and again where the user
    /// does not want to wait any longer and the engine has not ended within some seconds.
    pub(crate) fn wait_for_start(&mut self, mut late: impl FnMut()) -> Result<Report, RunError> {
        let mut unwanted = None;
        loop {
            if self.interrupted.is_some() && unwanted.get_or_insert_with(Instant::now).elapsed() >= LATE {
                late();
            }
            match self.socket.read() {
                Report::Started(pid) => {
                    self.command = Some(pid);
                    return Ok(Report::Started(pid));
                }
                Report::Nowhere(errno) => return Ok(Report::Nowhere(errno)),
                _ if self.ended.is_some() => return Ok(Report::Silent),
                _ => self.wait_for_news(Beside::Socket, COMMAND_CHECK.into())?,
            }
        }
    }

    /// Whether the container lacks the directory for temporary files.
    pub(crate) fn lacks_tmpdir(&self) -> bool {
        self.socket.lacks_tmpdir()
    }

    /// Lets the shim become the command. One that has not heard it, as after Ctrl-C, will not: the container is ending.
    pub(crate) fn let_go(&mut self) -> Result<(), RunError> {
        self.socket.let_go().inspect_err(|_| self.socket.hang_up())
    }

    /// Waits for the end, passing signals on meanwhile; `over` is called when the command has ended, `slow` once where the rest takes
    /// long, and `tick` again and again.
    pub(crate) fn wait(
        &mut self,
        over: impl FnOnce(),
        slow: impl FnMut(),
        mut tick: impl FnMut(),
    ) -> Result<Ended, RunError> {
        while self.ended.is_none() && self.command_runs() {
            self.wait_for_news(Beside::Nothing, COMMAND_CHECK.into())?;
            tick();
        }
        self.command_is_over = self.command.is_some();
        over();
        self.wait_for_teardown(slow, tick)?;
        Ok(match (self.socket.read(), self.ended) {
            (Report::Failed(errno), _) if errno == Errno::ENOENT as i32 => Ended::NotFound,
            (Report::Failed(errno), _) if errno == Errno::ELIBBAD as i32 => {
                Ended::NotExecutable("its interpreter or loader is not in the container".into())
            }
            (Report::Failed(errno), _) => Ended::NotExecutable(Errno::from_raw(errno).desc().into()),
            (_, Some(WaitStatus::Signaled(_, signal, _))) => Ended::Signaled(signal as i32),
            (_, Some(WaitStatus::Exited(_, code))) => Ended::Exited(code),
            (_, _) => Ended::Exited(0),
        })
    }

    /// Ends a container whose command was not let go yet: the shim gives up when its word does not come.
    /// `tick` is called meanwhile.
    pub(crate) fn abandon(&mut self, tick: impl FnMut()) -> Result<(), RunError> {
        self.socket.hang_up();
        self.wait_for_teardown(|| {}, tick)
    }

    /// As [`abandon`](Self::abandon), of one in which nothing has run: `late` is called again and again where it does not end within some
    /// seconds.
    pub(crate) fn give_up(&mut self, mut late: impl FnMut()) {
        let start = Instant::now();
        let _ = self.abandon(|| {
            if start.elapsed() >= LATE {
                late();
            }
        });
    }

    /// The last of these that has come in.
    pub(crate) fn interrupted(&self) -> Option<Signal> {
        self.interrupted
    }

    /// After its end: whether the user has said often enough that he does not want to wait for what comes then.
    pub(crate) fn is_hurried(&mut self) -> bool {
        let signals = self.signals.take().into_iter().filter_map(|incoming| match incoming {
            Incoming::PassOn(signal) | Incoming::Known(signal) => Some(signal),
            Incoming::Child => None,
        });
        self.hurried += signals.filter(|signal| IMPATIENT.contains(signal)).map(|_| 1).sum::<u32>();
        self.hurried >= OFTEN_ENOUGH
    }

    /// Whether a signal has ended the engine itself, so that it could not end its FUSE programs.
    pub(crate) fn was_killed(&self) -> bool {
        matches!(self.ended, Some(WaitStatus::Signaled(..)))
    }

    /// Waits until something can be read at one of these, at most so long; `false` where the container has ended by itself.
    pub(crate) fn wait_beside(&mut self, others: &[BorrowedFd<'_>], at_most: PollTimeout) -> Result<bool, RunError> {
        self.wait_for_news(Beside::Others(others), at_most)?;
        Ok(self.ended.is_none())
    }

    /// A command that runs as a subordinate id cannot be signalled, but it is there.
    fn command_runs(&self) -> bool {
        self.command.is_some_and(|pid| kill(pid, None) != Err(Errno::ESRCH))
    }

    /// The command has ended, the engine unmounts. It gives its daemons a second before it sends SIGTERM, which they may not see
    /// (see [`daemons`]), and another before SIGKILL, which would leave a dirty image where no guard takes it; a process that the
    /// command left behind is enough for that. So they are asked with SIGHUP, which makes them unmount and sync, for as long as the
    /// disk takes.
    fn wait_for_teardown(&mut self, mut slow: impl FnMut(), mut tick: impl FnMut()) -> Result<(), RunError> {
        let start = Instant::now();
        let (mut asked, mut told) = (None, false);
        while self.ended.is_none() || self.leaves_behind(asked.as_ref()) {
            self.wait_for_news(Beside::Nothing, TEARDOWN_CHECK.into())?;
            tick();
            let passed = start.elapsed();
            if passed >= TEARDOWN && asked.is_none() {
                asked = Some(daemons::ask_to_end(self.engine));
            }
            if passed >= SLOW && !told {
                told = true;
                slow();
            }
        }
        Ok(())
    }

    /// Whether one of its daemons still writes after an engine that has not waited for it: Apptainer before 1.3.
    fn leaves_behind(&self, asked: Option<&Asked>) -> bool {
        !self.was_killed() && asked.is_some_and(Asked::still_writes)
    }

    fn wait_for_news(&mut self, beside: Beside<'_>, at_most: PollTimeout) -> Result<(), RunError> {
        let mut sources = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        match beside {
            Beside::Nothing => {}
            Beside::Socket => sources.push(PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)),
            Beside::Others(others) => {
                sources.extend(others.iter().map(|other| PollFd::new(*other, PollFlags::POLLIN)));
            }
        }
        match poll(&mut sources, at_most) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(system("cannot wait for the container")(e.into())),
        }
        for incoming in self.signals.take() {
            self.handle(incoming);
        }
        Ok(())
    }

    fn handle(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Child => self.reap(),
            Incoming::PassOn(signal) => {
                self.note(signal);
                self.pass_on(signal);
            }
            Incoming::Known(signal) => self.note(signal),
        }
    }

    fn note(&mut self, signal: Signal) {
        if IMPATIENT.contains(&signal) {
            self.interrupted = Some(signal);
        }
    }

    /// The engine is not the only child: when it has been waited for, another's end says nothing of it.
    fn reap(&mut self) {
        if self.ended.is_some() {
            return;
        }
        match waitpid(self.engine, Some(WaitPidFlag::WNOHANG)) {
            Ok(status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..))) => self.ended = Some(status),
            Err(Errno::ECHILD) => self.ended = Some(WaitStatus::Exited(self.engine, 255)),
            _ => {}
        }
    }

    /// To the command itself once it runs, so that it gets the signal exactly once; before that to the engine.
    fn pass_on(&self, signal: Signal) {
        if !self.command_is_over {
            let _ = kill(self.command.unwrap_or(self.engine), signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::engine::Flavour;

    #[test]
    fn the_end_of_another_child_says_nothing() {
        let program = "/bin/true";
        let engine = Engine {
            flavour: Flavour::Apptainer,
            program: program.into(),
            origin: None,
            config: None,
            setuid: false,
            oci_mode: false,
            interposers: None,
            own_programs: Vec::new(),
        };
        let (socket, _far_end) = ShimSocket::pair().unwrap();
        let argv = [program.to_owned()];
        let mut child = Child::spawn(&argv, &engine, socket, Forward::Nothing, Streams::Words, None, None).unwrap();
        while child.ended.is_none() {
            child.reap();
        }
        child.reap();
        assert_eq!(child.wait(|| {}, || {}, || {}).unwrap(), Ended::Exited(0));
    }
}
