//! The stack of a start whose layers we mount ourselves: its images, open and locked, the process that serves them, and the way in for
//! the engine.
//!
//! The locks are those that the engine would take, and they are held before anything of the images is read. So what was decided is
//! looked at once more here, before anything runs, and cannot change any more. [`end`] is what comes after the engine.

pub(crate) mod end;
mod images;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc::O_DIRECTORY;

use crate::machine::engine::Engine;
use crate::machine::survey::PROGRAM;
use crate::plan::Plan;
use crate::plan::mounting::{self as planned, Kept, OwnMounts, What};
use crate::run::engine::child::{Streams, not_started};
use crate::run::engine::leftovers::Leftovers;
use crate::run::engine::shim_socket::Report;
use crate::run::engine::stuck::{Look, Stuck};
use crate::run::error::{RunError, system};
use condatainer_stack::namespace::Cannot;
use condatainer_stack::process::start::{Entrance, LeadError, Server};
use condatainer_stack::process::{Entry, Mounted, Point, Stack};
use images::Locked;

/// How often is looked for those that cannot end. Whoever is killed ends at once, if nothing is wrong.
pub(crate) const LOOK: Duration = Duration::from_secs(5);
/// In so many looks one after another a server is blocked that is not to be waited for any longer. Slurm gives up a node a minute after it
/// has killed a step's processes (UnkillableStepTimeout).
const ENOUGH: u32 = 9;

/// See the module.
pub(crate) struct MountedStack {
    own: OwnMounts,
    /// Until it has ended.
    server: Option<Server>,
    entrance: Option<Entrance>,
    /// Who is in the container, once it stands.
    inside: Option<Leftovers>,
    /// The last look at both, when that was, and in how many one after another somebody has waited for a blocked server.
    seen: Look,
    looked: Instant,
    waits: u32,
    is_killed: bool,
    /// It was killed because its disk does not answer, which so nobody else is to wait for.
    disk_hangs: bool,
    // The server has its own descriptors of the same open files; a lock goes with the last one.
    images: Vec<Locked>,
}

impl MountedStack {
    /// Opens and locks the images, and starts what serves them; `None` where the engine mounts them.
    pub(crate) fn for_plan(plan: &Plan) -> Result<Option<Self>, RunError> {
        let Some(own) = plan.mounts.own() else { return Ok(None) };
        let images = images::open(plan, own)?;
        let parts = images::parts(&images, own)?;
        let (scratch, memory) = match &own.scratch {
            Some(Kept::Directory(path)) => (Some(directory(path)?), None),
            Some(Kept::Memory { memory }) => (None, Some(*memory)),
            None => (None, None),
        };
        let points = own.points.iter().filter_map(point).collect();
        let stack = Stack { users: own.users.clone(), points, memory };
        let server = Server::start(Path::new(PROGRAM), parts, &stack, scratch.as_ref().map(AsFd::as_fd))?;
        Ok(Some(Self {
            own: own.clone(),
            server: Some(server),
            entrance: None,
            inside: None,
            seen: Look::default(),
            looked: Instant::now(),
            waits: 0,
            is_killed: false,
            disk_hangs: false,
            images,
        }))
    }

    /// What becomes the engine gets this as its standard input.
    pub(crate) fn way_in(&mut self) -> Result<OwnedFd, RunError> {
        let (entrance, theirs) = Entrance::pair().map_err(system("cannot make a socket pair"))?;
        self.entrance = Some(entrance);
        Ok(theirs)
    }

    /// Leads that process in, and waits until it is the engine.
    pub(crate) fn lead(&mut self, pid: u32, engine: &Engine, streams: Streams) -> Result<(), RunError> {
        let (Some(entrance), Some(server)) = (self.entrance.take(), &self.server) else { return Ok(()) };
        let is_written = self.own.is_written();
        let (users, place) = (self.own.users.clone(), self.own.place.clone());
        let (is_overlaid, is_laid) = (self.own.scratch.is_some(), self.own.workspace.is_some());
        let entry = Entry { users, place, is_written, is_overlaid, is_laid };
        let lead = |stdin: BorrowedFd<'_>| {
            entrance.lead(pid, &entry, stdin, server).map_err(|error| match error {
                LeadError::Mounts(cannot) => cannot.into(),
                LeadError::Engine(why) => not_started(engine, why),
            })
        };
        match streams {
            Streams::Callers => lead(io::stdin().as_fd()),
            Streams::Words => lead(File::open("/dev/null").map_err(system("/dev/null"))?.as_fd()),
        }
    }

    /// The container stands, and this is its first process.
    pub(crate) fn stands(&mut self, first: Report) {
        if let Report::Started(first) = first {
            self.inside = Leftovers::with(first);
        }
    }

    /// To be called now and then. A process that waits for an answer of a server that is stopped or blocked cannot even be killed, and Slurm
    /// would take its node out of use. So the server is killed where somebody in the container is to end and waits for it in vain.
    pub(crate) fn relieve(&mut self) {
        let Some(server) = &mut self.server else { return };
        if self.is_killed || self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        let inside = self.inside.as_ref().map(Leftovers::all_inside).unwrap_or_default();
        let now = Look::at(&inside, server.number());
        let stuck = now.stuck_since(&self.seen);
        self.waits = match stuck {
            Some(Stuck::Stopped) => ENOUGH,
            // What was accepted of everybody in the container is lost with the server, and a disk may be slow.
            Some(Stuck::Blocked) if self.own.workspace.is_some() => self.waits + 1,
            Some(Stuck::Blocked) => ENOUGH,
            None => 0,
        };
        if self.waits >= ENOUGH {
            self.kill();
            self.disk_hangs = stuck == Some(Stuck::Blocked);
        }
        self.seen = now;
    }

    /// Ends the server at once: whoever waits for a file of its gets an error.
    pub(crate) fn kill(&mut self) {
        self.server.iter_mut().for_each(Server::kill);
        self.is_killed = true;
    }
}

impl From<Cannot> for RunError {
    fn from(cannot: Cannot) -> Self {
        Self::Mounts(cannot.to_string())
    }
}

/// Where what is written goes: nothing in it has a name.
fn directory(path: &Path) -> Result<File, RunError> {
    let mut options = File::options();
    let opened = options.read(true).custom_flags(O_DIRECTORY).open(path);
    opened.map_err(system(format!("{}: cannot hold what :tmp layers write", path.display())))
}

/// `None` for what is not there, and for a name that is no text: the engine says what it misses.
fn point(point: &planned::Point) -> Option<Point> {
    let mounted = match &point.what {
        What::Directory => Mounted::Directory,
        What::File => Mounted::File,
        What::FileForLink => Mounted::FileForLink,
        What::Like(path) if std::fs::metadata(path).ok()?.is_dir() => Mounted::Directory,
        What::Like(_) => Mounted::File,
    };
    point.path.to_str()?;
    Some(Point { path: point.path.clone(), mounted })
}
