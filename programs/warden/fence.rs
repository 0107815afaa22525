//! A cgroup for the keeper and all that it starts, where Slurm tracks steps by cgroups: who is in there cannot leave it, and the kernel
//! kills them all at once, so that nobody escapes by forking.
//!
//! With v2 it lies below the cgroup that slurmstepd is in: the memory counts where slurmstepd's does, within the job's limit, but Slurm
//! neither counts nor signals what is in there. The warden has to be out of that reach too, so there are two, one in the other. With v1
//! only the freezer counts. Slurm removes its cgroups after the warden has ended, so ours are gone by then.

use core::ffi::CStr;

use crate::freestanding::file::{self, F_OK};
use crate::freestanding::path::{PATH_MAX, decimal, joined, number};
use crate::freestanding::signals::{SIGKILL, send};
use crate::kernel;

/// Where the hierarchies are mounted.
const V2: [&[u8]; 2] = [b"/sys/fs/cgroup", b"/sys/fs/cgroup/unified"];
const FREEZER: [&[u8]; 1] = [b"/sys/fs/cgroup/freezer"];
const NEST: &[u8] = b"/condatainer";
const INNER: &[u8] = b"/keeper";
const PROCESSES: &[u8] = b"/cgroup.procs";
const OURSELVES: &[u8] = b"0";
/// What a cgroup of Slurm's has in its path: v2's, and with v1 the job's, in which slurmstepd stays.
const OF_STEP: &[u8] = b"/step_";
const OF_JOB: &[u8] = b"/job_";
/// How often is asked whether a cgroup is frozen or empty, with a pause of some milliseconds.
const PATIENCE: usize = 20;
const PAUSE: u64 = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    V2,
    Freezer,
}

/// See the module.
pub(crate) struct Fence {
    kind: Kind,
    /// The mount point of the hierarchy.
    root: &'static [u8],
    /// slurmstepd's cgroup below it.
    own: [u8; PATH_MAX],
    own_length: usize,
    /// Ours.
    nest: [u8; 32],
    nest_length: usize,
}

impl Fence {
    /// Puts the keeper behind one; `None` where Slurm does not track by cgroups.
    pub(crate) fn around(keeper: usize) -> Option<Self> {
        let mut room = [0; PATH_MAX];
        kernel::number_in_proc()?;
        let groups: &[u8] = file::read(c"/proc/self/cgroup", &mut room)?;
        let lines = || groups.split(|byte| *byte == b'\n');
        // cgroups(7): the number of the hierarchy, its controllers, the path.
        let v2 = lines().find_map(|line| line.strip_prefix(b"0::"));
        let freezer = lines().find_map(|line| after(line, b":freezer:"));
        v2.and_then(|path| Self::below(Kind::V2, &V2, path, keeper))
            .or_else(|| freezer.and_then(|path| Self::below(Kind::Freezer, &FREEZER, path, keeper)))
    }

