//! The merged tree as a tree of the server, with a count of the searches and of the attributes that the kernel asks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use condatainer_stack::layer::Attributes;
use condatainer_stack::serve::Lower;
use condatainer_stack::serve::tree::{Answer, Entry, Listed, Room, Tree};

pub struct Counted {
    pub lower: Lower,
    /// LOOKUP, of names that exist and of others.
    pub lookups: AtomicUsize,
    /// GETATTR.
    pub asked: AtomicUsize,
}

impl Tree for Counted {
    fn lookup(&self, directory: u64, name: &[u8]) -> Answer<Entry> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        self.lower.lookup(directory, name)
    }

    fn entry(&self, directory: u64, listed: &Listed<'_>) -> Answer<Entry> {
        self.lower.entry(directory, listed)
    }

    fn forget(&self, node: u64, count: u64) {
        self.lower.forget(node, count);
    }

    fn may_change(&self, node: u64) -> bool {
        self.lower.may_change(node)
    }

    fn any_may_change(&self) -> bool {
        self.lower.any_may_change()
    }

    fn open(&self, file: u64) -> Answer<()> {
        self.lower.open(file)
    }

    fn close(&self, file: u64) {
        self.lower.close(file);
    }

    fn attributes(&self, node: u64) -> Answer<Attributes> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.lower.attributes(node)
    }

    fn list(&self, directory: u64, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Answer<()> {
        self.lower.list(directory, from, visit)
    }

    fn read(&self, file: u64, offset: u64, buf: &mut [u8]) -> Answer<usize> {
        self.lower.read(file, offset, buf)
    }

    fn seek(&self, file: u64, offset: u64, hole: bool) -> Answer<u64> {
        self.lower.seek(file, offset, hole)
    }

    fn target(&self, link: u64) -> Answer<Vec<u8>> {
        self.lower.target(link)
    }

    fn may_have_xattrs(&self) -> bool {
        self.lower.may_have_xattrs()
    }

    fn xattr(&self, node: u64, name: &[u8]) -> Answer<Vec<u8>> {
        self.lower.xattr(node, name)
    }

    fn xattrs(&self, node: u64) -> Answer<Vec<u8>> {
        self.lower.xattrs(node)
    }

    fn room(&self) -> Room {
        self.lower.room()
    }
}

impl Counted {
    pub fn new(lower: Lower) -> Arc<Self> {
        Arc::new(Self { lower, lookups: AtomicUsize::new(0), asked: AtomicUsize::new(0) })
    }
}
