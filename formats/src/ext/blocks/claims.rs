//! How many blocks the files of a file system claim: together never more than it has.
//!
//! In a sound file system no block belongs to two files. A hostile one may give the same blocks to every file and directory;
//! whoever walks through it would then read its size over and over again.

use crate::ext::error::ExtError;
use crate::ext::inode::InoSet;
use crate::ext::superblock::Superblock;

/// The claims met so far; each file counts once, however often it is met.
#[derive(Debug, Default)]
pub struct Claims {
    counted: InoSet,
    blocks: u64,
}

impl Claims {
    /// Notes that inode `ino` has this many blocks.
    ///
    /// # Errors
    /// Together they are more than there are.
    pub fn claim(&mut self, sb: &Superblock, ino: u32, blocks: u64) -> Result<(), ExtError> {
        if self.counted.insert(ino) {
            self.blocks = self.blocks.saturating_add(blocks);
        }
        if self.blocks > sb.blocks_count {
            return Err(ExtError::corrupt("its files claim more blocks than there are"));
        }
        Ok(())
    }
}
