//! One sealing: count, feed mksquashfs, verify, publish.

use std::io::BufWriter;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::process::ChildStdin;
use std::time::Duration;

use nix::unistd::{getegid, geteuid};

use super::archive::Archive;
use super::below::Lazy;
use super::count::Count;
use super::peace::Peace;
use super::target::Target;
use super::walk::{LayerWalk, Translated};
use super::{Report, Request, SealError, sidecar};
use crate::image::{self, ImageError, Kind};
use crate::temporary::Draft;
use crate::tools::mksquashfs::{self, Mksquashfs, Order, Running, ToolError};
use condatainer_formats::ext::{ExtError, Ids, Tree, read_exact_at};

/// Headers of small files travel together.
const TOGETHER: usize = 256 * 1024;
/// How often is asked whether mksquashfs is ready.
const INTERVAL: Duration = Duration::from_millis(20);

type Watch<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// See the module.
pub(super) struct Job<'a> {
    pub(super) request: &'a Request,
    pub(super) target: &'a Target,
    pub(super) tool: &'a Mksquashfs,
    pub(super) peace: &'a Peace,
}

impl Job<'_> {
    pub(super) fn run(&self, watch: Watch<'_>) -> Result<Report, SealError> {
        let locked = &self.peace.locked;
        let tree = Tree::open(&locked.file, locked.window).map_err(|e| self.ext(e))?;
        let upper = tree.upper().map_err(|e| self.ext(e))?.ino;
        let below = Lazy::new(self.request, &locked.image.kind);
        let (count, translated) = self.count(&tree, upper, &below)?;
        let variables = sidecar::variables(&self.peace.locked.image, &count)?;
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

    fn count(&self, tree: &Tree<'_>, upper: u32, below: &Lazy<'_>) -> Result<(Count, Translated), SealError> {
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
        below: &Lazy<'_>,
        count: &Count,
        draft: &Draft,
        watch: Watch<'_>,
    ) -> Result<(), SealError> {
        let fail = |error| SealError::tool(&self.request.layer, error);
        let time = self.request.latest.unwrap_or(count.newest).min(self.believable(count));
        let out = mksquashfs::path_of(draft.file());
        let mut running = self.tool.start(&self.order(count, time), &out).map_err(fail)?;
        let input = running.input().ok_or_else(|| fail(ToolError::Failed("no pipe".into())))?;
        let status = match self.feed(tree, upper, below, count, input, watch) {
            Ok(()) => self.wait(&mut running, count, watch)?,
            Err(SealError::Feed(_)) => running.wait().map_err(|error| fail(ToolError::Start(error)))?,
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
        below: &Lazy<'_>,
        count: &Count,
        input: ChildStdin,
        watch: Watch<'_>,
    ) -> Result<(), SealError> {
        let out = BufWriter::with_capacity(TOGETHER, input);
        let latest = self.latest().min(self.believable(count));
        let mut archive = Archive::new(tree, &self.request.image, out, latest);
        let mut read = 0;
        let mut told = |bytes: u64| {
            read += bytes;
            self.go_on(watch(read, count.bytes))
        };
        let walk = LayerWalk::new(tree, &self.request.image, below);
        walk.run(upper, &mut |entry| told(0).and_then(|()| archive.add(entry, &mut told)))?;
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
        let mut head = [0; condatainer_formats::squashfs::header::SUPERBLOCK_SIZE];
        read_exact_at(&opened.file, &mut head, 0).map_err(|_| unverified(0))?;
        let found = condatainer_formats::squashfs::header::inodes(&head)
            .filter(|_| opened.image.kind == Kind::Squashfs)
            .unwrap_or(0);
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
            repaired: self.peace.repaired,
            unclean: self.peace.unclean,
            unlocked: self.peace.locked.lock_unsupported().is_some(),
        }
    }

    /// Whether the root of the layer gets the owner that it has in the image.
    fn keeps_root_owner(&self, count: &Count) -> bool {
        let (root, caller) = (count.root.ids, Ids { uid: geteuid().as_raw(), gid: getegid().as_raw() });
        let told = self.request.root_owned || self.tool.has_root_options();
        told || count.owner.only() == Some(root) || root == caller
    }

    fn ext(&self, error: ExtError) -> SealError {
        SealError::Image(ImageError::ext(&self.request.image, error))
    }
}
