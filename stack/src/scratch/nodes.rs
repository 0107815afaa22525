//! All nodes by their number.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use parking_lot::Mutex;

use super::node::{Birth, Named, Node};
use crate::serve::tree::{Answer, WRITABLE};
use condatainer_formats::ext::FileType;

const SHARDS: usize = 16;
/// So many names of a file have a number of their own, and the rest have the first one's.
const MOST_ALIASES: usize = 4096;

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
        let number = self.number();
        let node = Arc::new(Node::new(number, birth));
        self.shard(number).lock().insert(number, node.clone());
        node
    }

    /// One more name of a node. What is no content (a pipe is where its inode is) has one number; so has a whiteout.
    pub(super) fn name(&self, node: Arc<Node>) -> Named {
        if !matches!(node.kind, FileType::Regular | FileType::Symlink) {
            return Named::first(node);
        }
        let number = self.number();
        {
            let mut meta = node.meta.lock();
            let aliases = meta.aliases.get_or_insert_default();
            if aliases.len() >= MOST_ALIASES {
                drop(meta);
                return Named::first(node);
            }
            aliases.push(number);
        }
        self.shard(number).lock().insert(number, node.clone());
        Named { node, number }
    }

    pub(super) fn remove(&self, node: &Node) {
        let aliases = node.meta.lock().aliases.take().map_or(Vec::new(), |aliases| *aliases);
        for number in aliases.into_iter().chain([node.number]) {
            self.shard(number).lock().remove(&number);
        }
    }

    fn number(&self) -> u64 {
        WRITABLE | (self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn shard(&self, number: u64) -> &Mutex<HashMap<u64, Arc<Node>>> {
        &self.shards[number as usize % SHARDS]
    }
}
