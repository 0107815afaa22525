//! Sealing: what was written to an image becomes a read-only squashfs layer that shows the same on the same base.
//!
//! The image is read natively, without a mount, and handed to mksquashfs as a tar stream. Whiteouts of both kinds become what
//! every stack understands, devices 0/0. The same content gives the same bytes.
//!
//! The way: `clean` gets an image that nobody changes, `walk` tells its names one by one (asking `stack` where a directory hides all
//! that lies below it), `count` adds them up, `archive` writes them for mksquashfs, and `target` puts the finished layer in its place,
//! with a file of variables (`sidecar`) beside it.

mod advice;
mod archive;
mod clean;
mod count;
mod error;
mod report;
mod request;
mod sidecar;
mod stack;
mod target;
mod walk;

use std::io::BufWriter;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::process::ChildStdin;
use std::time::Duration;

use nix::unistd::{getegid, geteuid};

pub use crate::tools::mksquashfs::Compression;
pub use advice::advice;
pub use error::SealError;
pub use report::Report;
pub use request::Request;

use crate::image::{self, ImageError, Kind};
use crate::temporary::Draft;
use crate::tools::ToolError;
use crate::tools::mksquashfs::{self, Mksquashfs, Order, Running};
use crate::tools::open_file::path_of;
use archive::Archive;
use clean::CleanImage;
use condatainer_formats::ext::{ExtError, Ids, Tree};
use count::Count;
use stack::StackBelow;
use target::LayerTarget;
use walk::{LayerWalk, Translated};

/// Headers of small files travel together.
const TOGETHER: usize = 256 * 1024;
/// How often is asked whether mksquashfs is ready.
const INTERVAL: Duration = Duration::from_millis(20);

type Watch<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// Makes the layer. `watch` is told bytes read and bytes to be read, and may break the work off.
///
/// # Errors
/// See [`SealError`]; then nothing is left at the layer's path, and what was there before is as it was.
pub fn seal(request: &Request, watch: &mut dyn FnMut(u64, u64) -> ControlFlow<()>) -> Result<Report, SealError> {
    request.check()?;
    let target = LayerTarget::new(&request.layer, request.force)?;
    let tool = Mksquashfs::find().map_err(|error| SealError::tool(&request.layer, error))?;
    let clean = CleanImage::open(&request.image)?;
    target.refuse_image(&clean.locked.image)?;
    Sealing { request, target: &target, tool: &tool, clean: &clean }.run(watch)
}

/// One sealing: count, feed mksquashfs, verify, publish.
struct Sealing<'a> {
    request: &'a Request,
    target: &'a LayerTarget,
    tool: &'a Mksquashfs,
    clean: &'a CleanImage,
}

