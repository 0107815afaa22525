//! What only a start needs whose layers the engine mounts, by its FUSE programs, and ours does without.
//!
//! The engine takes its locks when it has started: so we take [turns](turn), and look a [second](second_look) time when it has them. Its
//! programs are guarded, and asked to end ([`daemons`]), also those whose engine is gone ([`abandoned`]); they are found by a
//! [configuration](config) of ours. What a writer has deleted is said in the kernel's language when he is done ([`after_write`]), and what
//! is known of that is kept through a start ([`scan_cache`]). `whiteout` of images, the links and searches of `machine`, and programs'
//! interposer and preload serve this and nothing else, but for the doctor and the verbs that look for such marks.

pub mod abandoned;
mod after_write;
mod config;
pub mod daemons;
mod scan_cache;
mod second_look;
mod turn;

use std::os::fd::OwnedFd;

use crate::plan::Plan;
use crate::plan::refusal::Refusal;
use crate::run::error::RunError;
use crate::run::images::repair::wait_for_writer;
use condatainer_formats::ext::Room;
use condatainer_images::lock::Guard;
use scan_cache::CachedScan;

/// What is kept of a start until its end.
pub(crate) struct EngineMounts<'a> {
    plan: &'a Plan,
    room: Option<Room>,
    turns: Vec<Guard>,
    scans: Vec<CachedScan>,
}

impl<'a> EngineMounts<'a> {
    /// Before the engine is started; `None` where we mount the layers of this plan.
    pub(crate) fn of(plan: &'a Plan) -> Result<Option<Self>, RunError> {
        if plan.mounts.own().is_some() {
            return Ok(None);
        }
        after_write::translate_repaired(plan);
        let room = plan.holds.as_deref().and_then(after_write::room);
        Ok(Some(Self { plan, room, turns: turn::take(plan)?, scans: Vec::new() }))
    }

    /// The configuration to start it with; `None` where its own is right.
    pub(crate) fn config(&self) -> Result<Option<OwnedFd>, RunError> {
        config::for_plan(self.plan)
    }

    /// It has its locks, and what is in the container waits for a word.
    pub(crate) fn stands(&mut self) -> Result<(), RunError> {
        second_look::unchanged(self.plan)?;
        self.turns.clear();
        self.scans = scan_cache::of_layers(self.plan);
        Ok(())
    }

    /// It has ended without a container: who was faster, if that is why, and not the user himself.
    pub(crate) fn failed(&self) -> Option<Refusal> {
        // Our own engine's daemons may still hold the image, and must not be taken for somebody else. Apptainer 1.1 kills the guard
        // of one that it has waited for too long, and so leaves that one.
        self.settle(true);
        second_look::who_was_faster(self.plan)
    }

    /// It has ended; a line for the user where what was written is not as its writer believes.
    pub(crate) fn end(mut self, was_killed: bool) -> Option<String> {
        self.scans.drain(..).for_each(CachedScan::renew);
        self.settle(was_killed);
        self.plan.holds.as_ref().and_then(|image| after_write::finish(image, self.room))
    }

    /// Waits until its FUSE processes have let go of the written image, so that whoever comes next finds it free.
    fn settle(&self, may_leave_daemons: bool) {
        let Some(image) = &self.plan.holds else { return };
        if may_leave_daemons {
            let _ended = abandoned::end(image);
        }
        wait_for_writer(image);
    }
}