    /// In a container that slurmd runs in, the mount may begin deeper than the path does.
    fn below(kind: Kind, roots: &[&'static [u8]], path: &[u8], keeper: usize) -> Option<Self> {
        let own = kernel::number_in_proc()?;
        let of_slurm = if kind == Kind::V2 { OF_STEP } else { OF_JOB };
        let starts = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let paths = starts.filter_map(|at| path.get(at..)).filter(|path| contains(path, of_slurm));
        let is_ours = |root: &[u8], path: &[u8]| {
            let mut found = false;
            with(&[root, path, PROCESSES], |file| numbers(file, |process| found = found || process == own));
            found
        };
        let mut places = paths.flat_map(|path| roots.iter().map(move |root| (*root, path)));
        let (root, path) = places.find(|(root, path)| is_ours(root, path))?;
        Self::in_group(kind, root, path, keeper)
    }

    fn in_group(kind: Kind, root: &'static [u8], path: &[u8], keeper: usize) -> Option<Self> {
        let mut fence = Self { kind, root, own: [0; PATH_MAX], own_length: path.len(), nest: [0; 32], nest_length: 0 };
        fence.own.get_mut(..path.len())?.copy_from_slice(path);
        let mut digits = [0; 20];
        // With v1 slurmstepd's cgroup is the job's: there may be other steps.
        let parts: &[&[u8]] = match kind {
            Kind::V2 => &[NEST],
            Kind::Freezer => &[NEST, b"-", decimal(kernel::number_in_proc()?, &mut digits)],
        };
        for part in parts {
            let end = fence.nest_length + part.len();
            fence.nest.get_mut(fence.nest_length..end)?.copy_from_slice(part);
            fence.nest_length = end;
        }
        fence.enter(keeper).then_some(fence)
    }

    fn enter(&self, keeper: usize) -> bool {
        let mut digits = [0; 20];
        let is_made = match self.kind {
            Kind::V2 => {
                self.at_nest(b"", kernel::make_directory)
                    && self.at_nest(INNER, kernel::make_directory)
                    && self.at_nest(PROCESSES, |file| kernel::write(file, OURSELVES))
            }
            Kind::Freezer => self.at_nest(b"", kernel::make_directory),
        };
        let is_in = is_made && self.at_inner(PROCESSES, |file| kernel::write(file, decimal(keeper, &mut digits)));
        if !is_in {
            self.leave();
        }
        is_in
    }

    /// Kills everybody in there. Where the kernel has no button for that, nobody can fork meanwhile.
    pub(crate) fn kill(&self) {
        match self.kind {
            Kind::V2 if self.at_inner(b"/cgroup.kill", |file| kernel::write(file, b"1")) => {}
            Kind::V2 => {
                self.at_inner(b"/cgroup.freeze", |file| kernel::write(file, b"1"));
                // What is frozen dies nevertheless.
                self.processes(|process| send(process, SIGKILL));
            }
            Kind::Freezer => {
                self.at_inner(b"/freezer.state", |file| kernel::write(file, b"FROZEN"));
                self.until(|| self.at_inner(b"/freezer.state", |file| says(file, b"FROZEN\n")));
                self.processes(|process| send(process, SIGKILL));
                self.at_inner(b"/freezer.state", |file| kernel::write(file, b"THAWED"));
            }
        }
    }

    /// Takes the cgroups away. What cannot be ended is given back to slurmstepd's: Slurm sees it there, and does with the node what it
    /// does for any process that nothing ends.
    pub(crate) fn remove(&self, is_stuck: bool) {
        if is_stuck {
            self.processes(|process| {
                let mut digits = [0; 20];
                self.at_own(PROCESSES, |file| kernel::write(file, decimal(process, &mut digits)));
            });
        }
        self.leave();
    }

    fn leave(&self) {
        if self.kind == Kind::V2 {
            self.until(|| {
                self.at_nest(INNER, |directory| {
                    kernel::remove_directory(directory) || !file::is_accessible(directory, F_OK)
                })
            });
            // Out of slurmstepd's cgroup as well: where a step ends unusually Slurm has tried to remove that one already.
            let at_root = with(&[self.root, PROCESSES], |file| kernel::write(file, OURSELVES));
            if !at_root {
                self.at_own(PROCESSES, |file| kernel::write(file, OURSELVES));
            }
        }
        self.until(|| {
            self.at_nest(b"", |directory| kernel::remove_directory(directory) || !file::is_accessible(directory, F_OK))
        });
        let step = self.own().strip_suffix(b"/slurm").filter(|_| self.kind == Kind::V2);
        if let Some(step) = step {
            // In the usual order slurmstepd is still in there, and nothing happens.
            let is_abandoned = self.at_own(b"", kernel::remove_directory);
            if is_abandoned {
                with(&[self.root, step, b"/user"], kernel::remove_directory);
                with(&[self.root, step], kernel::remove_directory);
            }
        }
    }

    /// Calls `each` with the number of everybody in there.
    fn processes(&self, each: impl FnMut(usize)) {
        self.at_inner(PROCESSES, |file| numbers(file, each));
    }

    fn until(&self, holds: impl Fn() -> bool) {
        for _ in 0..PATIENCE {
            if holds() {
                return;
            }
            kernel::pause(PAUSE);
        }
    }

    fn own(&self) -> &[u8] {
        self.own.get(..self.own_length).unwrap_or_default()
    }

    fn nest(&self) -> &[u8] {
        self.nest.get(..self.nest_length).unwrap_or_default()
    }

    /// Something in slurmstepd's cgroup.
    fn at_own(&self, name: &[u8], what: impl FnOnce(&CStr) -> bool) -> bool {
        with(&[self.root, self.own(), name], what)
    }

    /// Something in ours.
    fn at_nest(&self, name: &[u8], what: impl FnOnce(&CStr) -> bool) -> bool {
        with(&[self.root, self.own(), self.nest(), name], what)
    }

    /// Something in the one that the keeper is in.
    fn at_inner(&self, name: &[u8], what: impl FnOnce(&CStr) -> bool) -> bool {
        let inner = if self.kind == Kind::V2 { INNER } else { b"" };
        with(&[self.root, self.own(), self.nest(), inner, name], what)
    }
}

fn with(parts: &[&[u8]], what: impl FnOnce(&CStr) -> bool) -> bool {
    let mut room = [0; PATH_MAX];
    joined(&mut room, parts).is_some_and(what)
}

/// Calls `each` with every number in a file of numbers; 0 stands for a process that this one cannot see.
fn numbers(file: &CStr, mut each: impl FnMut(usize)) -> bool {
    let (mut digits, mut length) = ([0; 20], 0);
    kernel::read_all(file, |byte| {
        if byte != b'\n' {
            if let Some(place) = digits.get_mut(length) {
                *place = byte;
            }
            length += 1;
            return;
        }
        let process = digits.get(..length).and_then(number).filter(|process| *process != 0);
        length = 0;
        process.into_iter().for_each(&mut each);
    })
}

fn says(file: &CStr, text: &[u8]) -> bool {
    let mut room = [0; 32];
    file::read(file, &mut room).is_some_and(|found| found == text)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// What comes behind a part of the text.
fn after<'a>(text: &'a [u8], part: &[u8]) -> Option<&'a [u8]> {
    let at = text.windows(part.len()).position(|window| window == part)?;
    text.get(at + part.len()..)
}