impl Sealing<'_> {
    fn run(&self, watch: Watch<'_>) -> Result<Report, SealError> {
        let locked = &self.clean.locked;
        let tree = Tree::open(&locked.file, locked.window).map_err(|e| self.ext(e))?;
        let upper = tree.upper().map_err(|e| self.ext(e))?.ino;
        let below = StackBelow::new(self.request, &locked.image.kind);
        let (count, translated) = self.count(&tree, upper, &below)?;
        let variables = sidecar::variables(&self.clean.locked.image, &count)?;
        if variables.is_some() {
            self.target.require_free_beside()?;
        }
        let draft = self.target.draft()?;
        self.write(&tree, upper, &below, &count, &draft, watch)?;
        self.verify(&draft, &count)?;
        let size_bytes = draft.file().metadata().map_err(|e| SealError::io(&self.request.layer, e))?.len();
        let readers = locked.file.metadata().map_err(|e| SealError::io(&self.request.layer, e))?.mode();
        let environment = self.target.publish(draft, readers, variables.as_ref())?;
        Ok(Report { environment, size_bytes, ..self.report(&count, translated) })
    }

    /// No later time is in the layer.
    fn latest(&self) -> u32 {
        self.request.latest.unwrap_or(u32::MAX)
    }

    /// The last time that can be told in the layer. mksquashfs 4.5 gives the root the present time, or an earlier one that it is told
    /// for all. With one that lies in the future the layer would be another at each sealing. So there no time is later than the last
    /// change of the image, which the clock has set.
    fn believable(&self, count: &Count) -> u32 {
        if self.tool.has_root_options() { u32::MAX } else { u32::try_from(count.changed.max(0)).unwrap_or(u32::MAX) }
    }

    fn count(&self, tree: &Tree<'_>, upper: u32, below: &StackBelow<'_>) -> Result<(Count, Translated), SealError> {
        let mut count = Count::default();
        let walk = LayerWalk::new(tree, &self.request.image, below);
        let translated =
            walk.run(upper, &mut |entry| count.add(tree, entry, self.latest()).map_err(|error| self.ext(error)))?;
        Ok((count, translated))
    }

    fn write(
        &self,
        tree: &Tree<'_>,
        upper: u32,
        below: &StackBelow<'_>,
        count: &Count,
        draft: &Draft,
        watch: Watch<'_>,
    ) -> Result<(), SealError> {
        let fail = |error| SealError::tool(&self.request.layer, error);
        let time = self.request.latest.unwrap_or(count.newest).min(self.believable(count));
        let out = path_of(draft.file());
        let mut running = self.tool.start(&self.order(count, time), &out).map_err(fail)?;
        let input = running.input().ok_or_else(|| fail(mksquashfs::failed("no pipe")))?;
        let status = match self.feed(tree, upper, below, count, input, watch) {
            Ok(()) => self.wait(&mut running, count, watch)?,
            Err(SealError::Feed(_)) => {
                running.wait().map_err(|error| fail(ToolError::Start { tool: mksquashfs::NAME, error }))?
            }
            Err(error) => return Err(error),
        };
        running.verdict(status).map_err(fail)
    }

    fn order<'b>(&'b self, count: &'b Count, time: u32) -> Order<'b> {
        let Request { compression, level, block_size, processors, root_owned, .. } = *self.request;
        let only_owner = count.owner.only();
        Order { compression, level, block_size, processors, root_owned, root: &count.root, only_owner, time }
    }

    fn feed(
        &self,
        tree: &Tree<'_>,
        upper: u32,
        below: &StackBelow<'_>,
        count: &Count,
        input: ChildStdin,
        watch: Watch<'_>,
    ) -> Result<(), SealError> {
        let out = BufWriter::with_capacity(TOGETHER, input);
        let latest = self.latest().min(self.believable(count));
        let mut archive = Archive::new(tree, &self.request.image, out, latest);
        let mut read = 0;
        let mut progress = |bytes: u64| {
            read += bytes;
            self.go_on(watch(read, count.bytes))
        };
        let walk = LayerWalk::new(tree, &self.request.image, below);
        walk.run(upper, &mut |entry| progress(0).and_then(|()| archive.add(entry, &mut progress)))?;
        archive.end()
    }

    /// It has everything, and compresses the rest.
    fn wait(
        &self,
        running: &mut Running,
        count: &Count,
        watch: Watch<'_>,
    ) -> Result<std::process::ExitStatus, SealError> {
        loop {
            if let Some(status) = running.ended().map_err(|error| SealError::io(&self.request.layer, error))? {
                return Ok(status);
            }
            self.go_on(watch(count.bytes, count.bytes))?;
            std::thread::sleep(INTERVAL);
        }
    }

    fn go_on(&self, wish: ControlFlow<()>) -> Result<(), SealError> {
        match wish {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(SealError::Interrupted { path: self.request.layer.clone() }),
        }
    }

    /// The layer as it lies on disk must be whole, and have the inodes that were sent.
    fn verify(&self, draft: &Draft, count: &Count) -> Result<(), SealError> {
        let unverified =
            |found| SealError::Unverified { path: self.request.layer.clone(), expected: count.inodes, found };
        let opened = image::open(draft.path()).map_err(|_| unverified(0))?;
        let info = image::squashfs_info(&opened).map_err(|_| unverified(0))?;
        let found = if opened.image.kind == Kind::Squashfs { u64::from(info.inodes_total) } else { 0 };
        if found == count.inodes { Ok(()) } else { Err(unverified(found)) }
    }

    fn report(&self, count: &Count, translated: Translated) -> Report {
        let root_xattrs = if self.tool.has_root_options() { 0 } else { count.root.xattrs.len() as u64 };
        Report {
            image: self.request.image.clone(),
            layer: self.request.layer.clone(),
            environment: None,
            size_bytes: 0,
            content_bytes: count.bytes,
            inodes: count.inodes,
            files: count.files,
            directories: count.directories,
            whiteouts: translated.whiteouts,
            opaque_translated: translated.opaque,
            opaque_whiteouts: translated.opaque_whiteouts,
            acls_dropped: count.acls,
            xattrs_dropped: count.lost_xattrs + root_xattrs,
            sockets_skipped: translated.sockets,
            root_owner_kept: self.keeps_root_owner(count),
            repaired: self.clean.repaired,
            unclean: self.clean.unclean,
            unlocked: self.clean.locked.lock_unsupported().is_some(),
        }
    }

    /// Whether the root of the layer gets the owner that it has in the image.
    fn keeps_root_owner(&self, count: &Count) -> bool {
        let (root, caller) = (count.root.ids, Ids { uid: geteuid().as_raw(), gid: getegid().as_raw() });
        let is_set = self.request.root_owned || self.tool.has_root_options();
        is_set || count.owner.only() == Some(root) || root == caller
    }

    fn ext(&self, error: ExtError) -> SealError {
        SealError::Image(ImageError::ext(&self.request.image, error))
    }
}
