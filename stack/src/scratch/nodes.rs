//! All nodes by their number.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use parking_lot::Mutex;

use super::node::{Birth, Node};
use crate::serve::tree::{Answer, WRITABLE};

const SHARDS: usize = 16;

/// The table, in parts with a lock each. Numbers are never used again.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    last: AtomicU64,
    shards: [Mutex<HashMap<u64, Arc<Node>>>; SHARDS],
}

impl Nodes {
    pub(super) fn get(&self, number: u64) -> Answer<Arc<Node>> {
        self.shard(number).lock().get(&number).cloned().ok_or(Errno::ESTALE)
    }

    pub(super) fn add(&self, birth: Birth) -> Arc<Node> {
        let number = WRITABLE | (self.last.fetch_add(1, Ordering::Relaxed) + 1);
        let node = Arc::new(Node::new(number, birth));
        self.shard(number).lock().insert(number, node.clone());
        node
    }

    pub(super) fn remove(&self, number: u64) {
        self.shard(number).lock().remove(&number);
    }

    fn shard(&self, number: u64) -> &Mutex<HashMap<u64, Arc<Node>>> {
        &self.shards[number as usize % SHARDS]
    }
}
