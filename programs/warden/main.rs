//! The warden of a step's container: root's process above everything that the keeper starts, which ends with it.
//!
//! The plugin starts it with the keeper as its child. The keeper is the user's, and so is what it starts: a program that never
//! ends, or that leaves a child behind, would outlive the job. The warden adopts whatever loses its parent below it. It waits until
//! nothing is left, and when the step is over it waits so long only; then it kills. It reads nothing but the numbers and names that
//! the kernel shows in /proc and of cgroups.
//!
//! It is called `condatainer warden SECONDS KEEPER`, with three descriptors: the socket to slurmstepd, which says that the step is over and
//! is told how it ended; a copy of the keeper's end of its own socket; and the gate, at which the keeper waits before it runs anything.

#![no_std]
#![no_main]
#![no_builtins]

mod fence;
#[path = "../freestanding/mod.rs"]
mod freestanding;
mod kernel;
#[path = "../freestanding/library.rs"]
mod library;
#[path = "../freestanding/start.rs"]
#[allow(dead_code, reason = "it has no environment")]
mod start;
mod tree;
#[allow(dead_code, reason = "it reads no verdict")]
mod verdict;

use fence::Fence;
use freestanding::path;
use freestanding::signals::{SIGKILL, send};
use kernel::Child;
use start::Started;
use verdict::Verdict;

/// The exit code of a panic, or of a wrong call.
const BROKEN: u8 = 1;
/// A keeper's exit codes: all was well; its image has not got all that was written; its layers were not served to the end.
const KEPT: u32 = 0;
const LOST: u32 = verdict::KEEPER_LOST as u32;
const UNSERVED: u32 = verdict::KEEPER_UNSERVED as u32;

/// How long what an ordinary keeper leaves behind may go on, in milliseconds: it has waited for all that matters.
const STRAYS: u64 = 5_000;
/// How long killed processes are waited for.
const DYING: u64 = 5_000;
/// How often killed processes are looked for, and how often a fuse2fs that goes on writing.
const INTERVAL: u64 = 10;
const LOOK: u64 = 100;

fn main(started: &mut Started) -> u8 {
    let mut numbers = started.arguments().skip(2).map(path::number);
    let (Some(Some(seconds)), Some(Some(keeper))) = (numbers.next(), numbers.next()) else { return BROKEN };
    kernel::prepare();
    let fence = Fence::around(keeper);
    kernel::open_gate();
    let verdict = watch(keeper, seconds as u64 * 1000, fence.as_ref());
    kernel::hang_up_keeper();
    if let Some(fence) = fence {
        fence.remove(verdict == Verdict::Stuck);
    }
    kernel::tell(verdict as u8);
    0
}

/// Waits until nothing is left of the keeper's tree, or it has to be ended. A keeper that was killed has left a container behind which
/// tasks may still be in: it goes on until the step is over.
fn watch(keeper: usize, patience: u64, fence: Option<&Fence>) -> Verdict {
    let (mut step_is_over, mut verdict, mut ended) = (false, Verdict::Late, Verdict::Ended);
    let mut deadline = u64::MAX;
    // Until this a fuse2fs may go on writing.
    let mut last = u64::MAX;
    loop {
        match kernel::reap() {
            Child::None => return ended,
            Child::Ended { process, code } => {
                if process == keeper {
                    kernel::hang_up_keeper();
                }
                if process == keeper && matches!(code, Some(KEPT | LOST | UNSERVED)) {
                    (verdict, ended) = match code {
                        Some(LOST) => (Verdict::Lost, Verdict::Lost),
                        Some(UNSERVED) => (Verdict::Unserved, Verdict::Unserved),
                        _ => (Verdict::Strays, Verdict::Ended),
                    };
                    last = last.min(kernel::now() + patience);
                    deadline = deadline.min(kernel::now() + STRAYS);
                }
                continue;
            }
            Child::Running => {}
        }
        let now = kernel::now();
        if now >= deadline && (now >= last || !tree::writes()) {
            return if end_all(fence) { verdict } else { Verdict::Stuck };
        }
        let at_most = if deadline == u64::MAX { None } else { Some(deadline.saturating_sub(now).max(LOOK)) };
        if kernel::wait(!step_is_over, at_most) {
            step_is_over = true;
            last = last.min(kernel::now() + patience);
            deadline = deadline.min(last);
        }
    }
}

/// Kills until nothing is left; `false` where that does not help.
fn end_all(fence: Option<&Fence>) -> bool {
    let deadline = kernel::now() + DYING;
    loop {
        if let Some(fence) = fence {
            fence.kill();
        }
        // Whatever loses its parent by this is our child the next time.
        tree::children(|process, _| send(process, SIGKILL));
        loop {
            match kernel::reap() {
                Child::None => return true,
                Child::Ended { .. } => {}
                Child::Running => break,
            }
        }
        if kernel::now() >= deadline {
            return false;
        }
        kernel::wait(false, Some(INTERVAL));
    }
}
