//! Blocks that lie together are written together.

use std::io;

use crate::device::Device;

/// So much is gathered at most, in bytes.
const MOST: usize = 1 << 20;

/// Blocks on their way to the device.
pub(super) struct Batch<'a> {
    device: &'a dyn Device,
    block_size: usize,
    first: u64,
    bytes: Vec<u8>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(device: &'a dyn Device, block_size: usize) -> Self {
        Self { device, block_size, first: 0, bytes: Vec::new() }
    }

    /// Writes a block, now or later.
    pub(super) fn put(&mut self, block: u64, bytes: &[u8]) -> io::Result<()> {
        let next = self.first.checked_add((self.bytes.len() / self.block_size) as u64);
        if next != Some(block) || self.bytes.len() >= MOST {
            self.write()?;
            self.first = block;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        if !self.bytes.is_empty() {
            let offset = self.first.checked_mul(self.block_size as u64).ok_or(io::ErrorKind::InvalidInput)?;
            self.device.write_at(&self.bytes, offset)?;
            self.bytes.clear();
        }
        Ok(())
    }
}
