//! Memory for a program that is about to become another: it is taken from the kernel in large pieces and never given back.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::kernel::map;

/// Enough for most starts; what is not touched costs nothing.
const PIECE: usize = 1 << 20;

#[global_allocator]
static MEMORY: Memory = Memory { next: AtomicUsize::new(0), end: AtomicUsize::new(0) };

/// What is left of the current piece. There is one thread; the numbers are atomic because a static has to be.
struct Memory {
    next: AtomicUsize,
    end: AtomicUsize,
}

// SAFETY: no byte is handed out twice, and a piece is as large as what did not fit.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let place = |next: usize, end: usize| {
            let start = next.checked_next_multiple_of(layout.align())?;
            let behind = start.checked_add(layout.size())?;
            (behind <= end).then_some((start, behind))
        };
        let left = place(self.next.load(Relaxed), self.end.load(Relaxed));
        let fresh = || {
            let size = layout.size().checked_add(layout.align())?.max(PIECE);
            let piece = map(size)?;
            self.end.store(piece + size, Relaxed);
            place(piece, piece + size)
        };
        let Some((start, behind)) = left.or_else(fresh) else { return ptr::null_mut() };
        self.next.store(behind, Relaxed);
        ptr::with_exposed_provenance_mut(start)
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
